"""What the Engine API says, as plain values. Words are Swarm's own, in lower case as the API sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.driver import Role
from provision.inventory.cluster import Availability


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """One engine's view of itself and of its membership.

    `local_node_state` is inactive, pending, active, error or locked. `cluster_id`, `nodes` and `managers` are
    known to managers only. `error` is Swarm's, empty when all is well. `remote_managers` are `address:port`.
    """

    name: str
    server_version: str
    node_id: str
    node_address: str
    cluster_id: str
    local_node_state: str
    control_available: bool
    error: str
    nodes: int = 0
    managers: int = 0
    remote_managers: tuple[str, ...] = ()

    @property
    def is_member(self) -> bool:
        """Whether this engine is a working node of some swarm."""
        return self.local_node_state == "active"

    @property
    def is_locked(self) -> bool:
        """Whether this is a manager that waits for its unlock key."""
        return self.local_node_state == "locked"


@dataclass(frozen=True, slots=True)
class JoinTokens:
    """The secrets that let a machine in; never shown."""

    worker: str = field(repr=False)
    manager: str = field(repr=False)

    def of(self, role: Role) -> str:
        """The token that makes a machine a node of this role."""
        return self.manager if role is Role.MANAGER else self.worker


@dataclass(frozen=True, slots=True)
class SwarmIdentity:
    """Which swarm it is, and how one gets in."""

    id: str
    tokens: JoinTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What may be changed about a node. `name` is Swarm's annotation, not the hostname; mostly empty."""

    role: Role
    availability: Availability
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A member as the managers see it.

    `state` is unknown, down, ready or disconnected. `reachability` (unknown, unreachable, reachable) and
    `manager_address` are empty for workers. `version` is what an update must name.
    """

    id: str
    version: int
    hostname: str
    spec: NodeSpec
    state: str
    address: str
    message: str = ""
    leader: bool = False
    reachability: str = ""
    manager_address: str = ""
    engine_version: str = ""

    @property
    def role(self) -> Role:
        """Manager or worker, as asked for."""
        return self.spec.role

    @property
    def availability(self) -> Availability:
        """Whether it takes tasks."""
        return self.spec.availability

    @property
    def labels(self) -> Mapping[str, str]:
        """Its node labels (not the engine's)."""
        return self.spec.labels

    @property
    def is_reachable_manager(self) -> bool:
        """Whether it counts towards the quorum now."""
        return self.reachability == "reachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service and how far it is.

    `mode` is replicated, global, replicated-job or global-job. `stack` is its namespace, empty for none.
    `desired` is the number of tasks that shall run (or, for jobs, complete). `update_state` is empty when
    there was no update since the last change of the spec, else updating, paused, completed, rollback_started,
    rollback_paused or rollback_completed. `spec_digest` changes with anything that was asked for,
    `task_digest` only with what its tasks are made from. `configs` and `secrets` are the ids in use, those
    that a rollback would need included.
    """

    id: str
    name: str
    stack: str
    mode: str
    running: int
    desired: int
    completed: int
    image: str
    spec_digest: str
    task_digest: str
    update_state: str = ""
    update_message: str = ""
    job_iteration: int | None = None
    configs: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()

    @property
    def is_job(self) -> bool:
        """Whether its tasks run once to their end."""
        return self.mode.endswith("-job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run of a service on a node.

    `state` and `desired_state` are Swarm's: new, pending, assigned, accepted, preparing, ready, starting,
    running, complete, shutdown, failed, rejected, remove, orphaned. Timestamps are RFC 3339 text in UTC,
    which sorts by time to the second. `slot` is 0 for tasks of global services.
    """

    id: str
    service_id: str
    node_id: str
    slot: int
    state: str
    desired_state: str
    message: str
    error: str
    timestamp: str
    created: str
    updated: str
    task_digest: str
    job_iteration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmObject:
    """A network or secret: its name, labels, and when it was made (RFC 3339)."""

    id: str
    name: str
    labels: Mapping[str, str]
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmConfig(SwarmObject):
    """A config, with its data, which Swarm shows to every manager."""

    data: bytes = field(repr=False)
