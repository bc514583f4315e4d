"""Looking at a cluster without a lock and without changing anything: what ls, status and inspect show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from provision.driver import Machine
from provision.execution.observe import discover, observe
from provision.hosts.facts import HostFacts
from provision.inventory.cluster import Cluster, SshSettings
from provision.operations.opened import opened, settings_of
from provision.operations.place import Place
from provision.planning.observation import Observation
from provision.state.model import ClusterState
from provision.state.store import Store
from provision.swarm.values import Node, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """One machine, from all sides. `node` None: no member, or no manager answered. `cause`: why it did not answer."""

    name: str
    cluster: str
    group: str
    role: str
    driver: str
    state: str
    address: str | None
    user: str | None
    port: int | None
    image: str | None
    provider_id: str
    node: Node | None = None
    facts: HostFacts | None = None
    cause: str = ""
    #: half made, or half destroyed
    unfinished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A cluster as it is. `seen_from` is the manager that told of the swarm; None when none answered."""

    name: str
    inventory: str | None
    machines: tuple[MachineView, ...]
    nodes: tuple[Node, ...] = ()
    services: tuple[Service, ...] = ()
    seen_from: str | None = None


def look(place: Place, name: str, cluster: Cluster | None, *, everywhere: bool = False) -> View:
    """Ask the drivers which machines exist, and managers about the swarm; `everywhere`: every host too.

    Without `everywhere` as few hosts as needed are asked: managers, one after another, until one answers.
    """
    state = Store(place.paths(name)).read()
    ssh = state.ssh if state else cluster.ssh if cluster else SshSettings()
    with opened(place, name, settings=settings_of(cluster, state), ssh=ssh) as world:
        machines = discover(world, state)
        if everywhere:
            observed = observe(world, state, (), machines=machines, tolerant=True)
        else:
            observed = Observation(machines=machines)
            for manager in _managers(machines, state):
                others = [other for other in machines if other != manager]
                observed = observe(world, state, (), machines=machines, skip=others, tolerant=True)
                if observed.swarm is not None:
                    break
    return _view(name, state, observed)


def _managers(machines: Iterable[str], state: ClusterState | None) -> list[str]:
    known = state.machines if state else {}
    return [name for name in machines if name in known and known[name].role == "manager"]


def _view(name: str, state: ClusterState | None, observed: Observation) -> View:
    swarm = observed.swarm
    return View(
        name=name,
        inventory=state.inventory if state else None,
        machines=tuple(_machine(machine, state, observed) for machine in _ordered(observed, state)),
        nodes=swarm.nodes if swarm else (),
        services=swarm.services if swarm else (),
        seen_from=swarm.seen_from if swarm else None,
    )


def _ordered(observed: Observation, state: ClusterState | None) -> list[Machine]:
    """What exists, and what the state alone knows of: a run was cut short there."""
    found = dict(observed.machines)
    for record in state.machines.values() if state else ():
        found.setdefault(record.name, record.machine(state.cluster if state else ""))
    return sorted(found.values(), key=lambda machine: (machine.group, machine.number, machine.name))


def _machine(machine: Machine, state: ClusterState | None, observed: Observation) -> MachineView:
    record = state.machines.get(machine.name) if state else None
    return MachineView(
        name=machine.name,
        cluster=state.cluster if state else machine.cluster,
        group=machine.group,
        role=str(record.role) if record else "",
        driver=machine.driver,
        state=str(machine.state) if machine.name in observed.machines else "Missing",
        address=machine.address,
        user=machine.user,
        port=machine.port,
        image=machine.image,
        provider_id=machine.provider_id,
        node=observed.node_of(machine.name),
        facts=observed.facts.get(machine.name),
        cause=observed.unreachable.get(machine.name, ""),
        unfinished=record is None or record.status != "created",
    )
