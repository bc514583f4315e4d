"""What a step does, as a value. The executor has one function for each of these; it adds no decision of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from provision.driver import Machine, MachineSpec, Role
from provision.inventory.cluster import Availability, EngineSettings, Stack

if TYPE_CHECKING:
    from provision.stacks.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Create:
    """Have the driver make the machine (or complete it)."""

    spec: MachineSpec


@dataclass(frozen=True, slots=True)
class Adopt:
    """Record a machine that already runs as one of the cluster's."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Start:
    """Have the driver start a machine that is stopped."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Reach:
    """Wait for SSH and probe, unless that was done. `boots`: it was just started, and refuses logins at first."""

    machine: str
    boots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """Make the host what it shall be. `members` are machine names: their addresses may be known only by then.

    `ports_only`: leave everything but the firewall's members as it is.
    """

    machine: str
    manager: bool
    members: tuple[str, ...]
    engine: EngineSettings
    ports_only: bool = False
    #: the name that the host shall bear; None leaves it alone
    hostname: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateNode:
    """Give a member its role, availability and labels. Labels that we never set stay as they are."""

    machine: str
    role: Role
    availability: Availability
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class InitSwarm:
    """Make the machine the first manager of a new swarm, and what `node` says."""

    node: UpdateNode


@dataclass(frozen=True, slots=True)
class Join:
    """Join the swarm in the node's role, and be what `node` says."""

    node: UpdateNode


@dataclass(frozen=True, slots=True)
class LoadImages:
    """Load the archives that the machine's engine lacks."""

    machine: str
    archives: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class DeployStack:
    """Deploy a stack and, if it says so, wait until it runs as wanted."""

    stack: Stack
    bundle: Bundle


@dataclass(frozen=True, slots=True)
class RemoveStack:
    """Remove a stack of ours and wait until its networks are gone."""

    name: str


@dataclass(frozen=True, slots=True)
class Demote:
    """Make a manager a worker and wait until it is one."""

    machine: str
    node: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Move the node's tasks elsewhere and wait until none runs."""

    machine: str
    node: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Have the host leave its swarm."""

    machine: str


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Strike the node off the swarm's list: at once where it has `left`, else once the managers see it down."""

    machine: str
    node: str
    left: bool = False


@dataclass(frozen=True, slots=True)
class Destroy:
    """Have the driver remove the machine and all that it made for it."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop our record of a machine that its driver does not have any more."""

    machine: str


@dataclass(frozen=True, slots=True)
class Release:
    """Take back all that we put on an adopted host; `purge` takes the engine too. `forget`: even if it is not there."""

    machine: Machine
    purge: bool
    forget: bool


Action: TypeAlias = (
    Create
    | Adopt
    | Start
    | Reach
    | Configure
    | InitSwarm
    | Join
    | UpdateNode
    | LoadImages
    | DeployStack
    | RemoveStack
    | Demote
    | Drain
    | Leave
    | RemoveNode
    | Destroy
    | Forget
    | Release
)
