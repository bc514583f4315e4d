"""Which network a cluster gets, and which address a machine: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from provision.errors import DriverError

#: Searched in this order. The low half of 10/8 is left alone: Swarm takes its overlay networks there.
_POOLS = (IPv4Network("10.192.0.0/10"), IPv4Network("172.24.0.0/13"), IPv4Network("192.168.128.0/17"))

#: The first addresses are the bridge's and spare ones for a lab's own use.
_FIRST_HOST = 10


def choose_subnet(cluster: str, *, taken: Iterable[IPv4Network], asked: str | None = None) -> IPv4Network:
    """The network of a cluster: the one asked for, or the first free /24 from a place that its name decides.

    Raises DriverError when it overlaps one of `taken`, or nothing is free.
    """
    used = tuple(taken)
    if asked is not None:
        network = IPv4Network(asked)
        overlapped = next((other for other in used if other.overlaps(network)), None)
        if overlapped is not None:
            raise DriverError(
                f"subnet {network} of cluster {cluster!r} overlaps {overlapped}, which is in use here",
                hint="choose another for `subnet:`, or leave it out",
            )
        return network
    for network in _candidates(cluster):
        if not any(network.overlaps(other) for other in used):
            return network
    raise DriverError(
        f"no private network is free for cluster {cluster!r}",
        detail="in use: " + ", ".join(map(str, used)),
        hint="name one with `subnet:`",
    )


def choose_address(network: IPv4Network, *, taken: Iterable[IPv4Address]) -> IPv4Address:
    """The lowest free address for a machine. Raises DriverError when the network is full."""
    used = set(taken)
    first = min(_FIRST_HOST, network.num_addresses // 4)
    for offset in range(first, network.num_addresses - 1):
        if network[offset] not in used:
            return network[offset]
    raise DriverError(
        f"subnet {network} is full with {len(used)} machines",
        hint="give a new cluster a larger one, for instance `subnet: 10.250.0.0/20`",
    )


def _candidates(cluster: str) -> Iterator[IPv4Network]:
    place = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:8], "big")
    for pool in _POOLS:
        count = 1 << (24 - pool.prefixlen)
        for step in range(count):
            yield IPv4Network((int(pool.network_address) + ((place + step) % count) * 256, 24))
