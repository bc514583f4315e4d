"""`rm`: take single machines out of a cluster that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from provision.driver import Role
from provision.errors import UsageError
from provision.execution.scheduler import Summary
from provision.inventory.cluster import Cluster
from provision.inventory.edit import remove_host, set_count
from provision.inventory.load import load, loads, read_text
from provision.inventory.specs import machine_specs
from provision.inventory.write import write_inventory
from provision.operations.apply import Call
from provision.operations.place import Place
from provision.operations.up import up
from provision.operations.wanted import existing, leaving_of
from provision.planning.observation import Observation
from provision.planning.plan import Plan
from provision.planning.up import plan_remove
from provision.planning.wanted import Wanted
from provision.state.model import ClusterState
from provision.state.store import Store


def shrink(
    inventory: Path,
    place: Place,
    call: Call,
    names: Sequence[str],
    *,
    agree: Callable[[Plan], None],
    force: bool = False,
) -> tuple[Plan, Summary | None]:
    """Demote, drain, leave, strike off, destroy; the inventory loses the machines too, so that `up` does not remake
    them. Refuses what would break the quorum, unless `force`, and never takes the last manager.
    """
    cluster = load(inventory, environ=place.environ)
    state = Store(place.paths(cluster.name)).read()
    text = shrunk_text(read_text(inventory), cluster, state, names, file=str(inventory))
    after = loads(text, inventory, environ=place.environ)

    def shape(wanted: Wanted, observed: Observation) -> Plan:
        return plan_remove(wanted, observed, tuple(names), force=force)

    def write(plan: Plan) -> None:
        agree(plan)
        _remember(place, cluster.name, names)
        write_inventory(inventory, text)

    plan, summary = up(after, place, call, agree=write, leaving=frozenset(names), shape=shape, tolerant=force)
    if plan.empty:  # the machines were gone before; the inventory still has to learn of it
        write_inventory(inventory, text)
    return plan, summary


def _remember(place: Place, cluster: str, names: Sequence[str]) -> None:
    """Which machines go: should the run be cut short, `rm` and `up` go on with these and no others."""
    store = Store(place.paths(cluster))
    if store.read() is not None:
        store.update(lambda state: replace(state, data={**state.data, "leaving": sorted({*leaving_of(state), *names})}))


def shrunk_text(text: str, cluster: Cluster, state: ClusterState | None, names: Sequence[str], *, file: str) -> str:
    """The inventory's text without these machines. Raises UsageError for a name that is none of its machines."""
    going = leaving_of(state)  # the inventory does not have these any more
    specs = {spec.name: spec for spec in machine_specs(cluster, existing((), state), leaving=going)}
    for name in names:
        if name not in specs and name not in going:
            known = ", ".join(specs)
            raise UsageError(f"{name!r} is no machine of cluster {cluster.name!r}", hint=f"its machines: {known}")
    if all(spec.name in names for spec in specs.values() if spec.role is Role.MANAGER):
        raise UsageError(
            f"no manager would stay in cluster {cluster.name!r}, and a swarm ends with its last one",
            hint=f"add one first (provision add-manager), or take all of it down: provision down -c {cluster.name}",
        )
    for group in cluster.groups:
        leaving = [spec for spec in specs.values() if spec.name in names and spec.group == group.name]
        if not leaving:
            continue
        if group.hosts:
            for spec in leaving:
                assert spec.host is not None
                text = remove_host(text, group.name, spec.host.address, file=file)
        else:
            text = set_count(text, group.name, group.count - len(leaving), file=file)
    return text
