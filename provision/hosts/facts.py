"""What one probe saw on one host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """The host's own view of its membership (`docker info`, `.Swarm`).

    `state` is Swarm's LocalNodeState: inactive, pending, active, error, locked. `cluster_id` is known to managers only;
    `managers` are the addresses (`ip:port`) of the managers that it would ask.
    """

    state: str = "inactive"
    node_id: str = ""
    cluster_id: str = ""
    manager: bool = False
    managers: frozenset[str] = frozenset()
    error: str = ""

    @property
    def member(self) -> bool:
        """True for a host that belongs to some swarm, even one that it cannot reach now."""
        return bool(self.node_id) or self.state not in ("", "inactive")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """Docker Engine on the host. `version` None: not installed, or installed and not answering (`installed`)."""

    installed: bool = False
    version: str | None = None
    daemon_json: str | None = None
    daemon_json_before: str | None = None
    #: daemon.json was written, and the engine not told of it: a run was cut short there
    pending: bool = False
    node: NodeFacts = field(default_factory=NodeFacts)
    images: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        """True when the engine answered the probe."""
        return self.version is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallFacts:
    """nftables on the host. `intact`: what is loaded is what we loaded last. `dropping` names foreign tables whose
    input chain drops what nothing accepts (ufw, firewalld), which our table cannot overrule."""

    available: bool = False
    rules: str | None = None
    intact: bool = False
    enabled: bool = False
    dropping: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """One host, as one probe saw it. Sizes are bytes; `addresses` maps an interface to its global addresses."""

    machine: str
    user: str
    hostname: str
    machine_id: str
    os_id: str
    os_version: str
    os_like: tuple[str, ...]
    kernel: str
    architecture: str
    cpus: int
    memory: int
    clock: float
    addresses: Mapping[str, tuple[str, ...]]
    owner: Mapping[str, Any] | None
    authorized_keys: tuple[str, ...]
    engine: EngineFacts
    firewall: FirewallFacts
    ipvs: bool
    vxlan: bool
    systemd: bool = True
    #: the login user's groups
    groups: tuple[str, ...] = ()
    #: whether the group that may use the engine's socket exists
    docker_group: bool = False

    @property
    def node(self) -> NodeFacts:
        """The host's own view of its membership."""
        return self.engine.node

    @property
    def debian(self) -> bool:
        """True for Debian and what derives from it: apt and its package names hold."""
        return self.os_id == "debian" or "debian" in self.os_like
