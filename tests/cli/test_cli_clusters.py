"""Which cluster is meant, and what is known of it here."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict

from provision.driver import Machine, MachineState, Role
from provision.state import history
from provision.state.history import RunRecord
from provision.state.keys import ensure_cluster_key
from provision.state.lock import hold, this_process
from provision.state.model import MachineRecord, MachineStatus
from provision.state.paths import ClusterPaths
from provision.state.store import Store

INVENTORY = "name: {}\nmachines:\n  manager: {{driver: ssh, role: manager, hosts: [10.0.0.1]}}\n"


@pytest.fixture
def known(place: Path, tmp_path: Path) -> Callable[..., ClusterPaths]:
    """`known("lab")`: a cluster of that name is in the state, with these machines."""

    def make(name: str, *machines: str, inventory: str | None = None, driver: str = "ssh") -> ClusterPaths:
        paths = ClusterPaths(tmp_path / "state" / "provision", name)
        store = Store(paths)
        store.create(inventory=inventory, drivers={driver: {}})
        records = [
            MachineRecord(
                name=machine,
                driver=driver,
                group=machine.split("-")[1],
                number=int(machine.split("-")[2]),
                role=Role(machine.split("-")[1]),
                status=MachineStatus.CREATED,
                address="10.0.0.1",
            )
            for machine in machines
        ]
        store.update(lambda state: state.put(*records))
        ensure_cluster_key(paths)
        return paths

    return make


# --- which one ---


@pytest.mark.parametrize("words", [("-c", "one"), ("-c", "one.yml"), ("--cluster", "./one.yml")])
def test_a_cluster_is_named_by_its_name_or_its_file(
    words: tuple[str, ...], place: Path, known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    known("one")
    known("two")
    (place / "one.yml").write_text(INVENTORY.format("one"))
    assert provision("unlock", *words).out == "one: is not locked\n"


def test_the_environment_names_one(
    known: Callable[..., ClusterPaths], provision: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known("one")
    known("two")
    monkeypatch.setenv("PROVISION_CLUSTER", "two")
    assert provision("unlock").out == "two: is not locked\n"
    assert provision("unlock", "-c", "one").out == "one: is not locked\n"


def test_the_inventory_of_this_folder_comes_before_the_only_one(
    place: Path, known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    known("one")
    assert provision("unlock").out == "one: is not locked\n"
    (place / "inventory.yml").write_text(INVENTORY.format("here"))
    assert provision("unlock").out == "here: is not locked\n"


@pytest.mark.parametrize(
    ("clusters", "words", "said"),
    [
        ((), (), "no cluster is named, and there is none yet"),
        (("one", "two"), (), "-c one | two"),
        (("one", "two"), ("-c", "three"), "known are: one, two"),
        ((), ("-c", "three"), "there is no cluster 'three'"),
    ],
)
def test_what_cannot_be_told_is_asked_back(
    clusters: tuple[str, ...],
    words: tuple[str, ...],
    said: str,
    known: Callable[..., ClusterPaths],
    provision: Callable[..., Any],
) -> None:
    for name in clusters:
        known(name)
    answer = provision("unlock", *words)
    assert answer.code == 2
    assert said in answer.err


def test_two_clusters_in_one_command_are_refused(
    place: Path, known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    known("two")
    (place / "one.yml").write_text(INVENTORY.format("one"))
    said = provision("plan", "one.yml", "-c", "two")
    assert (said.code, "two clusters are named" in said.err) == (2, True)


def test_a_machine_that_is_not_known_is_guessed_at(
    known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    known("lab", "lab-manager-1", "lab-worker-1")
    said = provision("ip", "lab-woker-1")
    assert (said.code, "did you mean 'lab-worker-1'?" in said.err) == (2, True)
    assert provision("ip", "lab-worker-1").out == "10.0.0.1\n"


def test_exec_takes_a_file_for_its_cluster(
    place: Path, known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    known("one", "one-manager-1")
    known("two", "two-manager-1")
    (place / "one.yml").write_text(INVENTORY.format("one"))
    said = provision("exec", "-c", "one.yml", "--role", "worker", "uptime")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: no machine matches")


# --- history and lock ---


def test_history_shows_what_was_run(known: Callable[..., ClusterPaths], provision: Callable[..., Any]) -> None:
    paths = known("lab")
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    history.append(
        paths, RunRecord(time=at, command=("provision", "up"), user="eve", result="failed", seconds=2.25, failed=1)
    )
    said = provision("history", "-c", "lab")
    assert said.out.splitlines()[0].split() == ["TIME", "USER", "COMMAND", "RESULT", "CHANGED", "FAILED", "SECONDS"]
    assert "eve" in said.out and "provision up" in said.out and "2.2" in said.out
    row = json.loads(provision("history", "-c", "lab", "-o", "json").out)
    assert (row["result"], row["failed"]) == ("failed", 1)


def test_a_locked_cluster_names_the_owner_and_the_way_out(
    place: Path, known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    paths = known("lab")
    (place / "inventory.yml").write_text(INVENTORY.format("lab"))
    with hold(paths, this_process(("provision", "down"))):
        said = provision("up")
        assert said.code == 4, said
        assert "cluster 'lab' is locked by" in said.err and '"provision down"' in said.err
        assert "provision unlock -c lab" in said.err
        assert provision("unlock", "-c", "lab").code == 4
    assert provision("unlock", "-c", "lab").out == "lab: is not locked\n"


def test_the_lock_of_a_run_that_is_gone_is_freed(
    known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    paths = known("lab")
    owner = {"user": "eve", "host": "h", "pid": 1, "command": "provision up", "since": "2026-01-02T03:04:05+00:00"}
    paths.lock.write_text(json.dumps(owner))
    said = provision("unlock", "-c", "lab")
    assert said.code == 0, said
    assert said.out.startswith("lab: was locked by eve@h pid 1")
    assert not paths.lock.exists()


# --- plan, up and down, where nothing is reached ---


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StoppedDriver:
    """Its machines exist and are stopped, so that no connection is tried; any change of them is an error."""

    name: ClassVar[str] = "nspawn"
    parallel: ClassVar[int] = 1
    adopts: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = _Options
    machines: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: object) -> None:
        pass

    def check(self, specs: object) -> tuple[()]:
        return ()

    def discover(self, cluster: str) -> tuple[Machine, ...]:
        return tuple(
            Machine(
                cluster=cluster,
                name=name,
                group=name.split("-")[1],
                number=int(name.split("-")[2]),
                driver=self.name,
                state=MachineState.STOPPED,
                address="192.0.2.1",
            )
            for name in self.machines
        )

    def create(self, spec: object) -> Machine:
        raise AssertionError("nothing is made here")

    def destroy(self, machine: object) -> None:
        raise AssertionError("nothing is destroyed here")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`stopped("lab-manager-1")`: these machines exist at the only driver, and are stopped."""

    def exist(*names: str) -> None:
        monkeypatch.setattr(StoppedDriver, "machines", names)
        monkeypatch.setattr("provision.drivers.load", lambda name: StoppedDriver)

    return exist


