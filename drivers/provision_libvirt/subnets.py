"""Which network a cluster gets for itself, and what is in use already."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from provision.errors import DriverError

#: Searched in this order. The low half of 10/8 is left alone: Swarm takes its overlay networks there.
_POOLS = (IPv4Network("10.192.0.0/10"), IPv4Network("172.24.0.0/13"), IPv4Network("192.168.128.0/17"))

_SECONDS = 20.0


def choose_subnet(cluster: str, *, taken: Iterable[IPv4Network], asked: str | None = None) -> IPv4Network:
    """The network of a cluster: the one asked for, or the first free /24 from a place that its name decides.

    Raises DriverError when it overlaps one of `taken`, or nothing is free.
    """
    used = tuple(dict.fromkeys(taken))
    if asked is not None:
        network = IPv4Network(asked)
        overlapped = next((other for other in used if other.overlaps(network)), None)
        if overlapped is not None:
            raise DriverError(
                f"subnet {network} of cluster {cluster!r} overlaps {overlapped}, which is in use on the hypervisor",
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


def routed_here() -> tuple[IPv4Network, ...]:
    """Every IPv4 network that this machine routes, default routes aside; none where there is no `ip` to ask."""
    try:
        done = subprocess.run(
            ("ip", "-4", "-json", "route", "show", "table", "all"),
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(networks_of(json.loads(done.stdout or "[]")))


def networks_of(routes: Iterable[Mapping[str, Any]]) -> Iterator[IPv4Network]:
    """The networks in what `ip -json route` says."""
    for route in routes:
        if route.get("type", "unicast") == "unicast" and route["dst"] != "default":
            yield IPv4Network(route["dst"], strict=False)


def _candidates(cluster: str) -> Iterator[IPv4Network]:
    place = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:8], "big")
    for pool in _POOLS:
        count = 1 << (24 - pool.prefixlen)
        for step in range(count):
            yield IPv4Network((int(pool.network_address) + ((place + step) % count) * 256, 24))
