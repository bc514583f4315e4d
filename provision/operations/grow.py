"""`add-worker` and `add-manager`: the inventory first, then what is new, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from provision.driver import Role
from provision.errors import UsageError
from provision.execution.scheduler import Summary
from provision.inventory.cluster import Cluster, Group
from provision.inventory.edit import add_hosts, set_count
from provision.inventory.load import load, loads, read_text
from provision.inventory.write import write_inventory
from provision.operations.apply import Call
from provision.operations.place import Place
from provision.operations.up import up
from provision.planning.plan import Plan


def grow(
    inventory: Path,
    place: Place,
    call: Call,
    *,
    role: Role,
    count: int,
    group: str | None,
    hosts: Sequence[str],
    agree: Callable[[Plan], None],
) -> tuple[Plan, Summary | None]:
    """Add machines to a group of this role: `count` new ones, or the `hosts` that are named.

    The inventory is written, its comments kept, once the plan stands and before its first step: should the run be
    cut short, `up` carries on. Raises InventoryError with a hint where the file cannot be edited.
    """
    before = load(inventory, environ=place.environ)
    target = group_for(before, role, group)
    text = grown_text(read_text(inventory), target, count=count, hosts=hosts, file=str(inventory))
    after = loads(text, inventory, environ=place.environ)

    def write(plan: Plan) -> None:
        agree(plan)
        write_inventory(inventory, text)

    return up(after, place, call, agree=write, only_new=True)


def group_for(cluster: Cluster, role: Role, name: str | None) -> Group:
    """The group to grow: the one that is named, or the only one of the role. Raises UsageError otherwise."""
    groups = [group for group in cluster.groups if group.role is role and name in (None, group.name)]
    if len(groups) == 1:
        return groups[0]
    known = ", ".join(group.name for group in cluster.groups if group.role is role)
    if name is not None:
        raise UsageError(f"there is no {role} group {name!r} in {cluster.source.name}", hint=f"{role} groups: {known}")
    if not groups:
        raise UsageError(
            f"{cluster.source.name} has no group of role {role}",
            hint=f"add one under `machines:`, like `{role}: {{role: {role}, count: 1}}`, and run provision up",
        )
    raise UsageError(f"{cluster.source.name} has several {role} groups", hint=f"say which: --group {known}")


def grown_text(text: str, group: Group, *, count: int, hosts: Sequence[str], file: str) -> str:
    """The inventory's text with the group grown."""
    if group.hosts:
        if not hosts:
            raise UsageError(
                f"group {group.name!r} lists its hosts", hint="name the new ones: --host user@address, once for each"
            )
        return add_hosts(text, group.name, list(hosts), file=file)
    if hosts:
        raise UsageError(f"group {group.name!r} has a count and lists no hosts", hint="use --count")
    return set_count(text, group.name, group.count + count, file=file)
