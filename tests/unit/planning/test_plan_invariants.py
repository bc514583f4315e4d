"""What holds for every plan, whatever the world: tried on worlds made by chance, the same ones in every run."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
from builders_of_plans import (
    as_wanted,
    bundle,
    facts,
    managers,
    wanted,
    with_engine,
    with_facts,
    with_node,
    without,
    workers,
)

from provision.driver import MachineState, Role
from provision.errors import PlanError
from provision.hosts.facts import FirewallFacts, NodeFacts
from provision.inventory.cluster import Availability, EngineSettings
from provision.planning.actions import Create, Demote, Destroy, Join, UpdateNode
from provision.planning.observation import Observation
from provision.planning.plan import Plan
from provision.planning.up import plan_up
from provision.planning.wanted import Wanted
from provision.swarm.quorum import has_quorum

SEEDS = range(60)


def chance(seed: int) -> tuple[Wanted, Observation]:
    """An inventory, and a world in which an earlier version of it was made and then much happened."""
    dice = random.Random(seed)
    before = wanted(managers(dice.randint(1, 5)), workers(dice.randint(0, 6)), bundles=(bundle(),))
    seen = as_wanted(before) if dice.random() < 0.85 else Observation()
    for name in before.names:
        if seen.swarm is not None and name in seen.facts:
            seen = happening(dice, seen, before, name)
    if seen.swarm is not None and not has_quorum(len(seen.swarm.managers), seen.swarm.reachable_managers):
        seen = replace(seen, swarm=None)  # its managers answer nothing then
    engine = EngineSettings(daemon={"log-driver": "local"} if dice.random() < 0.3 else {})
    groups = [managers(dice.randint(1, 5), engine=engine), workers(dice.randint(0, 6), labels={"tier": "web"})]
    if dice.random() < 0.2:
        groups = [replace(groups[0], role=Role.WORKER), replace(groups[1], role=Role.MANAGER)]
    target = wanted(*groups, keep=before.names if seen.machines else (), bundles=(bundle(digest="e" * 64),))
    if dice.random() < 0.2:
        target = replace(target, only=frozenset(target.names) - seen.machines.keys())
    return target, seen


def happening(dice: random.Random, seen: Observation, before: Wanted, name: str) -> Observation:
    events: list[Callable[[], Observation]] = [
        lambda: without(seen, name),
        lambda: without(seen, name, silent=True),
        lambda: with_facts(seen, name, firewall=FirewallFacts()),
        lambda: with_node(seen, name, availability=Availability.PAUSE),
        lambda: with_engine(seen, name, version=None, node=NodeFacts()),
        lambda: stopped(seen, name),
        lambda: anew(seen, name),
    ]
    return dice.choice(events)() if dice.random() < 0.5 else seen


def stopped(seen: Observation, name: str) -> Observation:
    machine = replace(seen.machines[name], state=MachineState.STOPPED)
    gone = without(seen, name, silent=True)
    return replace(gone, machines={**gone.machines, name: machine}, unreachable={})


def anew(seen: Observation, name: str) -> Observation:
    gone = without(seen, name, silent=True)
    return replace(gone, facts={**gone.facts, name: facts(name)}, unreachable={})


def planned(seed: int) -> tuple[Plan, Wanted, Observation]:
    target, seen = chance(seed)
    try:
        return plan_up(target, seen), target, seen
    except PlanError as refused:
        assert refused.problems
        return Plan(cluster="lab"), target, seen


def test_chance_makes_plans_of_every_kind() -> None:
    verbs = {step.verb for seed in SEEDS for step in planned(seed)[0]}
    assert verbs >= {
        *("create machine", "start machine", "reach", "configure", "open ports", "close ports", "init swarm"),
        *("join as manager", "join as worker", "update node", "demote node", "drain node", "leave swarm"),
        *("remove node", "destroy machine", "forget machine", "deploy stack"),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_steps_could_run_one_by_one_in_their_order(seed: int) -> None:
    over: set[str] = set()
    for step in planned(seed)[0]:
        assert step.needs | step.after <= over, step.id
        over.add(step.id)


@pytest.mark.parametrize("seed", SEEDS)
def test_planning_is_pure(seed: int) -> None:
    (first, _, _), (second, _, _) = planned(seed), planned(seed)
    assert first == second
    assert first.text(details=True) == second.text(details=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_step_says_why(seed: int) -> None:
    assert [step.id for step in planned(seed)[0] if not step.cause.strip()] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_wanted_is_destroyed_and_nothing_that_exists_is_made(seed: int) -> None:
    plan, target, seen = planned(seed)
    assert not set(plan.destroys) & set(target.names)
    made = [step.subject for step in plan if isinstance(step.action, Create)]
    assert not set(made) & seen.facts.keys()
    destroyed = [step.action.machine.name for step in plan if isinstance(step.action, Destroy)]
    assert sorted(destroyed) == sorted(set(destroyed))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limited_run_touches_only_what_is_new(seed: int) -> None:
    plan, target, _ = planned(seed)
    if target.only is None:
        return
    others = {step.verb for step in plan if step.subject not in target.only}
    assert others <= {"open ports"}


def raft_changes(plan: Plan) -> list[tuple[str, bool]]:
    """The steps that change who is a manager, in order: the id, and whether it takes one away."""
    found = []
    for step in plan:
        match step.action:
            case Join(node) if node.role is Role.MANAGER:
                found.append((step.id, False))
            case UpdateNode() if "role is" in step.cause:
                found.append((step.id, step.action.role is Role.WORKER))
            case Demote():
                found.append((step.id, True))
            case _:
                pass
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_managers_go_one_at_a_time_after_those_that_come_together(seed: int) -> None:
    plan, _, _ = planned(seed)
    before: dict[str, frozenset[str]] = {}
    for step in plan:
        waits = step.needs | step.after
        before[step.id] = waits.union(*(before[other] for other in waits))
    changes = raft_changes(plan)
    for (earlier, leaves), (later, goes_on) in combinations(changes, 2):
        both_join = earlier.endswith("join as manager") and later.endswith("join as manager")
        assert both_join or earlier in before[later], f"{later} does not wait for {earlier}"
        assert not (leaves and not goes_on), f"{later} comes after {earlier} has left"


@pytest.mark.parametrize("seed", SEEDS)
def test_departures_leave_a_quorum_at_every_moment(seed: int) -> None:
    """Walked through one by one, with the newcomers that each departure needs, and no others."""
    plan, _, seen = planned(seed)
    if seen.swarm is None:
        return
    state = {node.id: node.is_reachable_manager for node in seen.swarm.managers}
    goes = [step for step in plan if isinstance(step.action, Demote) and step.action.node in state]
    for step in goes:
        assert isinstance(step.action, Demote)
        newcomers = sum(1 for need in step.needs if need.endswith("join as manager"))
        reachable = sum(state.values()) + newcomers
        assert reachable * 2 > len(state) + newcomers, step.id
        del state[step.action.node]
        reachable = sum(state.values()) + newcomers
        assert reachable * 2 > len(state) + newcomers, step.id
