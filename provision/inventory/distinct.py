"""No machine twice: not by where SSH reaches it, not by where the other members do, not by name."""

from __future__ import annotations

from provision.inventory.cluster import Group
from provision.inventory.hosts import normal_address
from provision.inventory.report import Report


def check_hosts_are_distinct(report: Report, groups: tuple[Group, ...], cluster: str) -> None:
    """Note each host that is another's already, at the later of the two."""
    doors: dict[object, str] = {}
    members: dict[str, str] = {}
    names = {
        f"{cluster}-{group.name}-{number}": f"machines.{group.name}"
        for group in groups
        if not group.hosts
        for number in range(1, group.count + 1)
    }
    for group in groups:
        for index, host in enumerate(group.hosts):
            path = ("machines", group.name, "hosts", index)
            here = f"machines.{group.name}.hosts[{index}]"
            door = (normal_address(host.address), host.port or 22, host.jump)
            if door in doors:
                report.add(path, f"{host.address} is {doors[door]} already", hint="remove one of them")
            elif host.private_address and normal_address(host.private_address) in members:
                other = members[normal_address(host.private_address)]
                report.add((*path, "private_address"), f"{host.private_address} is {other}'s already")
            if host.name and host.name in names:
                report.add((*path, "name"), f"{host.name} is the name of {names[host.name]} already")
            doors.setdefault(door, here)
            if host.private_address:
                members.setdefault(normal_address(host.private_address), here)
            if host.name:
                names.setdefault(host.name, here)
