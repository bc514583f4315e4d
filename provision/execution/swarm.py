"""Carrying out the steps that concern the swarm: init, join, roles, drain, leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from provision.driver import Role
from provision.errors import DeadlineError, ProvisionError
from provision.execution.machines import address_of
from provision.execution.scheduler import Outcome
from provision.execution.session import Session
from provision.execution.settle import NodeWatch, locked, wait_for
from provision.execution.world import World
from provision.inventory.cluster import Availability
from provision.planning.actions import Demote, Drain, InitSwarm, Join, Leave, RemoveNode, UpdateNode
from provision.planning.observation import CLUSTER_LABEL, MACHINE_LABEL
from provision.planning.wanted import MANAGED_LABEL, Wanted
from provision.swarm.errors import EngineError, EngineRefusedError
from provision.swarm.values import EngineInfo, Node, NodeSpec

Say = Callable[[str], None]

_PORT = 2377
#: how an engine refuses to join, or to begin, a swarm while it is in one
_IN_A_SWARM = ("already part of a swarm", "needs to be unlocked", "certificates have expired")
#: seconds in which an engine finds its swarm again, if it can
_PENDING_SECONDS = 40.0
#: seconds that a node's tasks may take to end; each may ask for minutes (`stop_grace_period`)
_DRAIN_SECONDS = 900.0


def init(world: World, wanted: Wanted, action: InitSwarm, say: Say) -> Outcome:
    """Begin a swarm, or find the one that a run before this began on the same machine."""
    machine = action.node.machine
    session = world.session(machine)
    node_id = _init_at_once(world, wanted, session)
    note = ""
    if node_id is None:
        info = session.engine.info()
        if info.is_locked:
            raise locked(machine)
        if info.is_member or info.local_node_state == "pending":
            _await_control(session, say)
            node_id, note = session.engine.info().node_id, "has its swarm already"
        else:
            node_id = _init(world, wanted, session)
    world.add_manager(machine)
    found = session.engine.swarm()
    world.learn(found.tokens)
    world.store.update(lambda state: replace(state, data={**state.data, "swarm": found.id}))
    _be(world, node_id, action.node)
    return Outcome(changed=not note, note=note)


def _init_at_once(world: World, wanted: Wanted, session: Session) -> str | None:
    """Begin without asking first. None where there is doubt, or the engine is in a swarm after all."""
    state = world.store.read()
    if not _seen_outside(session) or (state is not None and state.data.get("swarm")):
        return None
    try:
        return _init(world, wanted, session)
    except EngineRefusedError as refused:
        if not _in_a_swarm(refused):
            raise
        return None


def _seen_outside(session: Session) -> bool:
    """Whether the engine itself told the probe that it is in no swarm; one that was silent may be in any."""
    engine = session.known.engine
    return engine.running and engine.node.state == "inactive" and not engine.node.member


def _in_a_swarm(refused: EngineRefusedError) -> bool:
    return any(words in refused.message for words in _IN_A_SWARM)


def _init(world: World, wanted: Wanted, session: Session) -> str:
    machine = session.host.machine
    _refuse_second(world, wanted, machine)
    swarm = wanted.cluster.swarm
    return session.engine.swarm_init(
        advertise=_own_address(world, wanted, machine),
        data_path=swarm.data_path,
        data_path_port=swarm.data_path_port,
        pools=swarm.default_addr_pool,
        subnet_size=swarm.subnet_size,
        task_history=swarm.task_history,
        autolock=swarm.autolock,
    )


def _await_control(session: Session, say: Say) -> None:
    """Wait until a member of the swarm that was can speak for it: its managers come back one by one."""

    def missing() -> str:
        try:
            info = session.engine.info()
            if info.is_locked:
                raise locked(session.host.machine)
            if not info.control_available:
                return info.error or "it is no manager, or sees none"
            session.engine.nodes()
        except EngineError as not_yet:
            return not_yet.summary
        return ""

    wait_for(
        f"{session.host.machine}: finding the managers of its swarm",
        missing,
        say=say,
        hint="bring a majority of the managers back; provision status shows which are missing",
    )


def _refuse_second(world: World, wanted: Wanted, machine: str) -> None:
    """A swarm that the cluster had may live on where nobody has asked; a second one would tear it apart."""
    state = world.store.read()
    if state is None or not state.data.get("swarm"):
        return
    silent = [name for name in wanted.managers if name in world.machines and name not in world.sessions]
    if silent:
        raise ProvisionError(
            f"{machine}: no new swarm is begun while {', '.join(silent)} may still be in the one that was",
            hint="bring them back, or take them out for good: provision rm --force " + " ".join(silent),
        )


def join(world: World, wanted: Wanted, watch: NodeWatch, action: Join, say: Say) -> Outcome:
    """Join in the wanted role, wait until the managers see the node ready, and make it what it shall be."""
    machine, role = action.node.machine, action.node.role
    session = world.session(machine)
    info = _join_at_once(world, wanted, session, role)
    already = False
    if info is None:
        info = session.engine.info()
        if not info.is_member and info.local_node_state != "inactive":
            info = _clear_failed_join(world, session, say)
        already = info.is_member
        if already:
            _check_ours(world, machine, info)
        else:
            info = _join(world, wanted, session, role)
    node_id = info.node_id
    wait_for(
        f"{machine}: becoming a ready {role}",
        lambda: watch.missing(node_id),
        pause=0.03,
        say=say,
        hint="can the managers reach its port 7946, tcp and udp?",
    )
    _be(world, node_id, action.node, seen=watch.node(node_id))
    if role is Role.MANAGER:
        world.add_manager(machine)
    return Outcome(changed=not already, note="is a member already" if already else "")


def _join_at_once(world: World, wanted: Wanted, session: Session, role: Role) -> EngineInfo | None:
    """Join without asking first. None where there is doubt, or the engine is in a swarm after all."""
    if not _seen_outside(session):
        return None
    try:
        return _join(world, wanted, session, role)
    except EngineRefusedError as refused:
        if not _in_a_swarm(refused):
            raise
        return None


def _join(world: World, wanted: Wanted, session: Session, role: Role) -> EngineInfo:
    machine = session.host.machine
    return session.engine.swarm_join(
        _doors(world, wanted, machine),
        world.tokens().of(role),
        advertise=_own_address(world, wanted, machine),
        data_path=wanted.cluster.swarm.data_path,
    )


def _clear_failed_join(world: World, session: Session, say: Say) -> EngineInfo:
    """What the engine says once it is on its way no more. A join that failed holds the place of the next one: it is
    cleared away, but only where the managers never had a node of this machine. What was a member keeps what it has.
    """
    machine, engine = session.host.machine, session.engine

    def moving() -> str:
        info = engine.info()
        return info.error or "its node is pending" if info.local_node_state == "pending" else ""

    with suppress(DeadlineError):  # the node of a join that cannot succeed stays pending
        wait_for(f"{machine}: coming back to its swarm", moving, seconds=_PENDING_SECONDS, say=say)
    info = engine.info()
    if info.is_member or info.local_node_state == "inactive":
        return info
    if info.is_locked:
        raise locked(machine)
    nodes = world.manager().engine.nodes()
    if info.node_id or any(node.labels.get(MACHINE_LABEL) == machine for node in nodes):
        raise ProvisionError(
            f"{machine}: does not come back to the swarm",
            detail=f"last: {info.error or f'its node is {info.local_node_state}'}",
            hint=f"can it reach the managers? to have it join anew: provision rm --force {machine}, or on the machine\n"
            "      docker swarm leave --force, then provision up",
        )
    engine.leave(force=True)
    return engine.info()


def _own_address(world: World, wanted: Wanted, machine: str) -> str:
    address = address_of(world, wanted, machine)
    if address is None:
        raise ProvisionError(
            f"{machine}: no address to advertise to the swarm",
            detail=f"`swarm.advertise` is {wanted.cluster.swarm.advertise!r}, which selects none of its addresses",
            hint="name an interface that every machine has, or a network like 10.0.0.0/24",
        )
    return address


def _doors(world: World, wanted: Wanted, newcomer: str) -> list[str]:
    """Where a newcomer may knock: every manager that this run knows, the liveliest first."""
    addresses = [address_of(world, wanted, name) for name in world.managers if name != newcomer]
    return [_with_port(address) for address in addresses if address is not None]


def _with_port(address: str) -> str:
    return f"[{address}]:{_PORT}" if ":" in address else f"{address}:{_PORT}"


def _check_ours(world: World, machine: str, info: EngineInfo) -> None:
    if any(node.id == info.node_id for node in world.manager().engine.nodes()):
        return
    raise ProvisionError(
        f"{machine}: is a member of a swarm that is not this cluster's",
        detail=f"node {info.node_id}",
        hint="if it shall move: docker swarm leave on the machine first",
    )


def update(world: World, watch: NodeWatch, action: UpdateNode, say: Say) -> Outcome:
    """Give a member its role, availability and labels; a change of role is waited for."""
    node = next((n for n in world.manager().engine.nodes() if n.id == _node_id(world, action.machine)), None)
    if node is None:
        raise ProvisionError(f"{action.machine}: the managers do not list its node")
    if action.role is Role.WORKER:
        world.drop_manager(action.machine)  # it could not tell the end of it
    _be(world, node.id, action, seen=node)
    if node.role is not action.role:
        _await_role(watch, action.machine, node.id, action.role, say)
        if action.role is Role.MANAGER:
            _await_control(world.session(action.machine), say)
            world.add_manager(action.machine)
    return Outcome()


def _node_id(world: World, machine: str) -> str:
    return world.session(machine).known.node.node_id or world.session(machine).engine.info().node_id


def _be(world: World, node_id: str, target: UpdateNode, *, seen: Node | None = None) -> None:
    def change(old: NodeSpec) -> NodeSpec:
        labels = _labels(old.labels, target.labels)
        return replace(old, role=target.role, availability=target.availability, labels=labels)

    world.manager().engine.update_node(node_id, change, seen=seen)


def _labels(present: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """What is wanted over what is there, less what we set once and no longer want."""
    ours = {*present.get(MANAGED_LABEL, "").split(","), MANAGED_LABEL}
    kept = {key: value for key, value in present.items() if key not in ours or key in wanted}
    return {**kept, **wanted}


def demote(world: World, watch: NodeWatch, action: Demote, say: Say) -> Outcome:
    """Ask another manager; this one could not tell the end of it."""
    world.drop_manager(action.machine)
    world.manager().engine.update_node(action.node, lambda old: replace(old, role=Role.WORKER))
    _await_role(watch, action.machine, action.node, Role.WORKER, say)
    return Outcome()


def _await_role(watch: NodeWatch, machine: str, node_id: str, role: Role, say: Say) -> None:
    def missing() -> str:
        node = watch.node(node_id)
        if node is None:
            return "the managers do not list it"
        if role is Role.MANAGER:
            return "" if node.is_reachable_manager else f"its reachability is {node.reachability or 'not known'}"
        return "the managers still count it" if node.reachability else ""

    wait_for(f"{machine}: becoming a {role}", missing, say=say)


def drain(world: World, watch: NodeWatch, action: Drain, say: Say) -> Outcome:
    """Tasks move away; those that can run nowhere else end here too."""
    engine = world.manager().engine
    engine.update_node(action.node, lambda old: replace(old, availability=Availability.DRAIN))

    def missing() -> str:
        node = watch.node(action.node)
        if node is None or node.state == "down":
            return ""
        running = sum(1 for task in engine.tasks() if task.node_id == action.node and task.state == "running")
        return f"{running} of its tasks still run" if running else ""

    hint = "provision docker node ps shows its tasks"
    wait_for(f"{action.machine}: draining", missing, seconds=_DRAIN_SECONDS, say=say, hint=hint)
    return Outcome()


def leave(world: World, action: Leave, _say: Say) -> Outcome:
    """From its own side; a demoted manager needs no force, a node that cannot ask anybody does."""
    session = world.session(action.machine)
    session.changed()
    try:
        session.engine.leave()
    except EngineError:
        session.engine.leave(force=True)
    return Outcome()


def remove_node(world: World, watch: NodeWatch, action: RemoveNode, say: Say) -> Outcome:
    """A node that left is struck off at once: the managers would see it down only when its heartbeats fail to come.

    One whose host is gone is given the time to be seen down, then goes by force.
    """
    engine = world.manager().engine
    node = watch.node(action.node)
    if node is not None and node.labels.get(CLUSTER_LABEL) not in (None, world.cluster):
        raise ProvisionError(f"{action.machine}: its node belongs to another cluster, it stays")

    def missing() -> str:
        seen = watch.node(action.node)
        return "" if seen is None or seen.state == "down" else f"the managers see it {seen.state}"

    if not action.left:
        try:
            wait_for(f"{action.machine}: going down", missing, seconds=20.0, say=say)
        except DeadlineError:
            say("removed while the managers still see it")
    engine.remove_node(action.node, force=True)
    return Outcome()
