"""What an inventory may say and should perhaps not: `provision validate` and `up` show it, nothing fails for it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from provision.driver import Role
from provision.inventory.cluster import Cluster
from provision.inventory.specs import engine_for

MOST_MANAGERS = 7


def warnings(cluster: Cluster) -> tuple[str, ...]:
    """One sentence each; empty when there is nothing to say. Pure."""
    return tuple(dict.fromkeys([*_managers(cluster), *_daemon(cluster), *_pool(cluster)]))


def _managers(cluster: Cluster) -> Iterator[str]:
    managers = sum(group.count for group in cluster.groups if group.role is Role.MANAGER)
    if managers % 2 == 0:
        yield (
            f"{managers} managers survive the loss of {(managers - 1) // 2}, as {managers - 1} do; "
            "an odd number is better"
        )
    if managers > MOST_MANAGERS:
        yield f"{managers} managers: more than {MOST_MANAGERS} make every change of the swarm slower, and help little"


def _daemon(cluster: Cluster) -> Iterator[str]:
    for group in cluster.groups:
        for number in (0, *group.overrides):
            daemon = engine_for(group, number).daemon
            where = f"group {group.name!r}" if not number else f"{cluster.name}-{group.name}-{number}"
            if "hosts" in daemon:
                yield (
                    f"{where}: 'hosts' in daemon.json conflicts with the -H of Debian's docker.service, "
                    "and the engine will not start unless the unit is changed"
                )
            if daemon.get("iptables") is False:
                yield f"{where}: with 'iptables': false in daemon.json, published ports do not work"


def _pool(cluster: Cluster) -> Iterator[str]:
    pools = [ipaddress.ip_network(pool) for pool in cluster.swarm.default_addr_pool]
    for group in cluster.groups:
        for host in group.hosts:
            for text in {host.address, host.private_address or host.address}:
                try:
                    address = ipaddress.ip_address(text)
                except ValueError:
                    continue
                for pool in pools:
                    if address in pool:
                        yield f"{text} of group {group.name!r} lies in the swarm's own address pool {pool}"
