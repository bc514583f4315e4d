"""Looking at a cluster without a lock and without changing anything: what ls, status and inspect show."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from queue import SimpleQueue

from provision.driver import Machine, MachineState
from provision.errors import ProvisionError
from provision.execution.observe import PATIENCE, discover, observe
from provision.execution.world import World
from provision.hosts.facts import HostFacts
from provision.inventory.cluster import Cluster, SshSettings
from provision.operations.opened import opened, settings_of
from provision.operations.place import Place
from provision.planning.observation import Observation
from provision.state.model import ClusterState
from provision.state.store import Store
from provision.swarm.values import Node, Service

_SILENT = (MachineState.STOPPING, MachineState.STOPPED, MachineState.PAUSED, MachineState.ERROR)


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

    Without `everywhere` only managers are called, all at once, and the first that can speak for the swarm is heard.
    """
    state = Store(place.paths(name)).read()
    ssh = state.ssh if state else cluster.ssh if cluster else SshSettings()
    with opened(place, name, settings=settings_of(cluster, state), ssh=ssh) as world:
        machines = discover(world, state)
        if everywhere:
            observed = observe(world, state, (), machines=machines, tolerant=True)
        else:
            observed = _from_a_manager(world, state, machines)
    return _view(name, state, observed)


def _from_a_manager(world: World, state: ClusterState | None, machines: dict[str, Machine]) -> Observation:
    """What the first manager tells that can; without one, what is known of each that was called."""
    facts: dict[str, HostFacts] = {}
    unreachable: dict[str, str] = {}
    with closing(_called(world, _managers(machines, state))) as answers:
        for name, cause in answers:
            if cause:
                unreachable[name] = cause
                continue
            others = machines.keys() - {name}
            observed = observe(world, state, (), machines=machines, skip=others, tolerant=True)
            if observed.swarm is not None:
                return observed
            facts |= observed.facts
            unreachable |= observed.unreachable
    return Observation(machines=machines, facts=facts, unreachable=unreachable)


def _called(world: World, machines: list[Machine]) -> Generator[tuple[str, str], None, None]:
    """Call all of them at once; yields each as it answers, or with the cause why it does not.

    Who stops listening waits for none of the others: each is left to its thread, which hangs up when it gets through.
    """
    answers: SimpleQueue[tuple[str, str]] = SimpleQueue()

    def call(machine: Machine) -> None:
        cause = "it could not be called"
        try:
            session = world.open(machine, seconds=PATIENCE)
            cause = ""
        except ProvisionError as problem:
            cause = problem.detail.removeprefix("last: ") or problem.summary
        finally:
            answers.put((machine.name, cause))
        if not cause and world.stop.is_set():
            session.close()

    for machine in machines:
        threading.Thread(target=call, args=(machine,), name=f"look {machine.name}", daemon=True).start()
    if machines:  # it takes longer than a login, and is wanted as soon as the first has answered
        threading.Thread(target=import_module, args=("provision.swarm.engine",), daemon=True).start()
    try:
        for _ in machines:
            yield answers.get()
    finally:
        world.stop.set()


def _managers(machines: Mapping[str, Machine], state: ClusterState | None) -> list[Machine]:
    """The managers that may answer, by what the state says."""
    known = state.machines if state else {}
    return [
        machine
        for name, machine in machines.items()
        if name in known and known[name].role == "manager" and machine.state not in _SILENT
    ]


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
