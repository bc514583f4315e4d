"""How far a stack is, and waiting for it: tables and a scripted swarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from provision.errors import DeadlineError
from provision.stacks.converge import SETTLE, StackError, Waiting, wait_converged, wait_removed
from provision.stacks.progress import assess
from provision.swarm.errors import EngineUnavailableError
from provision.swarm.values import Service, SwarmConfig, SwarmObject, Task

WEB = Service(
    id="s1",
    name="hello_web",
    stack="hello",
    mode="replicated",
    running=0,
    desired=2,
    completed=0,
    image="a",
    spec_digest="d",
    task_digest="new",
)


def task(slot: int = 1, state: str = "running", desired: str = "running", **values: Any) -> Task:
    base = Task(
        id=f"t{slot}",
        service_id="s1",
        node_id="n1",
        slot=slot,
        state=state,
        desired_state=desired,
        message="",
        error="",
        timestamp="2024-01-01T00:00:00Z",
        created="",
        updated="",
        task_digest="new",
    )
    return replace(base, **values)


JOB = replace(WEB, mode="replicated-job")
GLOBAL = replace(WEB, mode="global", desired=0)


@pytest.mark.parametrize(
    ("service", "tasks", "converged"),
    [
        (WEB, [task(1), task(2)], True),
        (WEB, [task(1)], False),
        (WEB, [task(1), task(2, "starting")], False),
        (WEB, [task(1), task(2, desired="shutdown")], False),
        (WEB, [task(1), task(2), task(3)], False),
        (WEB, [task(1), task(2, service_id="other")], False),
        (replace(WEB, desired=0), [], True),
        (replace(WEB, update_state="updating"), [task(1), task(2)], False),
        (replace(WEB, update_state="completed"), [task(1), task(2)], True),
        (GLOBAL, [task(0), task(0, "preparing")], False),
        (GLOBAL, [task(0), task(0, "failed", "shutdown")], True),
        (replace(GLOBAL, desired=2), [task(0)], False),
        (JOB, [task(1, "complete", "complete"), task(2)], False),
        (JOB, [task(1, "complete", "complete"), task(2, "complete", "complete")], True),
        (replace(JOB, job_iteration=2), [task(1, "complete"), task(2, "complete", job_iteration=2)], False),
        (replace(JOB, mode="global-job", desired=0), [task(0, "running", "complete")], False),
        (replace(JOB, mode="global-job", desired=0), [task(0, "complete", "complete")], True),
    ],
)
def test_a_service_is_there_when_it_has_what_it_wants(service: Service, tasks: list[Task], converged: bool) -> None:
    assert assess([service], tasks).converged is converged


@pytest.mark.parametrize("state", ["paused", "rollback_started", "rollback_paused", "rollback_completed"])
def test_an_update_that_was_given_up_has_failed_with_its_message(state: str) -> None:
    progress = assess([replace(WEB, update_state=state, update_message="task t9 failed")], [task(1), task(2)])
    assert progress.failed == f"the update of web is {state.replace('_', ' ')}: task t9 failed"
    assert not progress.converged


def test_errors_name_task_and_node_newest_first_and_once() -> None:
    tasks = [
        task(1, "rejected", "shutdown", error="No such image: a", timestamp="2024-01-01T00:00:01Z"),
        task(1, "rejected", "shutdown", error="No such image: a", timestamp="2024-01-01T00:00:03Z"),
        task(2, "pending", node_id="", error="no suitable node", timestamp="2024-01-01T00:00:02Z"),
        task(1, "failed", "shutdown", error="of long ago", task_digest="old"),
    ]
    progress = assess([WEB], tasks, node_names={"n1": "lab-worker-1"})
    assert progress.errors == ("web.1 on lab-worker-1: No such image: a", "web.2: no suitable node")


def test_a_service_that_was_never_made_is_waited_for() -> None:
    progress = assess([], [], expected=("web",))
    assert (progress.converged, progress.waiting) == (False, ("service web is not there",))


@dataclass
class ScriptedSwarm:
    """A fake swarm whose tasks are a function of a fake clock; sleeping moves the clock."""

    tasks_at: Callable[[float], list[Task]]
    service: Service = WEB
    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    objects_until: float = 0.0

    def services(self, *, stack: str | None = None) -> tuple[Service, ...]:
        return (self.service,)

    def tasks(self, *, stack: str | None = None) -> tuple[Task, ...]:
        return tuple(self.tasks_at(self.now))

    def networks(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        there = self.now < self.objects_until
        return (SwarmObject(id="n", name="hello_n", labels={}, created=""),) if there else ()

    def configs(self, *, stack: str | None = None) -> tuple[SwarmConfig, ...]:
        return ()

    def secrets(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        return ()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def waiting(self, timeout: float = 30.0, report: Callable[[str], None] = lambda _: None) -> Waiting:
        return Waiting(timeout=timeout, report=report, clock=lambda: self.now, sleep=self.sleep)


def test_waiting_ends_when_all_has_run_for_a_moment() -> None:
    swarm = ScriptedSwarm(lambda now: [task(1), task(2)] if now > 2 else [task(1)])
    assert wait_converged(swarm, "hello", swarm.waiting()).running == 2
    assert 2 + SETTLE <= swarm.now < 2 + SETTLE + 2


def test_a_container_that_restarts_all_the_time_never_converges() -> None:
    def crashing(now: float) -> list[Task]:
        return [task(1), task(2, id=f"t{int(now / 0.8)}", error="task: non-zero exit (1)")]

    swarm = ScriptedSwarm(crashing)
    with pytest.raises(DeadlineError, match=r"non-zero exit \(1\)"):
        wait_converged(swarm, "hello", swarm.waiting(timeout=10))
    assert swarm.now == pytest.approx(10)


def test_tasks_of_the_old_spec_are_given_longer() -> None:
    swarm = ScriptedSwarm(lambda _: [task(1, task_digest="old"), task(2)])
    assert wait_converged(swarm, "hello", swarm.waiting()).outdated == 1
    assert swarm.now >= 3


def test_a_failed_update_ends_the_wait_at_once() -> None:
    service = replace(WEB, update_state="paused", update_message="update paused due to failure")
    swarm = ScriptedSwarm(lambda _: [task(1, "failed", error="exit 7")], service=service)
    with pytest.raises(StackError, match="update paused due to failure") as caught:
        wait_converged(swarm, "hello", swarm.waiting())
    assert (swarm.now, caught.value.detail) == (0, "web.1 on n1: exit 7")


def test_a_manager_that_is_away_for_a_while_is_waited_for() -> None:
    def restarting(now: float) -> list[Task]:
        if now < 3:
            raise EngineUnavailableError("m", "list the tasks", "connection refused")
        return [task(1), task(2)]

    swarm = ScriptedSwarm(restarting)
    lines: list[str] = []
    assert wait_converged(swarm, "hello", swarm.waiting(report=lines.append)).converged
    assert lines == ["m: cannot list the tasks: connection refused", "2/2 tasks"]


def test_looks_are_frequent_first_and_rare_later() -> None:
    swarm = ScriptedSwarm(lambda _: [])
    with pytest.raises(DeadlineError):
        wait_converged(swarm, "hello", swarm.waiting(timeout=10))
    assert swarm.slept[0] == pytest.approx(0.1)
    assert max(swarm.slept) == pytest.approx(1.0)


def test_a_removal_is_waited_for_until_its_network_is_gone() -> None:
    swarm = ScriptedSwarm(lambda now: [task(1)] if now < 2 else [task(1, "shutdown", "shutdown")])
    swarm.objects_until = 5
    lines: list[str] = []
    with pytest.raises(DeadlineError, match="1 service left"):
        wait_removed(swarm, "hello", swarm.waiting(timeout=8, report=lines.append))
    assert lines == ["1 service, 1 task, 1 network left", "1 service, 1 network left", "1 service left"]
