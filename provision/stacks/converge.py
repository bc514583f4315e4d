"""Waiting for a stack: until it runs as wanted, or until nothing of it is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from provision.errors import DeadlineError, ProvisionError
from provision.stacks.progress import Progress, assess
from provision.swarm.errors import EngineUnavailableError
from provision.swarm.values import Service, SwarmConfig, SwarmObject, Task

#: Seconds for which nothing may change before a stack counts as converged: a container that crashes at its start
#: runs for a moment, too.
SETTLE = 1.0
#: The same while tasks of the old spec run: Swarm may not have begun the update yet, or need not restart them.
SETTLE_OUTDATED = 3.0
#: Seconds between two looks; the first while something moves, the last when nothing does.
FASTEST, SLOWEST = 0.1, 1.0
_TERMINAL = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")


class StackError(ProvisionError):
    """A stack was deployed and will not run as it should; the detail has the tasks' own words."""

    def __init__(self, stack: str, cause: str, errors: tuple[str, ...]) -> None:
        super().__init__(
            f"stack {stack!r} failed: {cause}",
            detail="\n".join(errors),
            hint=f"docker stack ps --no-trunc {stack}, on a manager, has the whole story",
        )


class Swarm(Protocol):
    """What is asked of a manager's engine here; `Engine` is one."""

    def services(self, *, stack: str | None = None) -> tuple[Service, ...]:
        """Services of the stack."""
        ...

    def tasks(self, *, stack: str | None = None) -> tuple[Task, ...]:
        """Tasks of the stack."""
        ...

    def networks(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        """Networks of the stack."""
        ...

    def configs(self, *, stack: str | None = None) -> tuple[SwarmConfig, ...]:
        """Configs of the stack."""
        ...

    def secrets(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        """Secrets of the stack."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How to wait: seconds at most, where a line of progress goes whenever it changes, and the time itself."""

    timeout: float
    report: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait_converged(
    swarm: Swarm,
    stack: str,
    waiting: Waiting,
    *,
    expected: Collection[str] = (),
    node_names: Mapping[str, str] | None = None,
) -> Progress:
    """Wait until the stack's services run as wanted and stay so for a moment; returns the last progress.

    `expected` are the keys of services that must be there (`Bundle.service_names`). Raises `StackError` when
    an update was paused or rolled back, `DeadlineError` with the last cause otherwise. A manager that does
    not answer for a while is waited for, within the same deadline.
    """
    since: float | None = None
    before: Progress | None = None
    errors: tuple[str, ...] = ()

    def look() -> tuple[bool, str]:
        nonlocal since, before, errors
        services, tasks = swarm.services(stack=stack), swarm.tasks(stack=stack)
        progress = assess(services, tasks, expected=expected, node_names=node_names)
        errors = progress.errors
        if progress.failed:
            raise StackError(stack, progress.failed, progress.errors)
        now = waiting.clock()
        if not progress.converged or before is None or progress.tasks != before.tasks or since is None:
            since = now if progress.converged else None
        before = progress
        settle = SETTLE_OUTDATED if progress.outdated else SETTLE
        done = since is not None and now - since >= settle
        return done, str(progress)

    _poll(
        f"stack {stack!r}: converging",
        look,
        waiting,
        detail=lambda: errors,
        hint=f"docker stack ps --no-trunc {stack}, on a manager, has the whole story",
    )
    assert before is not None
    return before


def wait_removed(swarm: Swarm, stack: str, waiting: Waiting) -> None:
    """Wait until nothing of a removed stack is left in the swarm: `docker stack rm` returns before.

    A stack of the same name can be deployed after it. Raises `DeadlineError` that names what is still there.
    """

    def look() -> tuple[bool, str]:
        tasks = [task for task in swarm.tasks(stack=stack) if task.state not in _TERMINAL]
        left = {
            "service": len(swarm.services(stack=stack)),
            "task": len(tasks),
            "network": len(swarm.networks(stack=stack)),
            "config": len(swarm.configs(stack=stack)),
            "secret": len(swarm.secrets(stack=stack)),
        }
        there = [f"{count} {what}{'s' if count > 1 else ''}" for what, count in left.items() if count]
        return not there, f"{', '.join(there)} left" if there else "gone"

    _poll(f"stack {stack!r}: removal", look, waiting)


def _poll(
    what: str,
    look: Callable[[], tuple[bool, str]],
    waiting: Waiting,
    *,
    detail: Callable[[], tuple[str, ...]] = tuple,
    hint: str = "",
) -> None:
    """Look until it is done; often while the text changes, less often while it does not."""
    start = waiting.clock()
    interval, last = FASTEST, ""
    while True:
        try:
            done, text = look()
        except EngineUnavailableError as exc:
            done, text = False, exc.summary
        if text != last:
            waiting.report(text)
            interval, last = FASTEST, text
        if done:
            return
        left = start + waiting.timeout - waiting.clock()
        if left <= 0:
            cause = "\n".join([text, *(error for error in detail() if error not in text)])
            raise DeadlineError(what, waiting.timeout, cause, hint=hint)
        waiting.sleep(min(interval, left))
        interval = min(interval * 1.5, SLOWEST)
