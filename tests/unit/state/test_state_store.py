"""state.json: round trips, durability, damage, and writers that do not know of each other."""

from __future__ import annotations

import json
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from provision.driver import Machine, MachineState, Role
from provision.inventory.cluster import SshSettings
from provision.state import document
from provision.state.errors import CorruptStateError, StateError
from provision.state.model import ClusterState, MachineRecord, MachineStatus
from provision.state.paths import ClusterPaths
from provision.state.store import Store

MACHINE = Machine(
    cluster="lab",
    name="lab-worker-1",
    group="worker",
    number=1,
    driver="nspawn",
    state=MachineState.RUNNING,
    address="10.9.0.4",
    private_address="10.9.1.4",
    user="root",
    port=2222,
    jump="bastion",
    host_keys=("ssh-ed25519 AAAA",),
    identity_file="/keys/a",
    provider_id="i-1",
    image="debian-12",
    details={"zone": "a"},
)


def record(name: str = "lab-worker-1", status: MachineStatus = MachineStatus.CREATED) -> MachineRecord:
    return replace(MachineRecord.of(MACHINE, role=Role.WORKER, status=status), name=name)


def test_a_machine_comes_back_as_its_driver_gave_it() -> None:
    assert record().machine("lab", MachineState.RUNNING) == MACHINE


