"""Steps that form the swarm: init, joins, and what members shall be."""

from __future__ import annotations

from provision.driver import MachineSpec, Role
from provision.planning.actions import InitSwarm, Join, Leave, UpdateNode
from provision.planning.observation import Observation
from provision.planning.plan import Draft, Step
from provision.planning.wanted import MANAGED_LABEL, Wanted
from provision.swarm.values import Node


def plan_swarm(draft: Draft, wanted: Wanted, observed: Observation) -> None:
    """init where there is no swarm, join what is no member, update members that differ."""
    first = None if observed.swarm else _first_manager(wanted, observed)
    if first is not None:
        draft.add(
            Step(
                subject=first.name,
                verb="init swarm",
                cause=_beginning(wanted, observed),
                action=InitSwarm(wanted.node(first)),
                needs=_ready(draft, first.name),
            )
        )
    # the managers, those that leave too, must let a newcomer in before it knocks
    leaving = (name for name in observed.machines if not wanted.wants(name))
    doors = draft.ids("configure", wanted.managers) | draft.ids("open ports", {*wanted.managers, *leaving})
    demoted: list[tuple[MachineSpec, Node]] = []
    for spec in wanted:
        node = observed.node_of(spec.name)
        if spec is first or not wanted.touches(spec.name):
            continue
        if observed.swarm is None or not _is_member(spec, node, observed):
            _leave(draft, spec, observed)
            _join(draft, wanted, observed, spec, first, doors)
        elif node is not None and is_demoted(spec, node):
            demoted.append((spec, node))
        else:
            _update(draft, wanted, spec, node)
    for spec, node in demoted:  # the last, so that they find those who take their place
        _update(draft, wanted, spec, node)


def _beginning(wanted: Wanted, observed: Observation) -> str:
    if observed.swarm_id or any(_claims(spec, observed) for spec in wanted):
        return "the swarm that was has to be found again"
    return "there is no swarm"


def _first_manager(wanted: Wanted, observed: Observation) -> MachineSpec | None:
    """Who begins: a manager that answers or is yet to be made.

    Where the cluster had a swarm before, rather one that exists and does not answer, or is stopped: it may still be in
    it, and a second swarm would tear the cluster apart.
    """
    managers = [spec for spec in wanted if spec.role is Role.MANAGER]
    silent = [spec for spec in managers if spec.name in observed.machines and spec.name not in observed.facts]
    rest = [spec for spec in managers if spec not in silent]
    candidates = [*silent, *rest] if observed.swarm_id else [*rest, *silent]
    return next(iter(candidates), None)


def _is_member(spec: MachineSpec, node: Node | None, observed: Observation) -> bool:
    facts = observed.facts.get(spec.name)
    if facts is not None and not facts.engine.running and node is not None:
        return True  # an engine that is stopped says nothing, and will be the same node when it runs again
    if facts is not None:
        return bool(facts.node.node_id) and not observed.struck_off(spec.name)
    return node is not None and node.state == "ready" and spec.name in observed.machines


def _claims(spec: MachineSpec, observed: Observation) -> bool:
    """Whether the host says to be a member while no manager can be asked."""
    facts = observed.facts.get(spec.name)
    return observed.swarm is None and facts is not None and bool(facts.node.node_id)


def _ready(draft: Draft, machine: str) -> frozenset[str]:
    return draft.ids("configure", [machine]) | draft.ids("reach", [machine])


def _leave(draft: Draft, spec: MachineSpec, observed: Observation) -> None:
    """A host that still believes to be a node that was removed must forget it, or its engine refuses to join."""
    if observed.struck_off(spec.name):
        cause = "its node was removed from the swarm"
        needs = _ready(draft, spec.name)
        draft.add(Step(subject=spec.name, verb="leave swarm", cause=cause, action=Leave(spec.name), needs=needs))


def _join(
    draft: Draft,
    wanted: Wanted,
    observed: Observation,
    spec: MachineSpec,
    first: MachineSpec | None,
    doors: frozenset[str],
) -> None:
    needs = _ready(draft, spec.name) | draft.ids("leave swarm", [spec.name])
    if first is not None:
        needs |= draft.ids("init swarm", [first.name])
    after = doors
    if spec.role is Role.MANAGER:  # the leader orders those who join; a change of role is asked for by us
        after |= draft.ids("update node", wanted.managers)
    draft.add(
        Step(
            subject=spec.name,
            verb=f"join as {spec.role}",
            cause="is no member of the swarm" if not _claims(spec, observed) else "its swarm has to be found again",
            action=Join(wanted.node(spec)),
            needs=needs,
            after=after,
        )
    )


def _update(draft: Draft, wanted: Wanted, spec: MachineSpec, node: Node | None) -> None:
    target = wanted.node(spec)
    causes = node_differences(target, node)
    if not causes:
        return
    after = draft.ids("configure", [spec.name])
    needs: frozenset[str] = frozenset()
    managers = draft.ids("join as manager", wanted.managers) | draft.ids("update node", wanted.managers)
    if node is not None and is_demoted(spec, node):
        needs, after = managers, after | draft.ids("update node", wanted.names) - managers
    elif node is not None and node.role is not target.role:  # one change of the Raft membership at a time
        after |= managers
    step = Step(subject=spec.name, verb="update node", cause="; ".join(causes), action=target, needs=needs, after=after)
    draft.add(step)


def is_demoted(spec: MachineSpec, node: Node) -> bool:
    """Whether a manager shall become a worker, because its group's role has changed."""
    return node.role is Role.MANAGER and spec.role is Role.WORKER


def node_differences(target: UpdateNode, node: Node | None) -> list[str]:
    """Why a node is not what it shall be; empty when it is. Labels that we never set do not count."""
    if node is None:
        return ["its node is not known"]
    causes = []
    if node.role is not target.role:
        causes.append(f"role is {node.role}, not {target.role}")
    if node.availability is not target.availability:
        causes.append(f"availability is {node.availability}, not {target.availability}")
    for key, value in target.labels.items():
        if key not in node.labels:
            causes.append(f"label {key}: {value} is missing")
        elif node.labels[key] != value and key != MANAGED_LABEL:
            causes.append(f"label {key} is {node.labels[key]}, not {value}")
    causes += [f"label {key} is not wanted" for key in unwanted_labels(target, node)]
    return causes


def unwanted_labels(target: UpdateNode, node: Node) -> list[str]:
    """The labels that we set once and that the inventory no longer names."""
    ours = [key for key in node.labels.get(MANAGED_LABEL, "").split(",") if key]
    stale = [key for key in ours if key in node.labels and key not in target.labels]
    if MANAGED_LABEL in node.labels and MANAGED_LABEL not in target.labels:
        stale.append(MANAGED_LABEL)
    return stale
