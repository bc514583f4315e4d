"""What a host shall be, apart from its membership: the other half of what `changes` compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDesired:
    """One host's target. `members` are the addresses of all members of the cluster, this one included.

    `firewall` False: our table is taken away if it is there. `install` False: the engine is there already, or it is an
    error. `manager`: the port of Swarm's management is open to the members too. `hostname`
    None: whatever it is called stays.
    """

    cluster: str
    machine: str
    manager: bool
    authorized_keys: tuple[str, ...]
    members: tuple[str, ...]
    install: bool = True
    daemon: Mapping[str, Any] = field(default_factory=dict)
    firewall: bool = True
    data_path_port: int = 4789
    hostname: str | None = None
