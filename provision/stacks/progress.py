"""How far a stack is, decided from what Swarm says of its services and tasks. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from provision.swarm.values import Service, Task

#: How many different task errors are worth showing.
MAX_ERRORS = 5
#: States of an update that Swarm gave up.
FAILED_UPDATES = ("paused", "rollback_started", "rollback_paused", "rollback_completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a stack stands.

    `converged`: every service has what it wants, at this moment. `failed` says why it never will by itself,
    else empty. `running` and `desired` count tasks of all services (of jobs, those complete). `waiting` has a
    line for each service that is not there yet, `errors` the tasks' latest error texts, newest first, each
    once. `outdated` counts running tasks that were made from an earlier spec. `tasks` are the ids that make
    up the present state: while they stay the same, nothing is being restarted.
    """

    converged: bool
    failed: str
    running: int
    desired: int
    waiting: tuple[str, ...]
    errors: tuple[str, ...]
    outdated: int
    tasks: frozenset[str]

    def __str__(self) -> str:
        """One line: `1/3 tasks; web has 1 of 3 tasks running; web.2 on lab-worker-1: no such image`."""
        count = f"{self.running}/{self.desired} tasks"
        return count if self.converged else "; ".join([count, *self.waiting[:2], *self.errors[:1]])


def assess(
    services: Collection[Service],
    tasks: Iterable[Task],
    *,
    expected: Collection[str] = (),
    node_names: Mapping[str, str] | None = None,
) -> Progress:
    """Where these services stand, given their tasks (old ones included). `node_names` are hostnames by node id.

    A replicated or global service is there when as many of its tasks run as are wanted and no update is under
    way; a job when all its completions are done. An update that was paused or rolled back has failed.
    `expected` are the keys of services that must be there at all.
    """
    everything = list(tasks)
    names = node_names or {}
    running = desired = outdated = 0
    present = {short_name(service) for service in services}
    waiting = [f"service {name} is not there" for name in expected if name not in present]
    failures: list[str] = []
    ids: set[str] = set()
    errors: list[tuple[str, str]] = []
    for service in services:
        own = [task for task in everything if _belongs(task, service)]
        live = [task for task in own if _counts(task, service)]
        wanted = service.desired or _wanted(own, service)
        running += min(len(live), wanted)
        desired += wanted
        ids |= {task.id for task in live}
        outdated += sum(task.task_digest != service.task_digest for task in live)
        name = short_name(service)
        if service.update_state in FAILED_UPDATES:
            state = service.update_state.replace("_", " ")
            failures.append(f"the update of {name} is {state}: {service.update_message or 'no reason given'}")
        if service.update_state == "updating":
            waiting.append(f"{name} is being updated")
        if len(live) != wanted:
            verb = "complete" if service.is_job else "running"
            waiting.append(f"{name} has {len(live)} of {wanted} tasks {verb}")
        errors += _errors(own, service, names)
    return Progress(
        converged=not waiting and not failures,
        failed="; ".join(failures),
        running=running,
        desired=desired,
        waiting=tuple(waiting),
        errors=tuple(dict.fromkeys(text for _, text in sorted(errors, reverse=True)))[:MAX_ERRORS],
        outdated=outdated,
        tasks=frozenset(ids),
    )


def short_name(service: Service) -> str:
    """A service's name as its compose file has it."""
    return service.name.removeprefix(f"{service.stack}_") if service.stack else service.name


def _belongs(task: Task, service: Service) -> bool:
    """Whether it is a task of the service, and of a job's present run."""
    return task.service_id == service.id and task.job_iteration == service.job_iteration


def _counts(task: Task, service: Service) -> bool:
    if service.is_job:
        return task.state == "complete"
    return task.state == "running" and task.desired_state == "running"


def _wanted(own: Iterable[Task], service: Service) -> int:
    """Services on all nodes want a task wherever Swarm has made one that shall still run, or that is done."""
    if service.mode == "global":
        return sum(task.desired_state == "running" for task in own)
    if service.mode == "global-job":
        return len({task.node_id for task in own if task.desired_state in ("running", "complete")})
    return 0


def _errors(own: Iterable[Task], service: Service, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """What went wrong with tasks of the present spec, and with old ones only where that says nothing."""
    failed = [task for task in own if task.error]
    current = [task for task in failed if task.task_digest == service.task_digest]
    return [(task.timestamp, _error(task, service, names)) for task in current or failed]


def _error(task: Task, service: Service, names: Mapping[str, str]) -> str:
    name = short_name(service) + (f".{task.slot}" if task.slot else "")
    place = f" on {names.get(task.node_id, task.node_id)}" if task.node_id else ""
    return f"{name}{place}: {task.error.strip().rstrip('.')}"
