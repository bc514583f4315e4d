"""Looking at the world before planning: drivers, hosts, swarm. Changes nothing but our own known_hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from provision.driver import Machine, MachineSpec, MachineState
from provision.errors import HostKeyError, PlanError, ProvisionError, UnreachableError
from provision.execution.session import Session
from provision.execution.world import OPEN_AT_ONCE, World
from provision.hosts.facts import HostFacts
from provision.planning.hosts import node_address
from provision.planning.observation import CLUSTER_LABEL, Observation, SwarmFacts
from provision.stacks.record import read_records
from provision.state.model import ClusterState

#: seconds that a machine has to answer before the plan is made without its facts
PATIENCE = 4.0
_WIDTH = 64


def discover(world: World, state: ClusterState | None) -> dict[str, Machine]:
    """The machines that exist, by name: asked of every driver at once; for adopting drivers, the state's record."""
    found: dict[str, Machine] = {}
    names = sorted(world.drivers)
    with ThreadPoolExecutor(max_workers=max(len(names), 1)) as pool:
        for machines in pool.map(lambda name: world.drivers[name].discover(world.cluster), names):
            found.update({machine.name: machine for machine in machines})
    for record in state.machines.values() if state else ():
        if record.driver in world.drivers and world.adopts(record.driver):
            found[record.name] = record.machine(world.cluster, MachineState.RUNNING)
    return found


def observe(
    world: World,
    state: ClusterState | None,
    specs: Sequence[MachineSpec],
    *,
    machines: dict[str, Machine],
    images: bool = False,
    patience: float = PATIENCE,
    skip: Iterable[str] = (),
    tolerant: bool = False,
) -> Observation:
    """Reach every machine that exists and ask a manager about the swarm.

    Machines that do not answer within `patience` seconds are listed with the cause. Raises PlanError with every host
    key that is unknown or has changed; `tolerant`: such a host counts as one that does not answer. Machines in `skip`
    are not tried.
    """
    by_name = {spec.name: spec for spec in specs}
    for spec in specs:
        if world.adopts(spec.driver):  # a driver that adopts makes nothing: it says where the machine is
            machines[spec.name] = world.drivers[spec.driver].create(spec)
    world.machines.update(machines)
    running = [m for m in machines.values() if m.state in _ANSWERING and m.name not in set(skip)]
    # those that are yet to be made will be connected to as well
    world.crowded = max(len(running), len(specs)) > OPEN_AT_ONCE
    sessions, unreachable = _reach(world, running, by_name, images=images, patience=patience, tolerant=tolerant)
    facts = {name: session.facts for name, session in sessions.items()}
    swarm = _swarm(world, facts)
    if swarm is not None:
        facts |= _strangers(world, facts, swarm)
        seen = {name: node_address(swarm.node(name)) for name in machines if name not in facts}
        world.node_addresses = {name: address for name, address in seen.items() if address}
    return Observation(
        machines=machines,
        facts=facts,
        unreachable=unreachable,
        recorded=frozenset(state.machines if state else ()),
        swarm=swarm,
        swarm_id=str(state.data["swarm"]) if state and state.data.get("swarm") else None,
    )


def _strangers(world: World, facts: dict[str, HostFacts], swarm: SwarmFacts) -> dict[str, HostFacts]:
    """What those say when asked for more whose node the swarm does not have: which managers they believe in."""
    names = [name for name, host in facts.items() if host.node.node_id and host.node.node_id not in swarm.by_id]
    found: dict[str, HostFacts] = {}
    for name in names:
        with suppress(UnreachableError):
            found[name] = world.session(name).thoroughly()
    return found


_ANSWERING = (MachineState.RUNNING, MachineState.STARTING, MachineState.UNKNOWN)


def _reach(
    world: World,
    machines: Sequence[Machine],
    specs: dict[str, MachineSpec],
    *,
    images: bool,
    patience: float,
    tolerant: bool,
) -> tuple[dict[str, Session], dict[str, str]]:
    sessions: dict[str, Session] = {}
    causes: dict[str, str] = {}
    untrusted: list[ProvisionError] = []

    def reach(machine: Machine) -> None:
        try:
            spec = specs.get(machine.name)
            sessions[machine.name] = world.open(machine, seconds=patience, images=images, spec=spec)
            world.may_rest(machine.name)
        except HostKeyError as problem:
            untrusted.append(problem)
            causes[machine.name] = problem.summary
        except ProvisionError as problem:
            causes[machine.name] = problem.detail.removeprefix("last: ") or problem.summary

    if machines:
        with ThreadPoolExecutor(max_workers=min(len(machines), _WIDTH), thread_name_prefix="observe") as pool:
            _all(pool, reach, machines)
    if untrusted and not tolerant:
        raise PlanError(tuple(sorted(untrusted, key=lambda problem: problem.summary)))
    return {machine.name: sessions[machine.name] for machine in machines if machine.name in sessions}, causes


def _all(pool: ThreadPoolExecutor, call: Callable[[Machine], None], machines: Iterable[Machine]) -> None:
    for future in [pool.submit(call, machine) for machine in machines]:
        future.result()


def _swarm(world: World, facts: dict[str, HostFacts]) -> SwarmFacts | None:
    """The cluster's swarm, as the first of its managers that can speak for it tells."""
    for name, host in facts.items():
        if not (host.node.manager and host.node.state == "active"):
            continue
        try:
            engine = world.sessions[name].engine
            nodes, services = engine.nodes(), engine.services()
            records = read_records(engine.configs(), cluster=world.cluster)
        except ProvisionError:
            continue  # a manager without a quorum knows nothing; another one may
        own = next((node for node in nodes if node.id == host.node.node_id), None)
        marked = host.owner is not None and host.owner.get("cluster") == world.cluster
        if not marked and (own is None or own.labels.get(CLUSTER_LABEL) != world.cluster):
            continue
        swarm = SwarmFacts(
            cluster_id=host.node.cluster_id, seen_from=name, nodes=nodes, services=services, records=records
        )
        live = {node.id for node in nodes if node.is_reachable_manager}
        world.managers = [name, *(other for other in facts if other != name and facts[other].node.node_id in live)]
        return swarm
    return None
