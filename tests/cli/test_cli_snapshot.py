"""`provision snapshot` on machines of a pretended driver: they are off, so that none has to be reached."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict

from provision.driver import Machine, MachineState, Role, Snapshot
from provision.errors import DriverError
from provision.state.lock import hold, this_process
from provision.state.model import MachineRecord, MachineStatus
from provision.state.paths import ClusterPaths
from provision.state.store import Store

NAMES = ("lab-manager-1", "lab-worker-1")


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PlainDriver:
    """Its machines are off, and it keeps no snapshots."""

    name: ClassVar[str] = "nspawn"
    parallel: ClassVar[int] = 1
    adopts: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = _Options
    machines: ClassVar[list[str]] = []

    def __init__(self, settings: object) -> None:
        pass

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


class KeepingDriver(PlainDriver):
    """Keeps snapshots, in this process."""

    kept: ClassVar[dict[str, Snapshot]] = {}
    done: ClassVar[list[str]] = []
    problem: ClassVar[DriverError | None] = None

    def snapshots(self, cluster: str) -> Sequence[Snapshot]:
        return tuple(self.kept.values())

    def save_snapshot(self, cluster: str, name: str, machines: Sequence[Machine]) -> Snapshot:
        self._do(f"save {name}")
        names = tuple(machine.name for machine in machines)
        self.kept[name] = Snapshot(name=name, created="2026-01-02T03:04:05+00:00", machines=names)
        return self.kept[name]

    def restore_snapshot(self, cluster: str, name: str, machines: Sequence[Machine]) -> None:
        self._do(f"restore {name}")

    def remove_snapshot(self, cluster: str, name: str) -> None:
        self._do(f"remove {name}")
        self.kept.pop(name, None)

    def _do(self, what: str) -> None:
        if self.problem is not None:
            raise self.problem
        self.done.append(what)


@pytest.fixture
def lab(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterPaths:
    """A cluster whose driver keeps snapshots."""
    monkeypatch.setattr(PlainDriver, "machines", list(NAMES))
    for name, value in (("kept", {}), ("done", []), ("problem", None)):
        monkeypatch.setattr(KeepingDriver, name, value)
    monkeypatch.setattr("provision.drivers.load", lambda name: KeepingDriver)
    paths = ClusterPaths(tmp_path / "state" / "provision", "lab")
    store = Store(paths)
    store.create(inventory=None, drivers={"nspawn": {}})
    records = [
        MachineRecord(
            name=name,
            driver="nspawn",
            group=name.split("-")[1],
            number=1,
            role=Role(name.split("-")[1]),
            status=MachineStatus.CREATED,
            address="192.0.2.1",
        )
        for name in NAMES
    ]
    store.update(lambda state: state.put(*records))
    return paths


Call = Callable[..., Any]


def test_a_snapshot_is_saved_listed_restored_and_removed(lab: ClusterPaths, provision: Call) -> None:
    said = provision("snapshot", "save", "base", "--progress", "plain")
    assert said.code == 0, said
    assert "lab: save snapshot base: done" in said.err and "2 machines" in said.err
    listed = json.loads(provision("snapshot", "ls", "-o", "json").out)
    assert listed == {"name": "base", "created": "2026-01-02T03:04:05+00:00", "machines": list(NAMES)}
    assert provision("snapshot", "ls", "-o", "name").out == "base\n"
    said = provision("snapshot", "restore", "base", "--yes", "--progress", "plain")
    assert said.code == 0, said
    assert "there was no swarm then" in said.err
    assert provision("snapshot", "rm", "base").code == 0
    assert provision("snapshot", "ls", "-o", "name").out == ""
    assert KeepingDriver.done == ["save base", "restore base", "remove base"]
    runs = [json.loads(line) for line in provision("history", "-o", "json").out.splitlines()]
    assert [(run["result"], run["done"]) for run in runs] == [("done", 1), ("done", 2), ("done", 1)]
    assert not lab.lock.exists()


def test_a_restore_asks_and_nobody_is_there(lab: ClusterPaths, provision: Call) -> None:
    provision("snapshot", "save", "base")
    said = provision("snapshot", "restore", "base")
    assert said.code == 2, said
    assert "this would give up what became of lab-manager-1, lab-worker-1 since" in said.err
    assert "--yes" in said.err
    assert KeepingDriver.done == ["save base"]


def test_a_machine_that_was_added_since_is_named_with_the_way_on(lab: ClusterPaths, provision: Call) -> None:
    provision("snapshot", "save", "base")
    PlainDriver.machines.append("lab-worker-2")
    said = provision("snapshot", "restore", "base", "--yes")
    assert said.code == 2, said
    assert "snapshot 'base' has no part of lab-worker-2" in said.err
    assert "provision rm lab-worker-2 -c lab" in said.err
    assert "2 of 3" in provision("snapshot", "ls").out


@pytest.mark.parametrize(
    ("words", "said_on_stderr"),
    [
        (("save", "base"), "has a snapshot 'base' already"),
        (("save", "Base"), "'Base' is no name for a snapshot"),
        (("save", "-base"), "no such option"),
        (("restore", "bse", "--yes"), "did you mean 'base'?"),
        (("rm", "other"), "there are: base"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    words: tuple[str, ...], said_on_stderr: str, lab: ClusterPaths, provision: Call
) -> None:
    provision("snapshot", "save", "base")
    said = provision("snapshot", *words)
    assert said.code == 2, said
    assert said_on_stderr.lower() in said.err.lower()


def test_a_driver_that_keeps_none_is_named(lab: ClusterPaths, provision: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.drivers.load", lambda name: PlainDriver)
    for words in (("save", "base"), ("restore", "base", "--yes"), ("rm", "base"), ("ls",)):
        said = provision("snapshot", *words)
        assert said.code == 1, said
        assert "driver 'nspawn' keeps no snapshots" in said.err
        assert "driver libvirt keeps snapshots" in said.err


def test_a_failed_restore_is_a_failed_run_with_the_way_on(lab: ClusterPaths, provision: Call) -> None:
    provision("snapshot", "save", "base")
    KeepingDriver.problem = DriverError("lab-worker-1: cannot be put back: no space left")
    said = provision("snapshot", "restore", "base", "--yes", "--progress", "plain")
    assert said.code == 1, said
    assert "cannot be put back: no space left" in said.err
    assert "wait for the swarm: skipped" in said.err
    assert "provision snapshot restore base -c lab" in said.err
    last = json.loads(provision("history", "-o", "json").out.splitlines()[-1])
    assert (last["result"], last["failed"], last["skipped"]) == ("failed", 1, 1)


@pytest.mark.parametrize("words", [("save", "two"), ("restore", "base", "--yes"), ("rm", "base")])
def test_another_command_on_the_cluster_keeps_it_out(
    words: tuple[str, ...], lab: ClusterPaths, provision: Call
) -> None:
    provision("snapshot", "save", "base")
    with hold(lab, this_process(("provision", "up"))):
        assert provision("snapshot", *words).code == 4
        assert provision("snapshot", "ls").code == 0
