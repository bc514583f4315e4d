"""What state.json says, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from provision.driver import Machine, MachineState, Role
from provision.inventory.cluster import SshSettings


class MachineStatus(StrEnum):
    """How far we got with a machine: `creating` is written before its driver is asked, `created` after."""

    CREATING = "creating"
    CREATED = "created"
    DESTROYING = "destroying"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """A machine as it is remembered: what `provision.driver.Machine` has, its role, and how far we got.

    `unknown` holds keys that a newer provision wrote; they are written back as they are.
    """

    name: str
    driver: str
    group: str
    number: int
    role: Role
    status: MachineStatus
    address: str | None = None
    private_address: str | None = None
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    provider_id: str = ""
    image: str | None = None
    host_keys: tuple[str, ...] = ()
    identity_file: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, machine: Machine, *, role: Role, status: MachineStatus = MachineStatus.CREATED) -> MachineRecord:
        """Remember what a driver said of a machine."""
        return cls(
            name=machine.name,
            driver=machine.driver,
            group=machine.group,
            number=machine.number,
            role=role,
            status=status,
            address=machine.address,
            private_address=machine.private_address,
            user=machine.user,
            port=machine.port,
            jump=machine.jump,
            provider_id=machine.provider_id,
            image=machine.image,
            host_keys=machine.host_keys,
            identity_file=machine.identity_file,
            details=dict(machine.details),
        )

    def machine(self, cluster: str, state: MachineState = MachineState.UNKNOWN) -> Machine:
        """The machine as its driver would name it; its power state is not remembered."""
        return Machine(
            cluster=cluster,
            name=self.name,
            group=self.group,
            number=self.number,
            driver=self.driver,
            state=state,
            address=self.address,
            private_address=self.private_address,
            user=self.user,
            port=self.port,
            jump=self.jump,
            host_keys=self.host_keys,
            identity_file=self.identity_file,
            provider_id=self.provider_id,
            image=self.image,
            details=dict(self.details),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """All that state.json says of a cluster.

    `serial` grows by one with each write; `lineage` is made once and tells two clusters of one name apart.
    `drivers` holds the settings that each driver was last constructed with, so that `down` works without the
    inventory; `ssh` how its hosts are reached; `data` small JSON values that a part keeps under its own name.
    No secret belongs in any of them. `unknown` is as in MachineRecord.
    """

    cluster: str
    lineage: str
    created: datetime
    serial: int = 0
    inventory: str | None = None
    machines: Mapping[str, MachineRecord] = field(default_factory=dict)
    drivers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ssh: SshSettings = field(default_factory=SshSettings)
    data: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def put(self, *records: MachineRecord) -> ClusterState:
        """The same with these machines added, or replaced where the name is known."""
        return replace(self, machines={**self.machines, **{record.name: record for record in records}})

    def drop(self, *names: str) -> ClusterState:
        """The same without the machines of these names; an unknown name is no error."""
        return replace(self, machines={name: r for name, r in self.machines.items() if name not in names})

    def mark(self, name: str, status: MachineStatus) -> ClusterState:
        """The same with that machine's status set; raises KeyError for a machine that is not recorded."""
        return self.put(replace(self.machines[name], status=status))
