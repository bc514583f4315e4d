"""Looking: managers are called at once, and the first that can tell of the swarm is heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from builders_of_plans import facts, machine, managers, member, node, wanted, workers

from provision.driver import Driver, Machine, Role
from provision.errors import UnreachableError
from provision.execution.session import Session
from provision.execution.world import World
from provision.hosts.connect import Connector
from provision.inventory.cluster import SshSettings
from provision.operations import look as looking
from provision.operations.look import View
from provision.operations.place import Place
from provision.state.known_hosts import KnownHosts
from provision.state.model import MachineRecord, MachineStatus
from provision.state.redact import Redactor
from provision.state.store import Store
from provision.swarm.errors import EngineRefusedError

TARGET = wanted(managers(3), workers(2))
NAMES = TARGET.managers


class FakeDriver:
    adopts, parallel = False, 1

    def discover(self, _cluster: str) -> list[Machine]:
        return [machine(spec) for spec in TARGET]


class FakeEngine:
    """Tells of the swarm, unless its manager has lost the quorum."""

    def __init__(self, *, lost: bool = False) -> None:
        self._lost = lost

    def nodes(self) -> tuple[object, ...]:
        if self._lost:
            raise EngineRefusedError("manager", "list nodes", 500, "The swarm does not have a leader.")
        return tuple(node(spec.name, spec.role) for spec in TARGET)

    def services(self) -> tuple[()]:
        return ()

    def configs(self) -> tuple[()]:
        return ()


class FakeSession:
    def __init__(self, name: str, engine: FakeEngine) -> None:
        host = replace(member(facts(name), Role.MANAGER), owner={"cluster": "lab", "machine": name})
        self.facts = self.known = host
        self.engine = engine
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


Answer = Callable[[], FakeSession]


class FakeWorld(World):
    """Machines answer as they are told to; all others must not be called."""

    answers: Mapping[str, Answer]
    called: list[str]

    def open(self, machine: Machine, **_: Any) -> Session:
        known = self.sessions.get(machine.name)
        if known is None:
            self.called.append(machine.name)
            known = self.sessions[machine.name] = cast("Session", self.answers[machine.name]())
        return known


def refuses() -> FakeSession:
    raise UnreachableError("no connection", detail="last: connection refused")


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[View, FakeWorld]]:
    place = Place(root=tmp_path, environ={})
    paths = place.paths("lab")
    store = Store(paths)
    store.create(inventory="/inventory.yml", drivers={"nspawn": {}}, ssh=SshSettings())
    records = [
        MachineRecord(
            name=spec.name,
            driver="nspawn",
            group=spec.group,
            number=spec.number,
            role=spec.role,
            status=MachineStatus.CREATED,
        )
        for spec in TARGET
    ]
    store.update(lambda state: state.put(*records))

    def look(**answers: Answer) -> tuple[View, FakeWorld]:
        world = FakeWorld(
            cluster="lab",
            drivers={"nspawn": cast("Driver", FakeDriver())},
            store=store,
            known_hosts=KnownHosts(paths.known_hosts),
            connector=Connector(key=None),
            ssh=SshSettings(),
            redactor=Redactor(),
        )
        world.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        world.called = []

        @contextmanager
        def opened(*_: object, **__: object) -> Iterator[World]:
            yield world
            world.close()

        monkeypatch.setattr(looking, "opened", opened)
        return looking.look(place, "lab", None), world

    return look


def test_who_keeps_silent_is_not_waited_for_and_hung_up_on_later(seen: Callable[..., Any]) -> None:
    told = threading.Event()
    late = FakeSession("lab-manager-1", FakeEngine())

    def silent() -> FakeSession:
        assert told.wait(30)
        return late

    view, world = seen(
        lab_manager_1=silent,
        lab_manager_2=refuses,
        lab_manager_3=lambda: FakeSession("lab-manager-3", FakeEngine()),
    )
    assert view.seen_from == "lab-manager-3"
    assert [row.node.hostname for row in view.machines] == list(TARGET.names)
    told.set()
    assert late.closed.wait(30)
    assert sorted(world.called) == sorted(NAMES)


def test_a_manager_without_a_quorum_is_passed_over(seen: Callable[..., Any]) -> None:
    heard = threading.Event()

    def second() -> FakeSession:
        assert heard.wait(30)
        return FakeSession("lab-manager-2", FakeEngine())

    def first() -> FakeSession:
        heard.set()
        return FakeSession("lab-manager-1", FakeEngine(lost=True))

    view, _ = seen(lab_manager_1=first, lab_manager_2=second, lab_manager_3=refuses)
    assert view.seen_from == "lab-manager-2"


def test_where_all_refuse_each_says_why(seen: Callable[..., Any]) -> None:
    view, world = seen(**dict.fromkeys((name.replace("-", "_") for name in NAMES), refuses))
    assert view.seen_from is None
    assert sorted(world.called) == sorted(NAMES)
    assert {row.name: row.cause for row in view.machines if row.cause} == dict.fromkeys(NAMES, "connection refused")
