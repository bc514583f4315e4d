"""What must change on a host: one file an area, each a pure function of target and facts.

The order is the order on the host: the owner's mark first, so that a crash leaves a host that says whose it is; the
engine's configuration before the engine, so that its first start has it.
"""

from __future__ import annotations

from provision.hosts.changes import access, daemon, firewall, group, hostname, owner, packages
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts

__all__ = ["Change", "due"]

_AREAS = (
    owner.changes,
    access.changes,
    hostname.changes,
    daemon.write,
    packages.changes,
    group.changes,
    daemon.activate,
    firewall.changes,
)


def due(desired: HostDesired, facts: HostFacts, *, ports_only: bool = False) -> tuple[Change, ...]:
    """Every change that the host needs, in the order in which to make them; empty when it is as it shall be.

    `ports_only` leaves all but the firewall alone: a host on which others depend, but which nobody asked to change.
    """
    areas = (firewall.changes,) if ports_only else _AREAS
    return tuple(change for area in areas for change in area(desired, facts))
