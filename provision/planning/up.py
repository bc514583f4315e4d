"""What `up` would do: the whole plan, top down."""

from __future__ import annotations

from provision.errors import PlanError
from provision.planning.checks import notices, problems
from provision.planning.departures import (
    close_ports,
    departing,
    ghosts,
    guard_silence,
    plan_departures,
    plan_forgetting,
    silent_swarm,
)
from provision.planning.hosts import plan_configuration, plan_machines
from provision.planning.observation import MACHINE_LABEL, Observation
from provision.planning.plan import Draft, Plan
from provision.planning.stacks import plan_images, plan_stacks
from provision.planning.swarm import plan_swarm
from provision.planning.wanted import Wanted


def plan_up(wanted: Wanted, observed: Observation) -> Plan:
    """The steps from what is to what is wanted. Pure: the same input gives the same plan.

    Raises PlanError, with every reason, where the two contradict each other in a way that needs a human.
    """
    against = problems(wanted, observed)
    if against:
        raise PlanError(against)
    gone = departing(wanted, observed)
    draft = Draft()
    plan_machines(draft, wanted, observed)
    plan_configuration(draft, wanted, observed, gone)
    plan_swarm(draft, wanted, observed)
    plan_images(draft, wanted, observed)
    if wanted.only is None:
        lost, cause = ghosts(wanted, observed), "is not in the inventory"
        leaving = () if silent_swarm(observed) else gone  # the next run takes them out, with managers that answer
        plan_departures(draft, wanted, observed, leaving, lost, cause=cause)
        plan_forgetting(draft, observed, sorted(observed.recorded - {*wanted.names}))
        close_ports(draft, wanted, observed, leaving)
    plan_stacks(draft, wanted, observed)
    return draft.finish(wanted.cluster.name, (*notices(wanted, observed), *_postponed(observed, gone)))


def _postponed(observed: Observation, gone: tuple[str, ...]) -> tuple[str, ...]:
    if not gone or not silent_swarm(observed):
        return ()
    return (f"{', '.join(gone)}: not in the inventory, and stays until a manager answers that it can leave",)


def plan_remove(wanted: Wanted, observed: Observation, names: tuple[str, ...], *, force: bool = False) -> Plan:
    """The steps of `rm`: these machines go, the others merely forget them. `wanted` is without them already."""
    if not force:
        guard_silence(observed, [name for name in names if name in observed.machines])
    draft = Draft()
    present = [name for name in names if name in observed.machines]
    lost = [node for node in ghosts(wanted, observed) if node.labels.get(MACHINE_LABEL) in names]
    plan_departures(draft, wanted, observed, present, lost, cause="asked for", force=force)
    plan_forgetting(draft, observed, names)
    close_ports(draft, wanted, observed, names)
    return draft.finish(wanted.cluster.name)
