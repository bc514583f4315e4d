"""`down`: nothing of a cluster is left, here or at its drivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from provision.errors import ProvisionError
from provision.execution.observe import discover, observe
from provision.execution.scheduler import Summary
from provision.inventory.cluster import Cluster, SshSettings
from provision.operations.apply import Call, apply
from provision.operations.client import remove_client, update_client
from provision.operations.opened import abandon, opened, settings_of
from provision.operations.place import Place
from provision.planning.down import plan_down
from provision.planning.plan import Plan
from provision.state.lock import hold, this_process
from provision.state.store import Store


def down(
    name: str,
    cluster: Cluster | None,
    place: Place,
    call: Call,
    *,
    agree: Callable[[Plan], None],
    purge: bool = False,
    force: bool = False,
) -> tuple[Plan, Summary | None]:
    """Remove every machine, then all that this machine knows of the cluster. Needs no inventory; with one, drivers
    that the state has lost are asked too. A machine that cannot be removed keeps its record, for the next try.
    """
    paths = place.paths(name)
    with hold(paths, this_process(tuple(call.words))):
        store = Store(paths)
        state = store.read()
        ssh = state.ssh if state else cluster.ssh if cluster else SshSettings()
        with opened(place, name, settings=settings_of(cluster, state), ssh=ssh, redactor=call.redactor) as world:
            machines = discover(world, state)
            adopted = {key: value for key, value in machines.items() if world.adopts(value.driver)}
            made = [key for key in machines if key not in adopted]
            # only hosts that stay are asked what is on them
            observed = observe(world, state, (), machines=dict(adopted), skip=made, tolerant=force)
            observed = replace(observed, machines=machines)
            world.machines.update(machines)
            adopting = frozenset(driver for driver in world.drivers if world.adopts(driver))
            plan = plan_down(name, observed, adopting, purge=purge, force=force)
            summary = None
            if not plan.empty:
                agree(plan)
                if state is None:
                    store.create()
                summary = apply(world, place, plan, None, call)
            if summary is None or summary.good:
                _tidy_client(place, name, call)
                paths.state.unlink(missing_ok=True)
                abandon(paths)
            else:
                for problem in update_client(world, place):
                    call.warn(problem)
            return plan, summary


def _tidy_client(place: Place, name: str, call: Call) -> None:
    """The machines are gone; what could not be taken back here is said, and is no reason to keep their records."""
    try:
        remove_client(place, name)
    except (ProvisionError, OSError) as problem:
        call.warn(str(problem))
