"""Asking the drivers whether what the plan makes can be made, before anything is."""

from __future__ import annotations

from dataclasses import replace

from provision.driver import MachineSpec
from provision.errors import PlanError, ProvisionError
from provision.execution.world import World
from provision.planning.actions import Adopt, Create
from provision.planning.plan import Plan
from provision.planning.wanted import Wanted


def preflight(world: World, plan: Plan, wanted: Wanted) -> Plan:
    """The plan, with what the drivers want to be known added to its notices. Raises PlanError with every obstacle."""
    asked: dict[str, list[MachineSpec]] = {}
    for step in plan:
        if isinstance(step.action, Create | Adopt):
            spec = wanted.spec(step.subject)
            asked.setdefault(spec.driver, []).append(spec)
    obstacles: list[ProvisionError] = []
    notices: list[str] = []
    for driver, specs in asked.items():
        for finding in world.drivers[driver].check(specs):
            if finding.fatal:
                obstacles.append(ProvisionError(f"driver {driver}: {finding.summary}", hint=finding.fix))
            else:
                notices.append(f"driver {driver}: {finding.summary}" + (f" ({finding.fix})" if finding.fix else ""))
    if obstacles:
        raise PlanError(tuple(obstacles))
    return replace(plan, notices=(*plan.notices, *notices))
