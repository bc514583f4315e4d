"""The parts of operations that need no host: targets, inventory texts, what is remembered, what is tidied away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from builders_of_plans import cluster, hosts, machine, managers, wanted, workers

from provision.driver import Role
from provision.errors import InterruptedRunError, RunError, UsageError
from provision.execution.scheduler import Summary
from provision.inventory.cluster import Cluster, SshSettings
from provision.inventory.load import loads
from provision.operations.apply import Call, check
from provision.operations.everywhere import split_targets
from provision.operations.grow import group_for, grown_text
from provision.operations.opened import abandon, opened, remember, settings_of, tidy
from provision.operations.place import Place
from provision.operations.shrink import shrunk_text
from provision.operations.wanted import KEY_TO_COME, existing, wanted_of
from provision.state.model import ClusterState, MachineRecord, MachineStatus
from provision.state.store import Store


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=tmp_path / "state", environ={"HOME": str(tmp_path)})


@pytest.fixture
def known(place: Place) -> Callable[..., ClusterState]:
    def make(name: str, *machines: str) -> ClusterState:
        store = Store(place.paths(name))
        store.create()
        return store.update(lambda state: state.put(*(record(machine) for machine in machines)))

    return make


def record(name: str, **fields: Any) -> MachineRecord:
    _, group, number = name.split("-")
    plain = MachineRecord(
        name=name,
        driver="nspawn",
        group=group,
        number=int(number),
        role=Role.MANAGER if group == "manager" else Role.WORKER,
        status=MachineStatus.CREATED,
        address="10.0.0.1",
    )
    return replace(plain, **fields)


# --- targets of exec ---


@pytest.mark.parametrize(
    ("words", "filters", "machines", "command"),
    [
        (["uptime"], {}, ["lab-manager-1", "lab-worker-1", "lab-worker-2"], ["uptime"]),
        (["lab-worker-1", "uptime"], {}, ["lab-worker-1"], ["uptime"]),
        (["lab-worker-*", "uptime"], {}, ["lab-worker-1", "lab-worker-2"], ["uptime"]),
        (["lab-worker-2", "lab-manager-1", "--", "ls"], {}, ["lab-manager-1", "lab-worker-2"], ["ls"]),
        (["--", "lab-worker-1"], {}, ["lab-manager-1", "lab-worker-1", "lab-worker-2"], ["lab-worker-1"]),
        (["*", "uptime"], {"role": "worker"}, ["lab-worker-1", "lab-worker-2"], ["uptime"]),
        (["uptime"], {"group": "manager"}, ["lab-manager-1"], ["uptime"]),
        (["lab-manager-1"], {}, ["lab-manager-1"], []),
    ],
)
def test_leading_words_that_name_machines_are_machines(
    place: Place,
    known: Callable[..., ClusterState],
    words: list[str],
    filters: dict[str, str],
    machines: list[str],
    command: list[str],
) -> None:
    known("lab", "lab-manager-1", "lab-worker-1", "lab-worker-2")
    chosen = {"role": None, "group": None, **filters}
    assert split_targets(place, words, None, **chosen) == ("lab", tuple(machines), tuple(command))


@pytest.mark.parametrize(
    ("clusters", "words", "cluster_name", "said"),
    [
        ({}, ["uptime"], None, "there is no cluster yet"),
        ({"lab": ["lab-worker-1"], "web": ["web-worker-1"]}, ["uptime"], None, "there are several clusters"),
        ({"lab": ["lab-worker-1"], "web": ["web-worker-1"]}, ["*-worker-1", "ls"], None, "of several clusters"),
        ({"lab": []}, ["uptime"], None, "no machine matches"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(
    place: Place,
    known: Callable[..., ClusterState],
    clusters: dict[str, list[str]],
    words: list[str],
    cluster_name: str | None,
    said: str,
) -> None:
    for name, machines in clusters.items():
        known(name, *machines)
    with pytest.raises(UsageError, match=said):
        split_targets(place, words, cluster_name, role=None, group=None)


def test_a_named_cluster_settles_which_machines(place: Place, known: Callable[..., ClusterState]) -> None:
    known("lab", "lab-worker-1")
    known("web", "web-worker-1")
    assert split_targets(place, ["uptime"], "web", role=None, group=None) == ("web", ("web-worker-1",), ("uptime",))


# --- inventories that grow and shrink ---

TEXT = """\
name: lab  # ours
machines:
  manager: {driver: nspawn, role: manager, count: 3}
  worker:
    driver: nspawn
    role: worker
    count: 2  # enough
  metal:
    driver: ssh
    role: worker
    hosts:
      - 10.9.0.1  # the old one
      - address: 10.9.0.2
