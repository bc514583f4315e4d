"""Sessions of a large cluster: their connections rest between steps, and nobody notices."""

from __future__ import annotations

from typing import Any, cast

import pytest

from provision.execution.world import Session
from provision.hosts.facts import HostFacts


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
