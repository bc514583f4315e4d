"""Steps that take machines out of a cluster that goes on, so that the swarm never notices more than it must."""

from __future__ import annotations

from collections.abc import Iterable

from provision.driver import Machine, MachineState, Role
from provision.errors import PlanError, ProvisionError
from provision.hosts.changes.few import few
from provision.planning.actions import Demote, Destroy, Drain, Forget, Leave, Release, RemoveNode
from provision.planning.observation import CLUSTER_LABEL, MACHINE_LABEL, Observation
from provision.planning.plan import Draft, Step
from provision.planning.swarm import is_demoted
from provision.planning.wanted import Wanted
from provision.swarm.quorum import removal_is_safe
from provision.swarm.values import Node


def departing(wanted: Wanted, observed: Observation) -> tuple[str, ...]:
    """The machines that exist and that nobody wants."""
    return tuple(name for name in observed.machines if not wanted.wants(name))


def ghosts(wanted: Wanted, observed: Observation) -> tuple[Node, ...]:
    """Nodes of ours that no machine stands behind any more: destroyed by hand, or made anew since."""
    if observed.swarm is None:
        return ()
    alive = {
        node.id for name in observed.machines if (node := observed.node_of(name)) and _stands(name, node, observed)
    }
    return tuple(
        node
        for node in observed.swarm.nodes
        if node.labels.get(CLUSTER_LABEL) == wanted.cluster.name and node.state == "down" and node.id not in alive
    )


def _stands(name: str, node: Node, observed: Observation) -> bool:
    """Whether this machine is this node: by what it says itself, or, while it does not answer, by our label."""
    facts = observed.facts.get(name)
    # an engine that is stopped names no node, and will be the same one when it runs again
    return facts is None or not facts.engine.running or facts.node.node_id == node.id


def plan_departures(
    draft: Draft,
    wanted: Wanted,
    observed: Observation,
    names: Iterable[str],
    lost: Iterable[Node],
    *,
    cause: str,
    force: bool = False,
) -> None:
    """demote, drain, leave, remove node, destroy; managers one at a time, and only while the quorum holds.

    `lost` are nodes that no machine stands behind; they are struck off. Raises PlanError where the quorum would not
    hold, unless `force`. A manager that leaves needs those that come to be there.
    """
    # managers that do not answer go before those that do: the quorum is safest so
    names = sorted(names, key=lambda name: (node := observed.node_of(name)) is not None and node.is_reachable_manager)
    departing_nodes = [node for name in names if (node := observed.node_of(name)) is not None]
    departing_ids = {node.id for node in departing_nodes}
    lost = [node for node in lost if node.id not in departing_ids]
    newcomers = _new_managers(draft, wanted, observed)
    if not force:
        _guard_quorum(observed, [*departing_nodes, *lost, *_demoted(wanted, observed)], arriving=len(newcomers))
    arrivals = draft.ids("join as manager", wanted.names) | draft.ids("join as worker", wanted.names)
    turn = arrivals | draft.ids("update node", wanted.names)
    for node in lost:
        step = _strike(draft, node, turn)
        if node.role is Role.MANAGER:
            turn |= {step}
    for name in names:
        last = _depart(draft, wanted, observed.machines[name], observed, newcomers, turn, cause, force=force)
        if last:
            turn |= last


def plan_forgetting(draft: Draft, observed: Observation, names: Iterable[str]) -> None:
    """Drop the records of those machines that are gone already, so that their numbers are free."""
    for name in names:
        if name in observed.recorded and name not in observed.machines:
            draft.add(Step(subject=name, verb="forget machine", cause="does not exist any more", action=Forget(name)))


def _new_managers(draft: Draft, wanted: Wanted, observed: Observation) -> frozenset[str]:
    """The steps that add to the number of managers. One that is merely silent now is in that number already."""
    nodes = {name: observed.node_of(name) for name in wanted.managers}
    fresh = [name for name, node in nodes.items() if node is None or not node.reachability]
    return draft.ids("join as manager", fresh) | draft.ids("update node", fresh)


def _demoted(wanted: Wanted, observed: Observation) -> list[Node]:
    nodes = ((spec, observed.node_of(spec.name)) for spec in wanted if wanted.touches(spec.name))
    return [node for spec, node in nodes if node is not None and is_demoted(spec, node)]


def silent_swarm(observed: Observation) -> bool:
    """Whether the cluster has a swarm whose managers do not answer: nobody can leave it in order then."""
    return observed.swarm is None and observed.swarm_id is not None


def guard_silence(observed: Observation, names: Iterable[str]) -> None:
    """Raise PlanError where machines shall leave a swarm that nobody can ask."""
    names = tuple(names)
    if names and silent_swarm(observed):
        problem = ProvisionError(
            f"{', '.join(names)}: cannot leave the swarm, because no manager answers",
            hint="bring a majority of the managers back: provision up starts those that are stopped\n"
            "      what is gone for good goes by force: provision rm --force " + " ".join(names),
        )
        raise PlanError((problem,))


