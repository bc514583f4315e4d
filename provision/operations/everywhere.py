"""One command on many machines, and finding a manager that lives."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from provision.driver import Machine
from provision.errors import ProvisionError, UsageError
from provision.execution.observe import PATIENCE, discover
from provision.execution.session import Session
from provision.execution.world import World
from provision.operations.opened import opened, settings_of
from provision.operations.place import Place
from provision.state.model import ClusterState
from provision.state.paths import clusters
from provision.state.store import Store

_WIDTH = 64
#: what a shell says of a command that could not be started
_NOT_RUN = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to on one machine; a machine that did not answer has status 255 and says why on stderr."""

    machine: str
    status: int
    stdout: str
    stderr: str


def split_targets(
    place: Place, words: Sequence[str], cluster: str | None, *, role: str | None, group: str | None
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The cluster, the machines, and the command: leading words that name machines of ours, or globs of them, are
    machines. Without any, all machines of the cluster are meant. Raises UsageError where none is left."""
    names = [cluster] if cluster else list(clusters(place.root))
    states = {name: state for name in names if (state := _readable(place, name, only=cluster is not None))}
    owners = {machine: name for name, state in states.items() for machine in state.machines}
    chosen: list[str] = []
    rest = list(words)
    while rest and rest[0] != "--" and (found := fnmatch.filter(owners, rest[0])):
        chosen += found
        rest.pop(0)
    if rest[:1] == ["--"]:
        rest.pop(0)
    if not chosen and len(states) > 1:
        raise UsageError("no machine is named, and there are several clusters", hint=f"-c {' | '.join(states)}")
    if len({owners[machine] for machine in chosen}) > 1:
        raise UsageError("the machines are of several clusters", hint="run it once for each")
    if not states:
        raise UsageError("there is no cluster yet", hint="provision up INVENTORY makes one")
    name = owners[chosen[0]] if chosen else next(iter(states))
    records = states[name].machines.values()
    machines = tuple(
        record.name
        for record in records
        if (not chosen or record.name in chosen) and role in (None, record.role) and group in (None, record.group)
    )
    if not machines:
        raise UsageError("no machine matches", hint=f"provision ls -c {name} lists them")
    return name, machines, tuple(rest)


def _readable(place: Place, name: str, *, only: bool) -> ClusterState | None:
    """A cluster's state; one that is damaged is passed by unless it is the one that was asked for."""
    try:
        return Store(place.paths(name)).read()
    except ProvisionError:
        if only:
            raise
        return None


def run_everywhere(
    place: Place, cluster: str, machines: Sequence[str], command: Sequence[str], *, seconds: float
) -> Iterator[Answer]:
    """Run the command as the login user on all of them at once; the answers come in the machines' order."""
    state = _state(place, cluster)
    with opened(place, cluster, settings=settings_of(None, state), ssh=state.ssh) as world:
        found = discover(world, state)

        def run(name: str) -> Answer:
            try:
                with closing(_open(world, found, name)) as session:
                    result = session.host.run(command, seconds=seconds)
            except ProvisionError as problem:
                return Answer(name, _NOT_RUN, "", str(problem))
            status = result.status if result.status >= 0 else _NOT_RUN
            return Answer(name, status, result.stdout, result.stderr)

        with ThreadPoolExecutor(max_workers=min(len(machines), _WIDTH)) as pool:
            yield from pool.map(run, machines)


def live_manager(place: Place, cluster: str) -> str:
    """The first manager, in the inventory's order, that answers and takes part in the swarm's decisions."""
    state = _state(place, cluster)
    causes: list[str] = []
    with opened(place, cluster, settings=settings_of(None, state), ssh=state.ssh) as world:
        found = discover(world, state)
        for record in state.machines.values():
            if record.role != "manager":
                continue
            try:
                node = _open(world, found, record.name).known.node
            except ProvisionError as problem:
                causes.append(problem.summary)
                continue
            if node.manager:
                return record.name
            causes.append(f"{record.name}: is no manager now" + (f": {node.error}" if node.error else ""))
    raise ProvisionError(
        f"no manager of cluster {cluster!r} answers", detail="\n".join(causes), hint=f"provision status -c {cluster}"
    )


def _open(world: World, machines: dict[str, Machine], name: str) -> Session:
    if name not in machines:
        raise ProvisionError(f"{name}: does not exist any more", hint="provision up makes it again")
    return world.open(machines[name], seconds=PATIENCE)


def _state(place: Place, cluster: str) -> ClusterState:
    state = Store(place.paths(cluster)).read()
    if state is None:
        raise UsageError(f"there is no cluster {cluster!r}", hint="provision up INVENTORY makes one")
    return state
