"""`plan` and `up`: from an inventory to the cluster that it describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from provision import drivers
from provision.execution.observe import discover, observe
from provision.execution.scheduler import Summary
from provision.execution.world import World
from provision.inventory.cluster import Cluster
from provision.operations.apply import Call, apply
from provision.operations.client import update_client
from provision.operations.opened import abandon, opened, remember, settings_of
from provision.operations.place import Place
from provision.operations.preflight import preflight
from provision.operations.wanted import wanted_of
from provision.planning.observation import Observation
from provision.planning.plan import Plan
from provision.planning.up import plan_up
from provision.planning.wanted import Wanted
from provision.state.errors import StateError
from provision.state.keys import ensure_cluster_key
from provision.state.lock import hold, this_process
from provision.state.model import MachineRecord, MachineStatus
from provision.state.paths import ClusterPaths
from provision.state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, with what it was made from and for."""

    plan: Plan
    world: World
    wanted: Wanted
    observed: Observation


@contextmanager
def planned(
    cluster: Cluster,
    place: Place,
    *,
    only_new: bool = False,
    wait: bool = True,
    leaving: frozenset[str] = frozenset(),
    shape: Callable[[Wanted, Observation], Plan] = plan_up,
    tolerant: bool = False,
    call: Call | None = None,
) -> Iterator[Planned]:
    """Look at the world and plan. Changes nothing: host keys that were accepted are pinned by who goes on to act.

    `leaving` machines are not wanted, `shape` makes the plan. `only_new`: touch no machine that exists, but for the
    ports that it opens to the new ones. `tolerant`: a host whose key is wrong counts as one that does not answer.
    """
    state = Store(place.paths(cluster.name)).read()
    redactor = call.redactor if call else None
    with opened(
        place,
        cluster.name,
        settings=settings_of(cluster, state),
        ssh=cluster.ssh,
        redactor=redactor,
    ) as world:
        machines = discover(world, state)
        wanted = wanted_of(cluster, world, place, machines=machines.values(), state=state, wait=wait, leaving=leaving)
        if only_new:
            wanted = replace(wanted, only=frozenset(wanted.names) - machines.keys())
        images = bool(wanted.archives)
        observed = observe(world, state, wanted.specs, machines=machines, images=images, tolerant=tolerant)
        plan = preflight(world, shape(wanted, observed), wanted)
        yield Planned(plan=plan, world=world, wanted=wanted, observed=observed)


def up(
    cluster: Cluster,
    place: Place,
    call: Call,
    *,
    agree: Callable[[Plan], None],
    only_new: bool = False,
    wait: bool = True,
    leaving: frozenset[str] = frozenset(),
    shape: Callable[[Wanted, Observation], Plan] = plan_up,
    tolerant: bool = False,
) -> tuple[Plan, Summary | None]:
    """Make the cluster what the inventory says. Returns the plan, and how its run ended; None when it was empty.

    `agree` is called with a plan that is not empty and raises when the user does not want it; nothing is changed then.
    """
    paths = place.paths(cluster.name)
    with hold(paths, this_process(tuple(call.words))) as killed:
        had_key = paths.private_key.exists()  # machines may know it, whatever else was lost here
        if not had_key:
            _refuse_new_key(paths)
        try:
            ensure_cluster_key(paths)
            with planned(
                cluster, place, only_new=only_new, wait=wait, leaving=leaving, shape=shape, tolerant=tolerant, call=call
            ) as made:
                if made.plan.empty:
                    made.world.pin_accepted()
                    _refresh(made)
                    _tell(call, update_client(made.world, place))
                    return made.plan, None
                plan = made.plan
                if killed is not None:
                    plan = replace(plan, notices=(f"carries on where {killed} was cut short", *plan.notices))
                agree(plan)
                remember(made.world, cluster)
                made.world.pin_accepted()
                _refresh(made)
                try:
                    return plan, apply(made.world, place, plan, made.wanted, call)
                finally:
                    _tell(call, update_client(made.world, place))
        finally:
            if not had_key:
                abandon(paths)


def _refresh(made: Planned) -> None:
    """Have the state know machines as they are now: an inventory may name another door, another role."""
    state = made.world.store.read()
    if state is None:
        return
    fresh = []
    for spec in made.wanted:
        record, machine = state.machines.get(spec.name), made.observed.machines.get(spec.name)
        if record is None or machine is None or machine.address is None or record.status is not MachineStatus.CREATED:
            continue
        now = replace(MachineRecord.of(machine, role=spec.role), details=record.details, unknown=record.unknown)
        if now != record:
            fresh.append(now)
    if fresh:
        made.world.store.update(lambda state: state.put(*fresh))


def _tell(call: Call, problems: tuple[str, ...]) -> None:
    for problem in problems:
        call.warn(problem)


def _refuse_new_key(paths: ClusterPaths) -> None:
    """Machines that we made open to the cluster's key alone: a new one beside them would only hide the loss."""
    state = Store(paths).read()
    made = [r.name for r in state.machines.values() if not drivers.load(r.driver).adopts] if state else []
    if made:
        raise StateError(
            f"the SSH key of cluster {paths.cluster!r} is gone, and {', '.join(made)} open to no other",
            detail=f"expected at {paths.private_key}",
            hint="restore it from a backup, or make the cluster anew: provision down, then provision up",
        )
