"""What every contender is given: the same hosts, the same key, the same work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Target:
    """A host that runs already: the name that it shall have, and the address at which its sshd answers root."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The hosts of one round, and how to reach them. The first `managers` targets become the swarm's managers.

    `key` is a private key that opens them all as root, `known_hosts` holds their host keys; `folder` is scratch space.
    """

    folder: Path
    targets: tuple[Target, ...]
    key: Path
    known_hosts: Path
    managers: int = 3
    #: what daemon.json shall say: keys that want a restart of the engine, as most do, and no default of it
    daemon: Mapping[str, Any] = field(
        default_factory=lambda: {"log-driver": "local", "log-opts": {"max-file": "3", "max-size": "10m"}}
    )

    @property
    def nftables(self) -> str:
        """The table that lets only the members use the swarm's ports, in the words of nft; it replaces the old one."""
        members = ", ".join(target.address for target in self.targets)
        return f"""\
table inet swarm_ports
delete table inet swarm_ports
table inet swarm_ports {{
    set members {{ type ipv4_addr; elements = {{ {members} }} }}
    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iif "lo" accept
        ip saddr @members accept
        tcp dport {{ 2377, 7946 }} drop
        udp dport {{ 4789, 7946 }} drop
    }}
}}
"""


class Contender(Protocol):
    """One way to do the work: name the hosts, write daemon.json and restart the engine if it changed, load the table,
    init, join the other managers and the workers, return when all nodes are ready. Running it again changes nothing.
    """

    name: str

    def versions(self) -> str:
        """What runs, with versions, for the report."""
        ...

    def prepare(self, site: Site) -> None:
        """Write into the site's folder what it needs to run; not measured."""
        ...

    def argv(self, site: Site) -> tuple[str, ...]:
        """The command that is measured."""
        ...

    def environ(self, site: Site) -> Mapping[str, str]:
        """Variables that it needs beside the ordinary ones."""
        ...

    def forget(self, site: Site) -> None:
        """Forget, on this side, what a run has left: connections, caches, state. Before each round; not measured."""
        ...