def _guard_quorum(observed: Observation, nodes: list[Node], *, arriving: int) -> None:
    leaving = [node for node in nodes if node.reachability]
    if observed.swarm is None or not leaving:
        return
    # the swarm takes some seconds to notice what the driver knows at once
    stopped = {
        node.id
        for name, machine in observed.machines.items()
        if machine.state is MachineState.STOPPED and (node := observed.node_of(name)) is not None
    }
    up = {node.id for node in observed.swarm.managers if node.is_reachable_manager} - stopped
    managers = len(observed.swarm.managers) + arriving
    reachable = len(up) + arriving
    silent_leaving = sum(1 for node in leaving if node.id not in up)
    if removal_is_safe(managers, reachable, leaving=len(leaving), leaving_reachable=len(leaving) - silent_leaving):
        return
    problem = ProvisionError(
        f"removing {', '.join(node.hostname for node in leaving)} would break the swarm's quorum",
        detail=f"{reachable} of {managers} managers are reachable, and a majority of those that stay must be",
        hint="add managers first (provision add-manager), or bring back those that do not answer",
    )
    raise PlanError((problem,))


def _strike(draft: Draft, node: Node, turn: frozenset[str]) -> str:
    name = node.labels.get(MACHINE_LABEL, node.hostname)
    subject = f"{name} ({node.id[:8]})"
    needs: frozenset[str] = frozenset()
    if node.role is Role.MANAGER:
        step = Step(
            subject=subject,
            verb="demote node",
            cause="its machine is gone",
            action=Demote(name, node.id),
            after=turn,
        )
        needs = frozenset({draft.add(step)})
    return draft.add(
        Step(
            subject=subject,
            verb="remove node",
            cause="its machine is gone",
            action=RemoveNode(name, node.id),
            needs=needs,
            after=turn,
        )
    )


def _depart(
    draft: Draft,
    wanted: Wanted,
    machine: Machine,
    observed: Observation,
    newcomers: frozenset[str],
    turn: frozenset[str],
    cause: str,
    *,
    force: bool,
) -> frozenset[str]:
    """The steps for one machine; returns those that the next one must wait for."""
    node, name = observed.node_of(machine.name), machine.name
    chain = newcomers if node is not None and node.role is Role.MANAGER else frozenset()
    if node is not None:
        if node.role is Role.MANAGER:
            chain = _link(draft, chain, turn, name, "demote node", cause, Demote(name, node.id))
        if node.state == "ready":
            chain = _link(draft, chain, turn, name, "drain node", cause, Drain(name, node.id))
        leaves = _can_leave(wanted, machine, observed)
        if leaves:
            chain = _link(draft, chain, turn, name, "leave swarm", cause, Leave(name))
        chain = _link(draft, chain, turn, name, "remove node", cause, RemoveNode(name, node.id, left=leaves))
    last = Release(machine, False, force) if machine.driver in wanted.adopting else Destroy(machine)
    verb = "release machine" if isinstance(last, Release) else "destroy machine"
    draft.add(Step(subject=name, verb=verb, cause=cause, action=last, needs=chain, after=turn, destroys=True))
    is_manager = node is not None and node.role is Role.MANAGER
    return chain if is_manager else frozenset()


def _can_leave(wanted: Wanted, machine: Machine, observed: Observation) -> bool:
    """Whether it can take leave itself. One that is destroyed need not, if its engine is down; a host that stays must,
    or it would be in a swarm that does not know it any more."""
    facts = observed.facts.get(machine.name)
    return facts is not None and (facts.engine.running or machine.driver in wanted.adopting)


def _link(
    draft: Draft,
    chain: frozenset[str],
    turn: frozenset[str],
    name: str,
    verb: str,
    cause: str,
    action: Demote | Drain | Leave | RemoveNode,
) -> frozenset[str]:
    step = Step(subject=name, verb=verb, cause=cause, action=action, needs=chain, after=turn)
    return frozenset({draft.add(step)})


def close_ports(draft: Draft, wanted: Wanted, observed: Observation, names: tuple[str, ...]) -> None:
    """Those that stay forget the addresses of those that left."""
    if not names or not wanted.cluster.firewall:
        return
    gone = draft.ids("remove node", names) | draft.ids("destroy machine", names) | draft.ids("release machine", names)
    cause = f"members have left: {few(names)}"
    for spec in wanted:
        configured = draft.ids("configure", [spec.name])
        if spec.name not in observed.facts and not configured:
            continue
        # what is configured in this run learnt of the leavers, for as long as they are there
        action = wanted.configure(spec, wanted.names, ports_only=True)
        draft.add(
            Step(
                subject=spec.name,
                verb="close ports",
                cause=cause,
                action=action,
                # one that could not leave may still be a member: it is shut out when it has left
                needs=gone if spec.name in observed.facts else gone | configured,
                after=configured if spec.name in observed.facts else frozenset(),
            )
        )
