"""The contract between provision and whatever makes machines.

A driver knows its provider and nothing of Docker. It decides nothing, waits for nothing that is not its provider's
answer, prints nothing, and turns its provider's errors into `DriverError`, `from` the original.
`provision.testing` holds the suite that every driver must pass; docs/write-a-driver.md walks through one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pydantic import BaseModel


class Role(StrEnum):
    """What a machine is to the swarm."""

    MANAGER = "manager"
    WORKER = "worker"


class MachineState(StrEnum):
    """What the provider says of a machine; docker-machine's words."""

    RUNNING = "Running"
    STARTING = "Starting"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    PAUSED = "Paused"
    ERROR = "Error"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class HostKeyPair:
    """An SSH host key made before the machine boots: OpenSSH private key text, and `ssh-ed25519 AAAA…`."""

    private: str = field(repr=False)
    public: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEntry:
    """A machine that already runs, as an inventory's `hosts:` names it.

    `user` and `port` None leave it to `ssh:` of the inventory, then to the user's ssh config. `host_key` is a public
    key line (`ssh-ed25519 AAAA…`) or a fingerprint (`SHA256:…`). `private_address` is where the other members reach it,
    when that is not `address`.
    """

    address: str
    name: str | None = None
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    host_key: str | None = None
    private_address: str | None = None
    identity_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """One machine that an inventory asks for; all that a driver may need to make it.

    Sizes are bytes, `cpus` may be a fraction; None means the driver's default. `options` are the driver's own,
    already validated by its `Options` model and merged (the group's over the cluster's `drivers:`).
    """

    cluster: str
    name: str
    group: str
    number: int
    role: Role
    driver: str
    user: str = "root"
    port: int = 22
    image: str | None = None
    cpus: float | None = None
    memory: int | None = None
    disk: int | None = None
    authorized_keys: tuple[str, ...] = ()
    host_key: HostKeyPair | None = None
    host: HostEntry | None = None
    user_data: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that exists, as its driver sees it.

    `address` is where SSH reaches it from here (through `jump` if set), `private_address` where the other members do
    (None: the same). `host_keys` are the public host keys that the driver vouches for; empty when it cannot.
    `first_boot` names what sets the machine up when it boots for the first time ("cloud-init"), and whose end is waited
    for before anything is done there; None where nothing does.
    """

    cluster: str
    name: str
    group: str
    number: int
    driver: str
    state: MachineState
    address: str | None
    private_address: str | None = None
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    host_keys: tuple[str, ...] = ()
    identity_file: str | None = None
    provider_id: str = ""
    image: str | None = None
    first_boot: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def member_address(self) -> str | None:
        """Where the other members of the swarm reach this machine."""
        return self.private_address or self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a driver's `check` or `doctor` found wrong: what, and the command or setting that mends it."""

    summary: str
    fix: str = ""
    fatal: bool = True


class Driver(Protocol):
    """Makes and unmakes machines. Constructed as `Driver(settings)` with the inventory's `drivers.<name>` mapping.

    All calls may come from several threads, at most `parallel` creates or destroys at once.
    """

    name: ClassVar[str]
    #: how many creates or destroys it takes at once
    parallel: ClassVar[int]
    #: machines are adopted, not made: `discover` finds nothing, the state is the record, destroy leaves them running
    adopts: ClassVar[bool]
    #: pydantic model of the options that a group (or `drivers.<name>`) may set; unknown keys forbidden
    Options: ClassVar[type[BaseModel]]

    def check(self, specs: Sequence[MachineSpec]) -> Sequence[Finding]:
        """What would make creating these fail: credentials, quota, image, network. Changes nothing."""
        ...

    def discover(self, cluster: str) -> Sequence[Machine]:
        """Every machine of the cluster that exists, half-made ones too, found by ownership mark at the provider."""
        ...

    def create(self, spec: MachineSpec) -> Machine:
        """Make the machine, or return the one of this name that exists. Marked as the cluster's from the first call.

        Returns when the machine exists and starts, not when it answers. After a failure or a crash at any point,
        `discover` names what is there and `destroy` removes it, or a second `create` completes it.
        """
        ...

    def destroy(self, machine: Machine) -> None:
        """Remove the machine and all that create made for it; what the cluster shares goes with its last machine.

        Already gone is success.
        """
        ...


@runtime_checkable
class Power(Protocol):
    """Capability: machines can be stopped and started again."""

    def start(self, machine: Machine) -> Machine:
        """Start it; returns it with its (perhaps new) address. Running already is success."""
        ...

    def stop(self, machine: Machine) -> None:
        """Ask it to shut down in order, then stop it after the provider's deadline."""
        ...

    def kill(self, machine: Machine) -> None:
        """Stop it at once."""
        ...


@runtime_checkable
class Console(Protocol):
    """Capability: what a machine printed on its console."""

    def console(self, machine: Machine) -> str:
        """The console's text so far; empty when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state of a cluster's machines, kept by their driver under a name. `created` is ISO 8601, in UTC."""

    name: str
    created: str
    machines: tuple[str, ...]


@runtime_checkable
class Snapshots(Protocol):
    """Capability: keep the state of machines, memory and disks of all at one moment, and go back to it."""

    def snapshots(self, cluster: str) -> Sequence[Snapshot]:
        """Those that are there, the oldest first; `machines` are those that have their part of it."""
        ...

    def save_snapshot(self, cluster: str, name: str, machines: Sequence[Machine]) -> Snapshot:
        """Save the machines as they are at one moment. Fails, and leaves no part of it, where one cannot be saved."""
        ...

    def restore_snapshot(self, cluster: str, name: str, machines: Sequence[Machine]) -> None:
        """Put the machines back to that moment, running or stopped as they were then."""
        ...

    def remove_snapshot(self, cluster: str, name: str) -> None:
        """Forget it. Already gone is success."""
        ...


@runtime_checkable
class Doctor(Protocol):
    """Capability: explain a workplace on which this driver cannot work."""

    def doctor(self) -> Sequence[Finding]:
        """What is missing here, each with the command that mends it. Changes nothing."""
        ...
