"""Steps that bring images to the nodes and stacks to the swarm."""

from __future__ import annotations

from pathlib import Path

from provision.planning.actions import DeployStack, LoadImages, RemoveStack
from provision.planning.observation import Observation
from provision.planning.plan import Draft, Step, count
from provision.planning.wanted import Wanted
from provision.stacks.record import drift


def plan_images(draft: Draft, wanted: Wanted, observed: Observation) -> None:
    """Load each stack's archives on every machine that lacks them."""
    for spec in wanted:
        if not wanted.touches(spec.name):
            continue
        missing = _missing(wanted, observed, spec.name)
        if not missing:
            continue
        names = ", ".join(path.name for path in missing)
        needs = draft.ids("configure", [spec.name]) | draft.ids("reach", [spec.name])
        draft.add(
            Step(
                subject=spec.name,
                verb="load images",
                cause=f"{count(len(missing), 'image archive')} not loaded: {names}",
                action=LoadImages(spec.name, missing),
                needs=needs,
            )
        )


def _missing(wanted: Wanted, observed: Observation, machine: str) -> tuple[Path, ...]:
    facts = observed.facts.get(machine)
    present = facts.engine.images if facts else frozenset()
    return tuple(path for path, ids in wanted.archives.items() if not ids & present)


def plan_stacks(draft: Draft, wanted: Wanted, observed: Observation) -> None:
    """Deploy what is missing or differs; remove stacks of ours that the inventory no longer names."""
    if wanted.only is not None:
        return
    members = draft.ids("join as manager", wanted.names) | draft.ids("join as worker", wanted.names)
    members |= draft.ids("update node", wanted.names) | draft.ids("load images", wanted.names)
    # an engine that restarts takes no tasks
    members |= draft.ids("configure", wanted.names)
    begun = draft.ids("init swarm", wanted.names)
    # first what goes: it may hold a port that another stack wants
    members |= _remove(draft, wanted, observed)
    for bundle in wanted.bundles:
        cause = _cause(wanted, observed, bundle.stack)
        if cause is not None:
            after = members if wanted.wait else frozenset()
            after |= draft.ids("deploy stack", (other.stack for other in wanted.bundles))
            draft.add(
                Step(
                    subject=bundle.stack,
                    verb="deploy stack",
                    cause=cause,
                    action=DeployStack(wanted.stack(bundle.stack), bundle),
                    needs=begun,
                    after=after - begun,
                )
            )


def _cause(wanted: Wanted, observed: Observation, name: str) -> str | None:
    if observed.swarm is None:
        return "is not deployed"
    bundle = next(bundle for bundle in wanted.bundles if bundle.stack == name)
    return drift(bundle, observed.swarm.records.get(name), observed.swarm.services)


def _remove(draft: Draft, wanted: Wanted, observed: Observation) -> frozenset[str]:
    if observed.swarm is None:
        return frozenset()
    gone: set[str] = set()
    kept = {bundle.stack for bundle in wanted.bundles}
    for name in observed.swarm.records:
        if name not in kept:
            step = draft.add(
                Step(
                    subject=name,
                    verb="remove stack",
                    cause="is not in the inventory",
                    action=RemoveStack(name),
                    destroys=True,
                )
            )
            gone.add(step)
    return frozenset(gone)
