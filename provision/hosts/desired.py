"""What a host shall be, apart from its membership: the other half of what `changes` compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


class Members(tuple[str, ...]):
    """The addresses of a cluster's members, hashed once: a thousand hosts share them, and find by them what was made
    of them before."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDesired:
    """One host's target. `members` are the addresses of all members of the cluster, this one included.

    `firewall` False: our table is taken away if it is there. `install` False: the engine is there already, or it is an
    error. `manager`: the port of Swarm's management is open to the members too. `hostname` None: it keeps its name.
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
