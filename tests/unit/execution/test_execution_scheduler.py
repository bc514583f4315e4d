"""The scheduler: what runs when, what is skipped, what is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from provision.errors import ProvisionError
from provision.events import (
    Event,
    Notice,
    RunFinished,
    RunStarted,
    StepDone,
    StepFailed,
    StepProgress,
    StepSkipped,
    StepStarted,
)
from provision.execution.scheduler import Outcome, Summary, run
from provision.planning.actions import Leave
from provision.planning.plan import Plan, Step

Say = Callable[[str], None]


def step(subject: str, *, needs: Iterable[str] = (), after: Iterable[str] = ()) -> Step:
    return Step(
        subject=subject,
        verb="do",
        cause="asked for",
        action=Leave(subject),
        needs=frozenset(f"{name}/do" for name in needs),
        after=frozenset(f"{name}/do" for name in after),
    )


class Worker:
    """Performs steps: notes their order; fails, waits or speaks where it is told to."""

    def __init__(self, **behaviour: Callable[[Say], Outcome | None]) -> None:
        self.behaviour = behaviour
        self.began: list[str] = []
        self.ended: list[str] = []

    def __call__(self, what: Step, say: Say) -> Outcome:
        self.began.append(what.subject)
        outcome = self.behaviour.get(what.subject, lambda _: None)(say)
        self.ended.append(what.subject)
        return outcome or Outcome()


def ran(
    *steps: Step, worker: Worker | None = None, stop: threading.Event | None = None
) -> tuple[Summary, Worker, list[Event]]:
    worker, events = worker or Worker(), []
    summary = run(
        Plan(cluster="lab", steps=steps),
        worker,
        command="up",
        report=events.append,
        stop=stop or threading.Event(),
        clock=lambda: 0.0,
    )
    accounted = [*summary.done, *summary.failed, *summary.skipped]
    assert sorted(accounted) == sorted(one.id for one in steps)
    return summary, worker, events


def fails(text: str = "it broke", hint: str = "mend it") -> Callable[[Say], Outcome]:
    def failing(_: Say) -> Outcome:
        raise ProvisionError(text, hint=hint)

    return failing


def test_what_is_needed_and_waited_for_alike_is_waited_for_once() -> None:
    both = frozenset({"a/do", "b/do"})
    last = replace(step("last"), needs=frozenset({"a/do"}), after=both)
    other = replace(step("other"), needs=both, after=both)
    summary, worker, events = ran(step("a"), step("b"), last, other, worker=Worker(b=fails()))
    assert worker.began.index("last") > worker.began.index("b")
    assert summary.skipped == ["other/do"]
    assert [event.reason for event in events if isinstance(event, StepSkipped)] == ["needs b/do"]


def test_of_several_needs_that_are_lost_the_first_is_named() -> None:
    _, _, events = ran(*map(step, "abc"), step("d", needs="cab"), worker=Worker(c=fails(), b=fails()))
    assert [event.reason for event in events if isinstance(event, StepSkipped)] == ["needs b/do"]


def test_nothing_to_do_is_a_good_run() -> None:
    summary, _, events = ran()
    assert summary.good
    assert events == [RunStarted("lab", "up", 0), RunFinished(0, 0, 0, 0, 0.0)]


def test_a_step_waits_for_what_it_needs_and_for_what_it_comes_after() -> None:
    _, worker, _ = ran(step("c", needs=["b"]), step("b", after=["a"]), step("a"))
    assert worker.began == ["a", "b", "c"]


def test_steps_that_wait_for_nothing_run_at_once() -> None:
    meet = threading.Barrier(3, timeout=10.0)
    behaviour = {name: lambda _: (meet.wait(), None)[1] for name in "abc"}
    summary, _, _ = ran(step("a"), step("b"), step("c"), worker=Worker(**behaviour))
    assert summary.good


def test_there_is_no_barrier_between_stages() -> None:
    """b1 ends while a2 still runs, and a2 needs just that to end."""
    finished = threading.Event()
    worker = Worker(a2=lambda _: None if finished.wait(10.0) else fails()(_), b1=lambda _: finished.set())
    summary, _, _ = ran(step("a1"), step("a2"), step("b1", needs=["a1"]), step("b2", needs=["a2"]), worker=worker)
    assert summary.good


def test_what_needs_a_failed_step_is_skipped_down_the_line_and_the_rest_runs() -> None:
    steps = (step("a"), step("b", needs=["a"]), step("c", needs=["b"]), step("d", after=["a"]), step("e"))
    summary, worker, events = ran(*steps, worker=Worker(a=fails()))
    assert (summary.failed, sorted(summary.skipped)) == (["a/do"], ["b/do", "c/do"])
    assert sorted(summary.done) == ["d/do", "e/do"]
    assert not summary.good and not summary.interrupted
    assert {"b", "c"}.isdisjoint(worker.began)
    reasons = {event.step: event.reason for event in events if isinstance(event, StepSkipped)}
    assert reasons == {"b/do": "needs a/do", "c/do": "needs b/do"}


def test_the_events_tell_the_whole_run_in_order() -> None:
    def speaks(say: Say) -> Outcome:
        say("half way")
        return Outcome(changed=False, note="already so")

    steps = (step("a"), step("b", needs=["a"]), step("c", needs=["b"]))
    _, _, events = ran(*steps, worker=Worker(a=speaks, b=fails()))
    assert events == [
        RunStarted("lab", "up", 3),
        StepStarted("a/do", "a", "do", "asked for"),
        StepProgress("a/do", "a", "half way"),
        StepDone("a/do", "a", "do", 0.0, False, "already so"),
        StepStarted("b/do", "b", "do", "asked for"),
        StepFailed("b/do", "b", "do", 0.0, "it broke\n\nhint: mend it"),
        StepSkipped("c/do", "c", "do", "needs b/do"),
        RunFinished(1, 0, 1, 1, 0.0),
    ]


def test_only_steps_that_changed_something_count_as_changed() -> None:
    summary, _, _ = ran(step("a"), step("b"), worker=Worker(b=lambda _: Outcome(changed=False)))
    assert (sorted(summary.done), summary.changed) == (["a/do", "b/do"], ["a/do"])


def test_a_defect_is_a_failed_step_that_says_where() -> None:
    def broken(_: Say) -> Outcome:
        raise ZeroDivisionError("oh")

    summary, _, events = ran(step("a"), step("b"), worker=Worker(a=broken))
    assert (summary.failed, summary.done) == (["a/do"], ["b/do"])
    (failure,) = [event for event in events if isinstance(event, StepFailed)]
    assert failure.error.startswith("unexpected ZeroDivisionError: oh (")
    assert "test_execution_scheduler.py:" in failure.error
    assert failure.error.endswith("hint: this is a defect of provision; please report it")


def test_stop_lets_running_steps_end_and_skips_the_rest() -> None:
    stop = threading.Event()
    summary, worker, events = ran(step("a"), step("b", after=["a"]), worker=Worker(a=lambda _: stop.set()), stop=stop)
    assert (summary.done, summary.skipped) == (["a/do"], ["b/do"])
    assert worker.ended == ["a"]
    assert StepSkipped("b/do", "b", "do", "interrupted") in events


class Interrupting:
    """A reporter in whose main thread Ctrl-C is pressed when the scheduler waits: by way of the queue that it reads."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.pressed = threading.Event()

    def get(self, original: Callable[[], str]) -> str:
        if self.times:
            self.times -= 1
            self.pressed.set()
            raise KeyboardInterrupt
        return original()


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Interrupting]:
    import queue

    def arrange(times: int) -> Interrupting:
        keys = Interrupting(times)

        class Queue:
            def __init__(self) -> None:
                self._queue: queue.Queue[str] = queue.Queue()
                self.put = self._queue.put

            def get(self) -> str:
                return keys.get(self._queue.get)

        monkeypatch.setattr("provision.execution.scheduler.queue", SimpleNamespace(SimpleQueue=Queue))
        return keys

    return arrange


def test_the_first_interrupt_waits_for_the_running_steps(interrupts: Callable[[int], Interrupting]) -> None:
    keys = interrupts(1)
    worker = Worker(a=lambda _: None if keys.pressed.wait(10.0) else fails()(_))
    summary, worker, events = ran(step("a"), step("b", needs=["a"]), worker=worker)
    assert (summary.done, summary.skipped, summary.interrupted) == (["a/do"], ["b/do"], True)
    assert not summary.good
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "once more to stop at once" in notice.text
    assert isinstance(events[-1], RunFinished)


def test_the_second_interrupt_passes_through_at_once(interrupts: Callable[[int], Interrupting]) -> None:
    interrupts(2)
    release = threading.Event()
    worker = Worker(a=lambda _: (release.wait(10.0), None)[1])
    with pytest.raises(KeyboardInterrupt):
        ran(step("a"), worker=worker)
    assert worker.ended == []
    release.set()