def test_what_is_written_is_read_by_another_store(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create(
        inventory="/i.yml",
        drivers={"nspawn": {"subnet": "10.9.0.0/24", "dns": ("1.1.1.1",)}},
        ssh=SshSettings(user="ops", authorized_keys=("ssh-ed25519 AAAA me",)),
    )
    written = store.update(lambda state: replace(state.put(record()), data={"swarm": {"id": "x"}}))
    read = Store(paths).read()
    assert read is not None
    assert read.machines == {"lab-worker-1": record()}
    assert read.drivers == {"nspawn": {"subnet": "10.9.0.0/24", "dns": ["1.1.1.1"]}}
    assert (read.ssh, read.data, read.inventory) == (written.ssh, written.data, "/i.yml")
    assert (read.serial, read.lineage, read.created) == (2, written.lineage, written.created)


def test_no_state_reads_as_none(paths: ClusterPaths) -> None:
    assert Store(paths).read() is None


def test_create_keeps_the_state_that_is_there(paths: ClusterPaths) -> None:
    first = Store(paths).create(inventory="/first.yml")
    assert Store(paths).create(inventory="/second.yml") == first


def test_state_and_backup_are_closed_to_others(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    store.update(lambda state: state.put(record()))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (paths.state, paths.backup)] == [0o600, 0o600]


def test_backup_is_the_state_before_the_last_write(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    store.update(lambda state: state.put(record()))
    store.update(lambda state: state.drop("lab-worker-1"))
    assert document.parse(paths.backup.read_bytes()).machines == {"lab-worker-1": record()}


def test_a_write_leaves_no_temporary_file(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    store.update(lambda state: state.put(record()))
    assert {entry.name for entry in paths.folder.iterdir()} == {"state.json", "state.json.bak", "logs"}


def test_no_update_of_concurrent_threads_is_lost(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    names = [f"lab-worker-{number}" for number in range(24)]
    threads = [threading.Thread(target=lambda name=name: store.update(lambda s: s.put(record(name)))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = Store(paths).read()
    assert state is not None
    assert sorted(state.machines) == sorted(names)
    assert 2 <= state.serial <= 25  # some were written together


def test_a_change_that_raises_writes_nothing(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    before = paths.state.read_bytes()
    with pytest.raises(KeyError):
        store.update(lambda state: state.mark("nobody", MachineStatus.DESTROYING))
    assert paths.state.read_bytes() == before


def test_a_failed_write_leaves_the_old_state(paths: ClusterPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(paths)
    store.create()
    before = paths.state.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StateError, match="cannot write") as caught:
        store.update(lambda state: state.put(record()))
    assert "No space left" in caught.value.detail
    assert paths.state.read_bytes() == before
    monkeypatch.undo()
    assert Store(paths).update(lambda state: state.put(record())).serial == 2


@pytest.mark.parametrize("size", [0, 1, 40, 200])
def test_a_truncated_state_names_its_backup(paths: ClusterPaths, size: int) -> None:
    store = Store(paths)
    store.create()
    store.update(lambda state: state.put(record()))
    paths.state.write_bytes(paths.state.read_bytes()[:size])
    with pytest.raises(CorruptStateError, match="damaged") as caught:
        Store(paths).read()
    assert f"cp {paths.backup} {paths.state}" in caught.value.hint


def test_a_damaged_backup_is_not_recommended(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    store.update(lambda state: state.put(record()))
    paths.state.write_text("{")
    paths.backup.write_text("{")
    with pytest.raises(CorruptStateError) as caught:
        Store(paths).read()
    assert caught.value.backup is None
    assert "no backup" in caught.value.hint


def test_a_wrong_value_is_located(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    store.update(lambda state: state.put(record()))
    raw = json.loads(paths.state.read_text())
    raw["machines"]["lab-worker-1"]["status"] = "half"
    paths.state.write_text(json.dumps(raw))
    with pytest.raises(CorruptStateError) as caught:
        Store(paths).read()
    assert "machines.lab-worker-1.status" in caught.value.detail


def test_a_newer_version_is_refused_as_such(paths: ClusterPaths) -> None:
    Store(paths).create()
    paths.state.write_text(json.dumps({**json.loads(paths.state.read_text()), "version": 2}))
    with pytest.raises(StateError, match="has version 2") as caught:
        Store(paths).read()
    assert "upgrade" in caught.value.hint


def test_keys_of_a_later_release_survive_a_write(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    store.update(lambda state: state.put(record()))
    raw = json.loads(paths.state.read_text())
    raw["colour"] = "blue"
    raw["machines"]["lab-worker-1"]["shape"] = [1]
    paths.state.write_text(json.dumps(raw))
    Store(paths).update(lambda state: state.mark("lab-worker-1", MachineStatus.DESTROYING))
    after = json.loads(paths.state.read_text())
    assert (after["colour"], after["machines"]["lab-worker-1"]["shape"]) == ("blue", [1])
    assert after["machines"]["lab-worker-1"]["status"] == "destroying"


def test_a_writer_that_was_overtaken_is_refused_for_good(paths: ClusterPaths) -> None:
    old = Store(paths)
    old.create()
    Store(paths).update(lambda state: state.put(record("lab-worker-9")))
    for _ in range(2):
        with pytest.raises(StateError, match="written by another command"):
            old.update(lambda state: state.put(record()))
    state = Store(paths).read()
    assert state is not None
    assert list(state.machines) == ["lab-worker-9"]


def test_update_without_a_state_is_an_error(paths: ClusterPaths) -> None:
    with pytest.raises(StateError, match="has no state"):
        Store(paths).update(lambda state: state)


def test_a_renamed_folder_is_noticed(paths: ClusterPaths) -> None:
    Store(paths).create()
    other = ClusterPaths(paths.root, "other")
    paths.folder.rename(other.folder)
    with pytest.raises(StateError, match="is the state of cluster 'lab'"):
        Store(other).read()


@pytest.mark.parametrize("secret", ["SWMTKN-1-abc123-def456", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"])
def test_a_secret_is_not_written(paths: ClusterPaths, secret: str) -> None:
    store = Store(paths)
    store.create()

    def leak(state: ClusterState) -> ClusterState:
        return replace(state, data={"join": secret})

    with pytest.raises(StateError, match="refusing to write a secret"):
        store.update(leak)
    assert secret.split("\n", maxsplit=1)[0] not in paths.state.read_text()


def test_settings_that_json_cannot_hold_are_an_error(paths: ClusterPaths) -> None:
    store = Store(paths)
    store.create()
    with pytest.raises(StateError, match="cannot be written as JSON"):
        store.update(lambda state: replace(state, data={"x": object()}))
