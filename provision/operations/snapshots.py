"""`snapshot save`, `restore`, `ls` and `rm`: the state of all of a cluster's machines, kept by their driver."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from provision.driver import Machine, MachineState, Snapshot, Snapshots
from provision.errors import ProvisionError, UsageError
from provision.execution.observe import discover, observe
from provision.execution.scheduler import Outcome
from provision.execution.settle import wait_for
from provision.execution.world import World
from provision.inventory.cluster import Cluster, SshSettings
from provision.operations.apply import Call
from provision.operations.opened import opened, settings_of
from provision.operations.place import Place
from provision.operations.stages import Say, Stage, run_stages
from provision.planning.observation import Observation
from provision.planning.plan import count
from provision.state.lock import hold, this_process
from provision.state.store import Store

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
#: seconds until the swarm must be whole after a restore, and those that each look at the machines may take
_WHOLE_SECONDS = 180.0
_PATIENCE = 20.0


def snapshots_of(name: str, cluster: Cluster | None, place: Place) -> tuple[Sequence[Snapshot], int]:
    """The cluster's snapshots, the oldest first, and how many machines it has. Changes nothing."""
    with _opened(name, cluster, place) as world:
        machines = discover(world, world.store.read())
        return (_keeper(world, machines).snapshots(name) if machines else (), len(machines))


def save(name: str, cluster: Cluster | None, place: Place, call: Call, snapshot: str) -> None:
    """Save the machines as they are now. Raises UsageError for a name that there is, or that is none."""
    if not _NAME.fullmatch(snapshot):
        raise UsageError(
            f"{snapshot!r} is no name for a snapshot", hint="small letters, digits and hyphens, a letter or digit first"
        )
    with hold(place.paths(name), this_process(tuple(call.words))), _opened(name, cluster, place, call) as world:
        machines = discover(world, world.store.read())
        keeper = _keeper(world, machines)
        if any(each.name == snapshot for each in keeper.snapshots(name)):
            raise UsageError(
                f"cluster {name!r} has a snapshot {snapshot!r} already",
                hint=f"take another name, or remove it first: provision snapshot rm {snapshot} -c {name}",
            )

        def work(_say: Say) -> Outcome:
            saved = keeper.save_snapshot(name, snapshot, tuple(machines.values()))
            return Outcome(note=count(len(saved.machines), "machine"))

        stage = Stage(subject=name, verb=f"save snapshot {snapshot}", cause="as asked", work=work)
        run_stages(name, [stage], place, call, again=f"provision snapshot save {snapshot} -c {name}")


def restore(
    name: str,
    cluster: Cluster | None,
    place: Place,
    call: Call,
    snapshot: str,
    *,
    agree: Callable[[Snapshot], None],
) -> None:
    """Put the machines back, then wait until all that ran answer and the managers see them ready.

    `agree` is called before anything is changed, and raises when the user does not want it. Raises UsageError where
    the cluster has other machines now than it had then.
    """
    with hold(place.paths(name), this_process(tuple(call.words))), _opened(name, cluster, place, call) as world:
        machines = discover(world, world.store.read())
        keeper = _keeper(world, machines)
        saved = _named(keeper, name, snapshot)
        _require_same(saved, machines, name)
        agree(saved)

        def put_back(_say: Say) -> Outcome:
            keeper.restore_snapshot(name, snapshot, tuple(machines.values()))
            return Outcome(note=count(len(saved.machines), "machine"))

        stages = [
            Stage(subject=name, verb=f"restore snapshot {snapshot}", cause=f"saved {saved.created}", work=put_back),
            Stage(subject=name, verb="wait for the swarm", cause="machines come back", work=lambda s: _whole(world, s)),
        ]
        run_stages(name, stages, place, call, again=f"provision snapshot restore {snapshot} -c {name}")


def remove(name: str, cluster: Cluster | None, place: Place, call: Call, snapshot: str) -> None:
    """Forget a snapshot. Raises UsageError for one that there is not."""
    with hold(place.paths(name), this_process(tuple(call.words))), _opened(name, cluster, place, call) as world:
        keeper = _keeper(world, discover(world, world.store.read()))
        saved = _named(keeper, name, snapshot)

        def work(_say: Say) -> Outcome:
            keeper.remove_snapshot(name, snapshot)
            return Outcome()

        stage = Stage(subject=name, verb=f"remove snapshot {snapshot}", cause=f"saved {saved.created}", work=work)
        run_stages(name, [stage], place, call, again=f"provision snapshot rm {snapshot} -c {name}")


@contextmanager
def _opened(name: str, cluster: Cluster | None, place: Place, call: Call | None = None) -> Iterator[World]:
    state = Store(place.paths(name)).read()
    ssh = state.ssh if state else cluster.ssh if cluster else SshSettings()
    redactor = call.redactor if call else None
    with opened(place, name, settings=settings_of(cluster, state), ssh=ssh, redactor=redactor) as world:
        yield world


