"""A thousand machines are a thousand times the work of one, not a million times."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from builders_of_plans import (
    as_wanted,
    bundle,
    cluster,
    hosts,
    managers,
    wanted,
    with_engine,
    with_swarm,
    without,
    workers,
)
from counting import growth

from provision.driver import Role
from provision.execution.scheduler import Outcome, run
from provision.inventory.specs import machine_specs
from provision.planning.checks import problems
from provision.planning.observation import Observation
from provision.planning.up import plan_remove, plan_up
from provision.planning.wanted import Wanted

#: linear is 2, quadratic is 4
LINEAR = 2.2


def target(size: int) -> Wanted:
    return wanted(managers(3), workers(size), bundles=(bundle(),))


Work = Callable[[], object]


def nothing_is_due(size: int) -> Work:
    wish, seen = target(size), as_wanted(target(size))
    return lambda: str(plan_up(wish, seen))


def nothing_exists(size: int) -> Work:
    wish = target(size)
    return lambda: str(plan_up(wish, Observation()))


def as_many_come(size: int) -> Work:
    wish, seen = target(size), as_wanted(target(size // 2))
    return lambda: str(plan_up(wish, seen))


def half_of_them_go(size: int) -> Work:
    wish, seen = target(size // 2), as_wanted(target(size))
    return lambda: str(plan_up(wish, seen))


def half_of_them_are_removed(size: int) -> Work:
    seen = as_wanted(target(size))
    names = tuple(spec.name for spec in target(size).specs[-size // 2 :])
    wish = replace(target(size), specs=target(size).specs[: -size // 2])
    return lambda: str(plan_remove(wish, seen, names))


def half_of_them_are_silent(size: int) -> Work:
    wish = target(size)
    seen = without(as_wanted(wish), *wish.names[-size // 2 :], silent=True)
    return lambda: str(plan_up(wish, seen))


def half_of_them_are_gone(size: int) -> Work:
    wish = target(size)
    seen = without(as_wanted(wish), *wish.names[-size // 2 :])
    return lambda: str(plan_up(wish, seen))


def the_rules_of_all_are_old(size: int) -> Work:
    wish, seen = target(size), as_wanted(target(size), members=target(size).names[: size // 2])
    return lambda: str(plan_up(wish, seen))


def all_are_one_host(size: int) -> Work:
    wish, seen = target(size), as_wanted(target(size))
    twins = {
        name: replace(facts, machine_id=f"twin-{number // 2}")
        for number, (name, facts) in enumerate(seen.facts.items())
    }
    return lambda: problems(wish, replace(seen, facts=twins))


def the_nodes_are_others(size: int) -> Work:
    wish, seen = target(size), as_wanted(target(size))
    assert seen.swarm is not None
    for name, facts in seen.facts.items():
        seen = with_engine(seen, name, node=replace(facts.node, managers=frozenset({""})))
    others = tuple(replace(node, id=f"new-{node.id}") for node in seen.swarm.nodes)
    return lambda: str(plan_up(wish, with_swarm(seen, nodes=others)))


@pytest.mark.parametrize(
    "work",
    [
        nothing_is_due,
        nothing_exists,
        as_many_come,
        half_of_them_go,
        half_of_them_are_removed,
        half_of_them_are_silent,
        half_of_them_are_gone,
        the_rules_of_all_are_old,
        all_are_one_host,
        the_nodes_are_others,
    ],
)
def test_the_work_of_planning_grows_with_the_machines(work: Callable[[int], Work]) -> None:
    assert growth(work) < LINEAR


def test_the_work_of_numbering_hosts_grows_with_the_hosts() -> None:
    def work(size: int) -> Work:
        listed = cluster(hosts(Role.WORKER, *(f"10.0.0.{number}" for number in range(size, 0, -1))))
        there = [(f"m{number}", "worker", number, f"10.0.0.{number}") for number in range(1, size + 1)]
        return lambda: machine_specs(listed, there)

    assert growth(work) < LINEAR


def test_the_plan_of_many_causes_is_short() -> None:
    plan = plan_up(target(100), as_wanted(target(50)))
    assert "new members: lab-worker-51, lab-worker-52, lab-worker-53 and 47 more" in str(plan)
    assert max(map(len, str(plan).splitlines())) < 120


def test_the_work_of_ordering_steps_grows_with_the_steps() -> None:
    def work(size: int) -> Work:
        plan = plan_up(target(size), Observation())
        assert len({step.after for step in plan if step.verb == "configure"}) == 1

        def go() -> None:
            stop = threading.Event()
            summary = run(plan, lambda *_: Outcome(), command="up", report=lambda _: None, stop=stop)
            assert summary.good

        return go

    assert growth(work, size=25) < 3
