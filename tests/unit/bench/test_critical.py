"""The critical path of a run, from its events and its plan's edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bench.critical import Link, account, critical_path, edges_of, kinds, text
from provision.planning.actions import Reach
from provision.planning.plan import Step

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(after: float, type_: str, /, **more: Any) -> dict[str, Any]:
    """An event as `--progress json` writes it, so long after the program's start."""
    time = (BEGAN + timedelta(seconds=after)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": time, "type": type_, **more}


def ran(step: str, start: float, end: float, *, ended: str = "step_done") -> list[dict[str, Any]]:
    """The events of one step."""
    subject, verb = step.split("/")
    names = {"step": step, "subject": subject, "verb": verb}
    return [at(start, "step_started", **names), at(end, ended, **names, seconds=end - start)]


#: b is configured late, and joins last although a's configure took longest
EVENTS = [
    at(0.5, "run_started", steps=4),
    *ran("a/configure", 0.5, 3.0),
    *ran("b/configure", 0.6, 2.0),
    *ran("a/init swarm", 3.1, 3.5),
    *ran("b/join as worker", 3.75, 5.0),
    at(5.25, "run_finished", seconds=4.75),
]
EDGES = {
    "a/init swarm": ["a/configure"],
    "b/join as worker": ["a/init swarm", "b/configure"],
}


def test_the_path_leads_through_what_each_step_waited_for_longest() -> None:
    path = critical_path(EVENTS, EDGES)
    assert [(link.subject, link.verb) for link in path] == [
        ("a", "configure"),
        ("a", "init swarm"),
        ("b", "join as worker"),
    ]
    assert [round(link.seconds, 3) for link in path] == [2.5, 0.4, 1.25]
    assert [round(link.waiting, 3) for link in path] == [0.0, 0.1, 0.25]


def test_a_step_that_failed_may_decide_the_end() -> None:
    events = [at(0.0, "run_started"), *ran("a/reach", 0.0, 1.0), *ran("b/reach", 0.0, 9.0, ended="step_failed")]
    assert critical_path(events, {}) == (Link(subject="b", verb="reach", seconds=9.0, waiting=0.0),)


def test_edges_to_what_never_ran_count_for_nothing() -> None:
    events = [at(0.0, "run_started"), *ran("a/configure", 1.0, 2.0)]
    assert critical_path(events, {"a/configure": ["a/reach"]})[0].waiting == 1.0


def test_a_run_without_steps_has_no_path() -> None:
    assert critical_path([at(0.0, "run_started"), at(0.1, "run_finished")], {}) == ()


def test_an_account_is_complete() -> None:
    whole = account(EVENTS, EDGES, began=BEGAN.timestamp(), seconds=5.5)
    along = sum(link.seconds + link.waiting for link in whole.links)
    assert (round(whole.before, 3), round(whole.after, 3)) == (0.5, 0.5)
    assert whole.before + along + whole.after == pytest.approx(whole.seconds)


def test_there_is_no_account_of_nothing() -> None:
    with pytest.raises(ValueError, match="no step"):
        account([], {}, began=0.0, seconds=1.0)


def test_kinds_add_up_steps_of_a_verb() -> None:
    found = {kind.verb: kind for kind in kinds(EVENTS, critical_path(EVENTS, EDGES))}
    configure = found["configure"]
    assert (configure.steps, round(configure.total, 3)) == (2, 3.9)
    assert (round(configure.longest, 3), round(configure.critical, 3)) == (2.5, 2.5)
    assert set(found) == {"configure", "init swarm", "join as worker"}


def test_the_text_has_a_line_a_link() -> None:
    assert text(critical_path(EVENTS, EDGES)).splitlines() == [
        "subject  verb            seconds  waiting",
        "a        configure          2.50     0.00",
        "a        init swarm         0.40     0.10",
        "b        join as worker     1.25     0.25",
        "                            4.15     0.35",
    ]


def test_both_kinds_of_edges_of_a_plan_count() -> None:
    step = Step(
        subject="a", verb="reach", cause="", action=Reach("a"), needs=frozenset({"x/y"}), after=frozenset({"b/c"})
    )
    assert edges_of([step]) == {"a/reach": ["b/c", "x/y"]}
