"""Waiting until a member is a member again, and until managers see it so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from provision.errors import DeadlineError, ProvisionError, UnreachableError
from provision.execution.session import Session
from provision.execution.world import World
from provision.swarm.errors import EngineError
from provision.swarm.values import Node

_SECONDS = 90.0
_PAUSE = 0.1
#: seconds after which a restart that the managers never wrote of counts as one that they did not notice
_UNNOTICED = 10.0


def wait_for(
    what: str,
    done: Callable[[], str],
    *,
    seconds: float = _SECONDS,
    pause: float = _PAUSE,
    say: Callable[[str], None] = lambda _: None,
    hint: str = "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call `done` until it returns "", which it does when all is well; else it returns what is still missing.

    Raises DeadlineError with the last cause after `seconds`. The pauses grow from `pause` to a second.
    """
    deadline = clock() + seconds
    told = ""
    while cause := done():
        if cause != told:
            say(cause)
            told = cause
        if clock() >= deadline:
            raise DeadlineError(what, seconds, cause, hint=hint)
        sleep(pause)
        pause = min(pause * 1.2, 1.0)


def node_version(world: World, node_id: str) -> int | None:
    """How often the managers have written a node; None when they cannot be asked."""
    try:
        return next((node.version for node in world.manager().engine.nodes() if node.id == node_id), None)
    except ProvisionError:
        return None


def settled(world: World, session: Session, say: Callable[[str], None], *, before: int | None) -> None:
    """Wait until a member whose engine restarted takes part again; for a manager, until it sees a leader.

    A worker counts as back when the managers have written its node again since its version was `before`: what they
    say of it right after the restart may be from before it.
    """
    machine = session.host.machine
    patience = time.monotonic() + _UNNOTICED

    def missing() -> str:
        try:
            info = session.engine.info()
            if info.is_locked:
                raise locked(machine)
            if not info.is_member:
                return info.error or f"its node is {info.local_node_state}"
            if info.control_available:
                own = next((node for node in session.engine.nodes() if node.id == info.node_id), None)
                return "" if own is not None and own.is_reachable_manager else "not reachable for the other managers"
            node = watch.node(info.node_id)
            if node is not None and node.version == before and time.monotonic() < patience:
                return "the managers have not noticed its restart yet"
            return watch.missing(info.node_id)
        except (EngineError, UnreachableError) as not_yet:
            return not_yet.summary

    watch = NodeWatch(world)
    wait_for(f"{machine}: coming back to the swarm after its engine restarted", missing, say=say)


def locked(machine: str) -> ProvisionError:
    """What to say of a manager that restarted while autolock is on: nothing goes on before somebody unlocks it."""
    return ProvisionError(
        f"{machine}: its swarm is locked", hint=f"unlock it: provision ssh {machine} -t docker swarm unlock"
    )


class NodeWatch:
    """The managers' list of nodes, for many who wait at once: one call serves all who ask within a moment.

    A moment is longer where the answer takes long (a large swarm, a busy manager), so that asking takes a fifth of the
    time at most.
    """

    def __init__(self, world: World, *, fresh: float = _PAUSE, clock: Callable[[], float] = time.monotonic) -> None:
        self._world = world
        self._fresh = fresh
        self._clock = clock
        self._lock = threading.Lock()
        self._nodes: dict[str, Node] = {}
        self._seen = float("-inf")
        self._took = 0.0

    def node(self, node_id: str) -> Node | None:
        """A node as the managers see it, at most a moment ago."""
        with self._lock:
            began = self._clock()
            if began - self._seen >= max(self._fresh, self._took * 4):
                self._nodes = {node.id: node for node in self._world.manager().engine.nodes()}
                self._seen = self._clock()
                self._took = self._seen - began
            return self._nodes.get(node_id)

    def missing(self, node_id: str) -> str:
        """What the node lacks to be a ready member; empty when it is one."""
        node = self.node(node_id)
        if node is None:
            return "the managers do not list it yet"
        if node.state != "ready":
            return f"the managers see it {node.state}" + (f": {node.message}" if node.message else "")
        return ""
