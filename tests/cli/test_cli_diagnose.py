"""doctor and console: what drivers lack here, and what machines printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from provision import drivers
from provision.driver import Finding, Machine, MachineSpec, MachineState, Role
from provision.errors import DriverError, UsageError
from provision.state.model import MachineRecord, MachineStatus
from provision.state.paths import ClusterPaths
from provision.state.store import Store


class NoOptions(BaseModel):
    """None."""


class Bare:
    """A driver that can do no more than every driver; its one machine exists."""

    name: ClassVar[str] = "bare"
    parallel: ClassVar[int] = 1
    adopts: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = NoOptions

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def check(self, specs: Sequence[MachineSpec]) -> Sequence[Finding]:
        return ()

    def discover(self, cluster: str) -> Sequence[Machine]:
        if self.settings.get("empty"):
            return ()
        name = f"{cluster}-manager-1"
        state = MachineState.RUNNING
        return (
            Machine(cluster=cluster, name=name, group="manager", number=1, driver="bare", state=state, address="::1"),
        )


class Full(Bare):
    """One with a doctor and a console."""

    name: ClassVar[str] = "full"

    def doctor(self) -> Sequence[Finding]:
        if "uri" in self.settings:
            return (Finding(summary=f"nobody answers at {self.settings['uri']}", fix="plug it in"),)
        return (Finding(summary="it is slow", fatal=False),)

    def console(self, machine: Machine) -> str:
        return f"{machine.name} boots\nlogin:\n"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Any] = {"bare": Bare, "full": Full}

    def load(name: str) -> Any:
        if name == "broken":
            raise DriverError("driver 'broken' cannot be used: 'x' cannot be imported", hint="pip install x")
        if name not in known:
            raise UsageError(f"there is no driver {name!r}")
        return known[name]

    monkeypatch.setattr(drivers, "load", load)
    monkeypatch.setattr(drivers, "available", lambda: dict.fromkeys(("bare", "full"), "tests"))


@pytest.fixture
def known(place: Path, tmp_path: Path) -> Callable[..., None]:
    """`known("lab", "full", {"uri": "x"})`: a cluster with one machine of this driver, so set, is in the state."""

    def make(cluster: str, driver: str, settings: Mapping[str, Any] | None = None) -> None:
        store = Store(ClusterPaths(tmp_path / "state" / "provision", cluster))
        store.create(inventory=None, drivers={driver: dict(settings or {})})
        record = MachineRecord(
            name=f"{cluster}-manager-1",
            driver=driver,
            group="manager",
            number=1,
            role=Role.MANAGER,
            status=MachineStatus.CREATED,
        )
        store.update(lambda state: state.put(record))

    return make


def test_doctor_asks_all_that_are_installed(provision: Callable[..., Any]) -> None:
    said = provision("doctor")
    assert said.code == 0, said
    assert said.out == "bare: ready\nfull: ready, but\n  - it is slow\n"


def test_doctor_asks_the_named_ones(provision: Callable[..., Any]) -> None:
    assert provision("doctor", "bare").out == "bare: ready\n"


def test_doctor_of_an_unknown_driver_is_a_wrong_command_line(provision: Callable[..., Any]) -> None:
    said = provision("doctor", "ful")
    assert (said.code, said.out) == (2, "")
    assert "there is no driver 'ful'" in said.err


def test_driver_that_cannot_be_loaded_lacks_what_it_says(provision: Callable[..., Any]) -> None:
    said = provision("doctor", "broken", "bare")
    assert said.code == 1
    assert said.out == (
        "broken: cannot work here\n"
        "  - driver 'broken' cannot be used: 'x' cannot be imported\n"
        "      pip install x\n"
        "bare: ready\n"
    )


def test_doctor_looks_with_the_settings_of_a_cluster(known: Callable[..., None], provision: Callable[..., Any]) -> None:
    known("lab", "full", {"uri": "there"})
    said = provision("doctor", "-c", "lab")
    assert said.code == 1, said
    assert said.out == "full: cannot work here\n  - nobody answers at there\n      plug it in\n"


def test_doctor_speaks_json(provision: Callable[..., Any]) -> None:
    said = provision("doctor", "-o", "json")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert rows == [{"name": "full", "driver": "full", "summary": "it is slow", "fix": "", "fatal": False}]


def test_console_is_printed(known: Callable[..., None], provision: Callable[..., Any]) -> None:
    known("lab", "full")
    said = provision("console", "lab-manager-1")
    assert (said.code, said.out) == (0, "lab-manager-1 boots\nlogin:\n")
    assert provision("console", "lab-manager-1", "-n", "1").out == "login:\n"


def test_console_of_a_driver_that_has_none(known: Callable[..., None], provision: Callable[..., Any]) -> None:
    known("lab", "bare")
    said = provision("console", "lab-manager-1")
    assert said.code == 2
    assert "driver 'bare' has no console" in said.err


def test_console_of_a_machine_that_is_gone(known: Callable[..., None], provision: Callable[..., Any]) -> None:
    known("lab", "full", {"empty": True})
    said = provision("console", "lab-manager-1")
    assert said.code == 1
    assert "does not exist any more" in said.err


def test_console_of_an_unknown_machine(provision: Callable[..., Any]) -> None:
    assert provision("console", "lab-manager-1").code == 2