COUNTED = "name: lab\nmachines:\n  manager: {driver: nspawn, role: manager, count: 1}\n"


def test_plan_shows_the_steps_and_leaves_nothing_behind(
    place: Path, tmp_path: Path, stopped: Callable[..., None], provision: Callable[..., Any]
) -> None:
    stopped()
    (place / "inventory.yml").write_text(COUNTED)
    said = provision("plan")
    assert said.code == 0, said
    assert said.out.splitlines()[0] == "lab: 4 steps"
    assert "  + lab-manager-1  create machine  does not exist (nspawn)" in said.out.splitlines()
    assert provision("plan", "--detailed-exitcode").code == 10
    assert not (tmp_path / "state").exists()


def test_up_that_would_destroy_asks_and_nobody_is_there(
    place: Path, stopped: Callable[..., None], known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    stopped("lab-manager-1", "lab-worker-1")
    paths = known("lab", "lab-manager-1", "lab-worker-1", driver="nspawn")
    before = paths.state.read_bytes()
    (place / "inventory.yml").write_text(COUNTED)
    said = provision("up", "--progress", "plain")
    assert said.code == 2, said
    assert "this would remove lab-worker-1" in said.err
    assert "--yes" in said.err
    assert paths.state.read_bytes() == before
    assert not paths.lock.exists()


def test_down_asks_too(
    stopped: Callable[..., None], known: Callable[..., ClusterPaths], provision: Callable[..., Any]
) -> None:
    stopped("lab-manager-1")
    known("lab", "lab-manager-1", driver="nspawn")
    said = provision("down", "-c", "lab")
    assert (said.code, "--yes" in said.err) == (2, True)
