"""Which machines an inventory asks for, one by one, with numbers that stay.

A machine keeps its number, and with it its name, for as long as it exists. What exists is told by the caller, from
the drivers and the state; nothing here looks anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count as numbers_from
from typing import TypeAlias

from provision.driver import HostEntry, MachineSpec
from provision.inventory.cluster import Availability, Cluster, EngineSettings, Group
from provision.inventory.hosts import normal_address
from provision.merge import merge

#: A machine that exists: its name, group, number and address (None while it has none).
Existing: TypeAlias = tuple[str, str, int, str | None]


def machine_specs(
    cluster: Cluster, existing: Iterable[Existing] = (), *, leaving: Container[str] = ()
) -> tuple[MachineSpec, ...]:
    """The machines that there shall be, group by group in the inventory's order, by number within.

    Of a group with a count the lowest numbers that exist are kept, and new machines take the smallest free ones. Of a
    group with hosts an entry is the machine that has its `name`, else the one that has its address, so that removing
    the first entry renames none of the others. A number that an existing machine has is never given to another, not
    even where that machine is about to go. Two entries with one address (and different ports) want a `name` each.
    `leaving` are machines that somebody asked to remove: none of them is kept. `host_key` and `authorized_keys` are
    left to the caller.
    """
    known: dict[str, list[Existing]] = {}
    for machine in sorted(existing, key=lambda machine: machine[2]):
        known.setdefault(machine[1], []).append(machine)
    return tuple(
        _spec(cluster, group, number, host)
        for group in cluster.groups
        for number, host in sorted(_numbered(group, known.get(group.name, []), leaving), key=lambda n: n[0])
    )


def engine_for(group: Group, number: int) -> EngineSettings:
    """The engine of one machine: its group's, with what its override says of daemon.json on top."""
    override = group.overrides.get(number)
    if not override:
        return group.engine
    return replace(group.engine, daemon=merge(group.engine.daemon, override.daemon))


def labels_for(group: Group, number: int) -> Mapping[str, str]:
    """The node labels of one machine: its group's, its override's over them."""
    override = group.overrides.get(number)
    return {**group.labels, **(override.labels if override else {})}


def availability_for(group: Group, number: int) -> Availability:
    """Whether one machine's node takes tasks: what its override says, else its group."""
    override = group.overrides.get(number)
    return override.availability if override and override.availability else group.availability


def _numbered(
    group: Group, existing: list[Existing], leaving: Container[str]
) -> Iterator[tuple[int, HostEntry | None]]:
    staying = [machine for machine in existing if machine[0] not in leaving]
    taken = {machine[2] for machine in existing}
    free = (number for number in numbers_from(1) if number not in taken)
    if not group.hosts:
        kept = [machine[2] for machine in staying][: group.count]
        yield from ((number, None) for number in kept)
        yield from ((next(free), None) for _ in range(group.count - len(kept)))
        return
    matched = _match(group.hosts, staying)
    for index, host in enumerate(group.hosts):
        yield matched[index] if index in matched else next(free), host


def _match(hosts: tuple[HostEntry, ...], existing: list[Existing]) -> dict[int, int]:
    """The number of the existing machine that each entry (by its index) is; entries without one are left out."""
    left = {machine[0]: machine for machine in existing}
    matched: dict[int, int] = {}

    def take(index: int, machine: Existing) -> None:
        matched[index] = machine[2]
        del left[machine[0]]

    for index, host in enumerate(hosts):
        if host.name and host.name in left:
            take(index, left[host.name])
    at: dict[str, deque[Existing]] = {}
    for machine in left.values():
        if machine[3] is not None:
            at.setdefault(normal_address(machine[3]), deque()).append(machine)
    for index, host in enumerate(hosts):
        if index not in matched and (found := at.get(normal_address(host.address))):
            take(index, found.popleft())
    # A crash may have left a name without an address; it was meant for an entry that has no machine yet.
    unplaced = deque(machine for machine in left.values() if machine[3] is None)
    for index in range(len(hosts)):
        if index not in matched and unplaced:
            take(index, unplaced.popleft())
    return matched


def _spec(cluster: Cluster, group: Group, number: int, host: HostEntry | None) -> MachineSpec:
    return MachineSpec(
        cluster=cluster.name,
        name=(host.name if host else None) or f"{cluster.name}-{group.name}-{number}",
        group=group.name,
        number=number,
        role=group.role,
        driver=group.driver,
        user=(host.user if host else None) or cluster.ssh.user or "root",
        port=(host.port if host else None) or cluster.ssh.port or 22,
        image=group.image,
        cpus=group.cpus,
        memory=group.memory,
        disk=group.disk,
        host=host,
        user_data=group.user_data,
        options=group.options,
    )
