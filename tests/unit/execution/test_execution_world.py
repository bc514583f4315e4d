"""Sessions of a large cluster: their connections rest between steps, and nobody notices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from provision.execution.session import Session
from provision.execution.world import World
from provision.hosts.connect import Connector
from provision.hosts.facts import HostFacts
from provision.inventory.cluster import SshSettings
from provision.state.known_hosts import KnownHosts
from provision.state.paths import ClusterPaths
from provision.state.redact import Redactor
from provision.state.store import Store


class Door:
    """A connection that knows whether it is open."""

    def __init__(self) -> None:
        self.alive = True

    def close(self) -> None:
        self.alive = False


class Doors:
    """Opens one door after another, or none any more."""

    def __init__(self) -> None:
        self.opened: list[Door] = []
        self.gone = False

    def __call__(self) -> Any:
        if self.gone:
            raise OSError("no answer")
        self.opened.append(Door())
        return self.opened[-1]


def session(doors: Doors) -> Session:
    return Session(doors(), cast("HostFacts", None), reopen=doors)


def test_a_session_that_rests_holds_no_connection_and_wakes_with_a_new_one() -> None:
    doors = Doors()
    resting = session(doors)
    resting.rest()
    assert not doors.opened[0].alive
    assert resting.usable
    resting.wake()
    assert resting.host is doors.opened[1]  # type: ignore[comparison-overlap]
    assert doors.opened[1].alive


def test_waking_what_does_not_rest_opens_nothing() -> None:
    doors = Doors()
    awake = session(doors)
    awake.wake()
    assert len(doors.opened) == 1


def test_a_connection_that_broke_is_not_opened_again_in_silence() -> None:
    doors = Doors()
    broken = session(doors)
    doors.opened[0].close()
    broken.rest()
    assert not broken.usable


def test_a_machine_that_is_gone_when_its_session_wakes_is_said_to_be() -> None:
    doors = Doors()
    resting = session(doors)
    resting.rest()
    doors.gone = True
    with pytest.raises(OSError, match="no answer"):
        resting.wake()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of one worker and one manager, both connected."""
    made = World(
        cluster="lab",
        drivers={},
        store=Store(ClusterPaths(tmp_path, "lab")),
        known_hosts=KnownHosts(tmp_path / "known_hosts"),
        connector=Connector(key=None),
        ssh=SshSettings(),
        redactor=Redactor(),
    )
    facts = cast("HostFacts", SimpleNamespace(node=SimpleNamespace(manager=False)))
    for name in ("worker", "manager"):
        doors = Doors()
        made.sessions[name] = Session(doors(), facts, reopen=doors)
    made.managers = ["manager"]
    return made


@pytest.mark.parametrize(("crowded", "open_after"), [(True, {"manager"}), (False, {"manager", "worker"})])
def test_only_in_a_large_cluster_and_only_workers_rest_after_their_step(
    world: World, crowded: bool, open_after: set[str]
) -> None:
    world.crowded = crowded
    for name in ("worker", "manager"):
        with world.using(name), world.using(name):
            assert world.session(name).host.alive
    assert {name for name, held in world.sessions.items() if held.host.alive} == open_after
    assert world.session("worker").host.alive  # woken


def test_a_machine_rests_when_its_last_step_is_over(world: World) -> None:
    world.crowded = True
    with world.using("worker"):
        with world.using("worker"):
            pass
        assert world.sessions["worker"].host.alive
    assert not world.sessions["worker"].host.alive
