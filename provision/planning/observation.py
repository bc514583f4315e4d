"""What was observed, as values: machines at their drivers, facts of hosts, and the swarm as a manager sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from provision.driver import Machine
from provision.hosts.facts import HostFacts
from provision.stacks.record import CLUSTER_LABEL, Record
from provision.swarm.values import Node, Service

__all__ = ["CLUSTER_LABEL", "MACHINE_LABEL", "Observation", "SwarmFacts"]

#: the node label that says which machine a node is, beside CLUSTER_LABEL, which says whose
MACHINE_LABEL = "provision.machine"


@dataclass(frozen=True, kw_only=True)  # no slots: the indexes are made at their first use
class SwarmFacts:
    """The swarm, as one of its managers (the machine `seen_from`) tells it."""

    cluster_id: str
    seen_from: str
    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    records: Mapping[str, Record] = field(default_factory=dict)

    def node(self, machine: str, node_id: str = "") -> Node | None:
        """The node that a machine is: by the id that its own engine told, else by our label, a live one first."""
        return self.by_id.get(node_id) or self._by_label.get(machine)

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """All nodes by their id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def _by_label(self) -> Mapping[str, Node]:
        found: dict[str, Node] = {}
        for node in sorted(self.nodes, key=lambda node: node.state != "ready"):
            found.setdefault(node.labels.get(MACHINE_LABEL, ""), node)
        return found

    @cached_property
    def managers(self) -> tuple[Node, ...]:
        """All managers, reachable or not."""
        return tuple(node for node in self.nodes if node.reachability)

    @cached_property
    def manager_addresses(self) -> frozenset[str]:
        """Where the managers are reached by other nodes (`ip:port`)."""
        return frozenset(node.manager_address for node in self.managers)

    @property
    def reachable_managers(self) -> int:
        """How many managers count towards the quorum now."""
        return sum(1 for node in self.nodes if node.is_reachable_manager)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that planning may know of the world.

    `machines` exist (at a driver, or by the state for adopted ones); `facts` are of those that answered,
    `unreachable` says why another did not. `swarm` None: no manager of ours answered. `swarm_id` is the id of the
    swarm that this cluster had when it was last seen, from the state.
    """

    machines: Mapping[str, Machine] = field(default_factory=dict)
    facts: Mapping[str, HostFacts] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    recorded: frozenset[str] = frozenset()
    swarm: SwarmFacts | None = None
    swarm_id: str | None = None

    def struck_off(self, machine: str) -> bool:
        """Whether the managers have removed the node of a machine that still believes to be it: it bears our mark,
        and all the managers that it knows are this swarm's."""
        facts = self.facts.get(machine)
        if self.swarm is None or facts is None or not facts.node.node_id or not facts.node.managers:
            return False
        if facts.node.node_id in self.swarm.by_id:
            return False
        marked = facts.owner is not None and facts.owner.get("machine") == machine
        return marked and facts.node.managers <= self.swarm.manager_addresses

    def node_of(self, machine: str) -> Node | None:
        """The node that a machine is in the observed swarm, None when it is none."""
        if self.swarm is None:
            return None
        facts = self.facts.get(machine)
        return self.swarm.node(machine, facts.node.node_id if facts else "")
