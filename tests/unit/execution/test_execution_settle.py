"""Waiting: with a clock that only the wait itself moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from builders_of_plans import node

from provision.errors import DeadlineError
from provision.execution.settle import NodeWatch, wait_for


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_a_wait_ends_with_its_cause_and_tells_each_cause_once() -> None:
    clock, said = Clock(), []
    answers = iter(["not yet", "not yet", "nearly", ""])
    wait_for("a thing", lambda: next(answers), say=said.append, clock=clock, sleep=clock.sleep)
    assert said == ["not yet", "nearly"]


def test_what_is_so_already_costs_no_pause() -> None:
    clock = Clock()
    wait_for("a thing", lambda: "", clock=clock, sleep=clock.sleep)
    assert clock.pauses == []


def test_a_wait_has_a_deadline_with_the_last_cause_and_a_hint() -> None:
    clock = Clock()
    with pytest.raises(DeadlineError) as caught:
        wait_for(
            "web1: joining", lambda: f"at {clock.now:.0f}", seconds=10.0, hint="look", clock=clock, sleep=clock.sleep
        )
    assert str(caught.value).startswith("web1: joining took more than 10 s\nlast: at 11")
    assert str(caught.value).endswith("hint: look")
    assert clock.now < 112.0


def test_pauses_grow_to_a_second() -> None:
    clock = Clock()
    with pytest.raises(DeadlineError):
        wait_for("a thing", lambda: "no", seconds=30.0, pause=0.1, clock=clock, sleep=clock.sleep)
    assert clock.pauses[0] == 0.1
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == 1.0


class Managers:
    """A world whose only manager answers with each of these lists of nodes in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.calls = 0
        self.engine = self

    def manager(self) -> Managers:
        return self

    def nodes(self) -> Any:
        self.calls += 1
        return next(self.answers)


def watching(*answers: Any) -> tuple[NodeWatch, Managers, Clock]:
    world, clock = Managers(*answers), Clock()
    return NodeWatch(cast("Any", world), fresh=0.1, clock=clock), world, clock


def test_all_who_ask_within_a_moment_share_one_call() -> None:
    watch, world, clock = watching((node("lab-worker-1"),), ())
    assert [watch.missing("id-lab-worker-1") for _ in range(50)] == [""] * 50
    assert world.calls == 1
    clock.now += 0.2
    assert watch.missing("id-lab-worker-1") == "the managers do not list it yet"
    assert world.calls == 2


@pytest.mark.parametrize(
    ("seen", "missing"),
    [
        ({"state": "ready"}, ""),
        ({"state": "down"}, "the managers see it down"),
        ({"state": "unknown", "message": "heartbeat failure"}, "the managers see it unknown: heartbeat failure"),
    ],
)
def test_a_node_lacks_what_the_managers_say(seen: dict[str, str], missing: str) -> None:
    watch, _, _ = watching((node("lab-worker-1", **seen),))  # type: ignore[arg-type]
    assert watch.missing("id-lab-worker-1") == missing
