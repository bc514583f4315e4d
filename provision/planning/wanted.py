"""What is wanted, complete: the inventory with its machines numbered and all that it refers to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from provision.driver import MachineSpec, Role
from provision.inventory.cluster import Cluster, Group, HostnamePolicy, Stack
from provision.inventory.specs import availability_for, engine_for, labels_for
from provision.planning.actions import Configure, UpdateNode
from provision.planning.observation import CLUSTER_LABEL, MACHINE_LABEL

if TYPE_CHECKING:
    from provision.stacks.bundle import Bundle

#: names the node labels that we set, so that we take away no others
MANAGED_LABEL = "provision.labels"


@dataclass(frozen=True, kw_only=True)  # no slots: names and indexes are made at their first use
class Wanted:
    """The target. `only` restricts a run to these machines: the others merely learn of new and lost members.

    `archives` maps each image archive to the ids that any engine may give its images. `adopting` names the drivers
    whose machines exist before us.
    """

    cluster: Cluster
    specs: tuple[MachineSpec, ...]
    authorized_keys: tuple[str, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    archives: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    adopting: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    wait: bool = True

    def __iter__(self) -> Iterator[MachineSpec]:
        return iter(self.specs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All machines, in the inventory's order."""
        return tuple(spec.name for spec in self.specs)

    @cached_property
    def managers(self) -> tuple[str, ...]:
        """The machines that shall be managers."""
        return tuple(spec.name for spec in self.specs if spec.role is Role.MANAGER)

    def wants(self, machine: str) -> bool:
        """Whether there shall be a machine of this name."""
        return machine in self._specs

    def touches(self, machine: str) -> bool:
        """Whether this run may change more than the ports of a machine."""
        return self.only is None or machine in self.only

    def stack(self, name: str) -> Stack:
        """The inventory's stack of this name."""
        return self._stacks[name]

    def spec(self, machine: str) -> MachineSpec:
        """What is wanted of a machine."""
        return self._specs[machine]

    def group(self, spec: MachineSpec) -> Group:
        """The group that a machine belongs to."""
        return self._groups[spec.group]

    def configure(self, spec: MachineSpec, members: tuple[str, ...], *, ports_only: bool = False) -> Configure:
        """The action that makes the host of a machine what it shall be."""
        group = self.group(spec)
        return Configure(
            machine=spec.name,
            manager=spec.role is Role.MANAGER,
            members=members,
            engine=engine_for(group, spec.number),
            ports_only=ports_only or not self.touches(spec.name),
            hostname=spec.name if group.hostname is HostnamePolicy.SET else None,
        )

    def node(self, spec: MachineSpec) -> UpdateNode:
        """What the node of a machine shall be; its labels include ours of ownership."""
        group = self.group(spec)
        labels = dict(labels_for(group, spec.number))
        return UpdateNode(
            machine=spec.name,
            role=spec.role,
            availability=availability_for(group, spec.number),
            labels={
                **labels,
                CLUSTER_LABEL: self.cluster.name,
                MACHINE_LABEL: spec.name,
                **({MANAGED_LABEL: ",".join(sorted(labels))} if labels else {}),
            },
        )

    @cached_property
    def _specs(self) -> Mapping[str, MachineSpec]:
        return {spec.name: spec for spec in self.specs}

    @cached_property
    def _groups(self) -> Mapping[str, Group]:
        return {group.name: group for group in self.cluster.groups}

    @cached_property
    def _stacks(self) -> Mapping[str, Stack]:
        return {stack.name: stack for stack in self.cluster.stacks}
