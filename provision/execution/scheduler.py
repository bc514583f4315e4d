"""Runs a plan: each step as soon as what it waits for is over, with no barrier between stages.

It carries no decision of its own: a step runs, or it is skipped because a step that it needs did not succeed.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from provision.errors import ProvisionError
from provision.events import (
    Notice,
    Reporter,
    RunFinished,
    RunStarted,
    StepDone,
    StepFailed,
    StepProgress,
    StepSkipped,
    StepStarted,
)
from provision.planning.plan import Plan, Step

#: steps that run at once; most of them wait for a host
_WIDTH = 64
#: stands in the queue of ended steps for a Ctrl-C; no step has this id
_PRESSED = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to: `changed` False when it found its work done; `note` says what is worth saying."""

    changed: bool = True
    note: str = ""


@dataclass(slots=True)
class Summary:
    """How a run ended: the ids of its steps, by what became of them."""

    done: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """True when every step is done."""
        return not (self.failed or self.skipped or self.interrupted)


#: Carries out one step; is told a line of progress at a time. Raises for a failure.
Perform = Callable[[Step, Callable[[str], None]], Outcome]


def run(
    plan: Plan,
    perform: Perform,
    *,
    command: str,
    report: Reporter,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Run every step of the plan. Returns when all are over; a failed step is reported, never raised.

    Setting `stop` lets the running steps end and skips the rest; Ctrl-C sets it, a second one raises
    KeyboardInterrupt.
    """
    began = clock()
    summary = Summary()
    steps = {step.id: step for step in plan}
    order = _order(plan)
    over: queue.SimpleQueue[str] = queue.SimpleQueue()
    run_one = _Runner(perform, report, stop, summary, over, clock)
    report(RunStarted(plan.cluster, command, len(steps)))
    pool = ThreadPoolExecutor(max_workers=min(_WIDTH, max(len(steps), 1)), thread_name_prefix="step")
    try:
        with _waking(over):
            while order.is_active():
                try:
                    for ready in _ready(order):
                        pool.submit(run_one, steps[ready])
                    order.done(_next(over))
                except KeyboardInterrupt:
                    if stop.is_set():
                        raise
                    stop.set()
                    summary.interrupted = True
                    report(Notice("interrupted: waiting for the running steps; once more to stop at once", "warning"))
    finally:
        pool.shutdown(wait=not stop.is_set(), cancel_futures=True)
    summary.seconds = clock() - began
    report(
        RunFinished(len(summary.done), len(summary.changed), len(summary.failed), len(summary.skipped), summary.seconds)
    )
    return summary


def _order(plan: Plan) -> TopologicalSorter[str | frozenset[str]]:
    """The graph of the steps. A set of steps stands in it too, between them and all who wait for them: with a thousand
    steps that wait for the same thousand, that is two thousand edges instead of a million."""
    order: TopologicalSorter[str | frozenset[str]] = TopologicalSorter()
    for step in plan:
        order.add(step.id, step.needs, step.after)
    for ids in {ids for step in plan for ids in (step.needs, step.after)}:
        order.add(ids, *ids)
    order.prepare()
    return order


def _ready(order: TopologicalSorter[str | frozenset[str]]) -> Iterator[str]:
    """The steps that can start now. A set has nothing to do: it is over as soon as its steps are."""
    while found := order.get_ready():
        for node in found:
            if isinstance(node, str):
                yield node
            else:
                order.done(node)


@contextmanager
def _waking(over: queue.SimpleQueue[str]) -> Iterator[None]:
    """Have the first Ctrl-C wake up whoever waits for a step's end, where Python would raise at any odd moment.

    Between taking a step and starting it that would lose the step, and the run would wait for it forever.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = False

    def press(_number: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        over.put(_PRESSED)  # a SimpleQueue may be put to in a signal handler

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _next(over: queue.SimpleQueue[str]) -> str:
    ended = over.get()
    if ended == _PRESSED:
        raise KeyboardInterrupt
    return ended


class _Runner:
    """One step in its thread: skip it or perform it, report and record what came of it."""

    def __init__(
        self,
        perform: Perform,
        report: Reporter,
        stop: threading.Event,
        summary: Summary,
        over: queue.SimpleQueue[str],
        clock: Callable[[], float],
    ) -> None:
        self._perform = perform
        self._report = report
        self._stop = stop
        self._summary = summary
        self._over = over
        self._clock = clock
        self._lock = threading.Lock()
        #: the ids of the steps that failed or were skipped
        self._lost: set[str] = set()

    def __call__(self, step: Step) -> None:
        try:
            reason = self._reason_to_skip(step)
            if reason:
                self._record(self._summary.skipped, step, lost=True)
                self._report(StepSkipped(step.id, step.subject, step.verb, reason))
            else:
                self._run(step)
        finally:
            self._over.put(step.id)

    def _reason_to_skip(self, step: Step) -> str:
        with self._lock:
            missing = min(step.needs & self._lost, default=None)
        if missing:
            return f"needs {missing}"
        return "interrupted" if self._stop.is_set() else ""

    def _run(self, step: Step) -> None:
        began = self._clock()
        self._report(StepStarted(step.id, step.subject, step.verb, step.cause))

        def say(text: str) -> None:
            self._report(StepProgress(step.id, step.subject, text))

        try:
            outcome = self._perform(step, say)
        except Exception as failure:  # noqa: BLE001 # whatever it is, the other machines go on
            self._record(self._summary.failed, step, lost=True)
            text = str(failure) if isinstance(failure, ProvisionError) else _unexpected(failure)
            self._report(StepFailed(step.id, step.subject, step.verb, self._clock() - began, text))
            return
        self._record(self._summary.done, step)
        if outcome.changed:
            self._record(self._summary.changed, step)
        seconds = self._clock() - began
        self._report(StepDone(step.id, step.subject, step.verb, seconds, outcome.changed, outcome.note))

    def _record(self, where: list[str], step: Step, *, lost: bool = False) -> None:
        with self._lock:
            where.append(step.id)
            if lost:
                self._lost.add(step.id)


def _unexpected(failure: Exception) -> str:
    frames = traceback.extract_tb(failure.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    hint = "this is a defect of provision; please report it"
    return f"unexpected {type(failure).__name__}: {failure}{place}\n\nhint: {hint}"