# --- who keeps them, and of what ---


def _keeper(world: World, machines: Mapping[str, Machine]) -> Snapshots:
    """The one driver that made all of these machines. Raises ProvisionError where it keeps no snapshots."""
    names = sorted({machine.driver for machine in machines.values()})
    if not names:
        raise UsageError(f"cluster {world.cluster!r} has no machines", hint="provision up makes them")
    for driver in names:
        if not isinstance(world.drivers[driver], Snapshots):
            raise ProvisionError(
                f"driver {driver!r} keeps no snapshots, and machines of cluster {world.cluster!r} are its",
                detail="it takes a whole computer, whose memory and disks can be kept: not one that shares its host's "
                "kernel, as nspawn's do, nor one that was there before provision",
                hint="driver libvirt keeps snapshots",
            )
    if len(names) > 1:
        raise ProvisionError(
            f"the machines of cluster {world.cluster!r} are made by several drivers: {', '.join(names)}",
            detail="a snapshot is of one moment, and no two drivers can agree on one",
        )
    keeper = world.drivers[names[0]]
    assert isinstance(keeper, Snapshots)
    return keeper


def _named(keeper: Snapshots, cluster: str, snapshot: str) -> Snapshot:
    found = {each.name: each for each in keeper.snapshots(cluster)}
    if snapshot in found:
        return found[snapshot]
    close = difflib.get_close_matches(snapshot, found, n=1)
    known = f"there are: {', '.join(found)}" if found else f"provision snapshot save NAME -c {cluster} makes one"
    raise UsageError(
        f"cluster {cluster!r} has no snapshot {snapshot!r}", hint=f"did you mean {close[0]!r}?" if close else known
    )


def _require_same(saved: Snapshot, machines: Mapping[str, Machine], cluster: str) -> None:
    """A machine that the others of that time never knew would be left over, and its node too."""
    added = sorted(machines.keys() - set(saved.machines))
    if not added:
        return
    rest = ", ".join(added)
    raise UsageError(
        f"snapshot {saved.name!r} has no part of {rest}",
        detail=f"added since, or the save was cut short; it has {', '.join(saved.machines)}",
        hint=f"take them out first: provision rm {' '.join(added)} -c {cluster}; "
        f"or make a new one: provision snapshot save NAME -c {cluster}",
    )


# --- after a restore ---


def _whole(world: World, say: Say) -> Outcome:
    """Wait until every machine that runs answers, and the managers see each that is a member ready.

    The state learns which swarm it is: another one may have been made since the snapshot. Raises DeadlineError.
    """
    state = world.store.read()
    machines = discover(world, state)
    running = [name for name, machine in machines.items() if machine.state is MachineState.RUNNING]
    seen = Observation()

    def missing() -> str:
        nonlocal seen
        for session in list(world.sessions.values()):
            session.changed()
        try:
            seen = observe(world, state, (), machines=dict(machines), patience=_PATIENCE, tolerant=True)
        except ProvisionError as not_yet:
            return not_yet.summary
        return lacking(seen, running)

    wait_for(
        f"cluster {world.cluster!r}: coming back after the restore",
        missing,
        seconds=_WHOLE_SECONDS,
        say=say,
        hint=f"the machines are restored; see provision status -c {world.cluster}",
    )
    _learn_swarm(world, seen)
    nodes = len(seen.swarm.nodes) if seen.swarm else 0
    return Outcome(changed=False, note=f"{count(nodes, 'node')} ready" if nodes else "there was no swarm then")


def lacking(seen: Observation, running: Sequence[str]) -> str:
    """What a restored cluster still lacks; empty when these machines are all that they were."""
    for machine in running:
        if machine not in seen.facts:
            return f"{machine}: {seen.unreachable.get(machine, 'it does not answer yet')}"
    members = [machine for machine in running if seen.facts[machine].node.member]
    if members and seen.swarm is None:
        return "no manager speaks for the swarm yet"
    for machine in members:
        node = seen.node_of(machine)
        if node is None:
            return f"the managers do not list {machine}"
        if node.state != "ready":
            return f"the managers see {machine} {node.state}" + (f": {node.message}" if node.message else "")
        if node.reachability and not node.is_reachable_manager:
            return f"{machine} is not reachable for the other managers"
    return ""


def _learn_swarm(world: World, seen: Observation) -> None:
    state = world.store.read()
    known = state.data.get("swarm") if state else None
    now = seen.swarm.cluster_id if seen.swarm else None
    if state is None or known == now:
        return
    rest = {key: value for key, value in state.data.items() if key != "swarm"}
    world.store.update(lambda state: replace(state, data={**rest, "swarm": now} if now else rest))