"""


def loaded(text: str, tmp_path: Path) -> Cluster:
    return loads(text, tmp_path / "lab.yml", environ={"HOME": str(tmp_path)})


def test_a_group_grows_by_a_count_or_by_hosts(tmp_path: Path) -> None:
    inventory = loaded(TEXT, tmp_path)
    worker, metal = (next(g for g in inventory.groups if g.name == name) for name in ("worker", "metal"))
    text = grown_text(TEXT, worker, count=3, hosts=[], file="lab.yml")
    assert text == TEXT.replace("count: 2  # enough", "count: 5  # enough")
    text = grown_text(TEXT, metal, count=1, hosts=["root@10.9.0.3:2222"], file="lab.yml")
    (last,) = [g.hosts[-1] for g in loaded(text, tmp_path).groups if g.name == "metal"]
    assert (last.address, last.user, last.port) == ("10.9.0.3", "root", 2222)
    assert "# the old one" in text


@pytest.mark.parametrize(("group", "added", "hint"), [("metal", [], "--host"), ("worker", ["10.9.0.3"], "--count")])
def test_a_group_grows_in_its_own_way_only(tmp_path: Path, group: str, added: list[str], hint: str) -> None:
    target = next(g for g in loaded(TEXT, tmp_path).groups if g.name == group)
    with pytest.raises(UsageError) as caught:
        grown_text(TEXT, target, count=1, hosts=added, file="lab.yml")
    assert hint in str(caught.value)


def test_the_group_to_grow_is_the_only_one_of_its_role_or_named(tmp_path: Path) -> None:
    inventory = loaded(TEXT, tmp_path)
    assert group_for(inventory, Role.MANAGER, None).name == "manager"
    assert group_for(inventory, Role.WORKER, "metal").name == "metal"
    for role, name, said in (
        (Role.WORKER, None, "has several worker groups"),
        (Role.WORKER, "manager", "there is no worker group 'manager'"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            group_for(inventory, role, name)
        assert "worker, metal" in str(caught.value)
    with pytest.raises(UsageError, match="has no group of role worker"):
        group_for(cluster(managers(1)), Role.WORKER, None)


def test_a_machine_that_is_removed_leaves_the_inventory_too(tmp_path: Path, known: Callable[..., ClusterState]) -> None:
    state = known("lab", "lab-worker-1", "lab-worker-2")
    inventory = loaded(TEXT, tmp_path)
    text = shrunk_text(TEXT, inventory, state, ["lab-worker-1", "lab-metal-1"], file="lab.yml")
    after = {group.name: group for group in loaded(text, tmp_path).groups}
    assert after["worker"].count == 1
    assert [host.address for host in after["metal"].hosts] == ["10.9.0.2"]
    assert after["manager"].count == 3
    assert "# enough" in text
    assert shrunk_text(TEXT, inventory, state, ["lab-worker-1"] * 2, file="x") == TEXT.replace("count: 2", "count: 1")


def test_a_machine_of_no_group_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'lab-worker-9' is no machine of cluster 'lab'") as caught:
        shrunk_text(TEXT, loaded(TEXT, tmp_path), None, ["lab-worker-9"], file="lab.yml")
    assert "lab-worker-2" in str(caught.value)


# --- what is wanted ---


def test_what_exists_is_what_is_seen_and_what_a_run_meant_to_make(known: Callable[..., ClusterState]) -> None:
    state = known("lab", "lab-worker-1", "lab-worker-2")
    seen = [machine(spec) for spec in wanted(managers(1), workers(1))]
    assert existing(seen, state) == (
        ("lab-manager-1", "manager", 1, "10.0.1.1"),
        ("lab-worker-1", "worker", 1, "10.0.2.1"),
        ("lab-worker-2", "worker", 2, "10.0.0.1"),
    )
    assert existing((), None) == ()


def test_the_number_of_a_machine_that_leaves_is_not_kept(place: Place, known: Callable[..., ClusterState]) -> None:
    state = known("lab", "lab-worker-1", "lab-worker-2")
    world = cast("Any", SimpleNamespace(cluster="lab", drivers={"nspawn": None, "ssh": None}, adopts="ssh".__eq__))
    target = cluster(managers(1), workers(1), ssh=SshSettings(authorized_keys=("ssh-rsa AAAAmine",)))
    found = wanted_of(target, world, place, machines=(), state=state, leaving=frozenset({"lab-worker-1"}))
    assert found.names == ("lab-manager-1", "lab-worker-2")
    assert found.authorized_keys == (KEY_TO_COME, "ssh-rsa AAAAmine")
    assert found.adopting == {"ssh"}
    place.paths("lab").public_key.write_text("ssh-ed25519 AAAAreal provision\n")
    found = wanted_of(target, world, place, machines=(), state=state)
    assert found.names == ("lab-manager-1", "lab-worker-1")
    assert found.authorized_keys[0] == "ssh-ed25519 AAAAreal provision"


# --- what is remembered and tidied away ---


def test_what_down_needs_is_remembered_once(place: Place, tmp_path: Path) -> None:
    target = replace(
        cluster(hosts(Role.MANAGER, "10.0.0.1")),
        drivers={"ssh": {}},
        ssh=SshSettings(user="eve"),
        source=tmp_path / "a.yml",
    )
    with opened(place, "lab", settings=settings_of(target, None), ssh=target.ssh) as world:
        first = remember(world, target)
        again = remember(world, target)
    assert (first.inventory, first.drivers, first.ssh.user) == (str(tmp_path / "a.yml"), {"ssh": {}}, "eve")
    assert again.serial == first.serial
    moved = replace(target, source=tmp_path / "b.yml")
    with opened(place, "lab", settings=settings_of(moved, again), ssh=moved.ssh) as world:
        changed = remember(world, moved)
    assert (changed.inventory, changed.lineage) == (str(tmp_path / "b.yml"), first.lineage)


def test_drivers_are_those_of_the_inventory_and_those_that_the_state_remembers(
    known: Callable[..., ClusterState],
) -> None:
    state = replace(known("lab", "lab-worker-1"), drivers={"old": {"a": 1}, "ssh": {"b": 2}})
    target = replace(cluster(hosts(Role.MANAGER, "10.0.0.1")), drivers={"ssh": {"c": 3}, "unused": {}})
    assert settings_of(target, state) == {"nspawn": {}, "old": {"a": 1}, "ssh": {"c": 3}}
    assert settings_of(None, state) == {"nspawn": {}, "old": {"a": 1}, "ssh": {"b": 2}}
    assert settings_of(None, None) == {}


def test_opening_makes_nothing(place: Place) -> None:
    with opened(place, "lab", settings={}, ssh=SshSettings()):
        pass
    assert not place.root.exists()


def test_a_run_that_never_began_leaves_nothing(place: Place) -> None:
    paths = place.paths("lab")
    paths.make()
    paths.private_key.write_text("key")
    (paths.logs / "up.log").write_text("log")
    abandon(paths)
    tidy(paths)
    assert not place.root.exists()


def test_a_cluster_that_is_known_is_not_abandoned(place: Place, known: Callable[..., ClusterState]) -> None:
    known("lab")
    paths = place.paths("lab")
    paths.private_key.write_text("key")
    abandon(paths)
    tidy(paths)
    assert paths.private_key.exists()
    assert paths.state.exists()


# --- how a run ends ---


def call(tmp_path: Path) -> Call:
    return cast("Call", SimpleNamespace(log=SimpleNamespace(path=tmp_path / "up.log")))


def test_a_good_run_is_no_error(tmp_path: Path) -> None:
    check(Summary(done=["a"]), call(tmp_path), again="provision up")


def test_a_failed_run_names_the_log_and_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        check(Summary(done=["a"], failed=["b"], skipped=["c", "d"]), call(tmp_path), again="provision up lab.yml")
    text = str(caught.value)
    assert text.startswith("1 step failed, 2 steps not tried\n")
    assert f"{tmp_path}/up.log" in text
    assert text.endswith("provision up lab.yml")


def test_an_interrupted_run_is_an_interrupt(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError, match="carry on with: provision up"):
        check(Summary(interrupted=True, skipped=["a"]), call(tmp_path), again="provision up")
