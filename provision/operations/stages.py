"""A few things to do one after the other, with all that a run has around it: events, log, history, how it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from provision.display.fanout import fan_out
from provision.errors import ProvisionError
from provision.events import (
    Reporter,
    RunFinished,
    RunStarted,
    StepDone,
    StepFailed,
    StepProgress,
    StepSkipped,
    StepStarted,
)
from provision.execution.scheduler import Outcome, Summary
from provision.operations.apply import Call, check
from provision.operations.place import Place
from provision.state import history
from provision.state.history import RunRecord
from provision.state.lock import this_process

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One thing to do, in words and as a function that is told where to say how far it is."""

    subject: str
    verb: str
    cause: str
    work: Callable[[Say], Outcome]

    @property
    def id(self) -> str:
        """Unique in a run."""
        return f"{self.subject}/{self.verb}"


def run_stages(cluster: str, stages: Sequence[Stage], place: Place, call: Call, *, again: str) -> None:
    """Do one after the other in this thread, until one fails: then raise RunError, with `again` as the way on.

    Ctrl-C goes straight to the stage that runs.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    summary = Summary(interrupted=True)
    try:
        with call.display() as display:
            report = fan_out(display, call.log, redact=call.redactor)
            report(RunStarted(cluster, call.command, len(stages)))
            for stage in stages:
                _run(stage, summary, report)
            summary.interrupted = False
            summary.seconds = time.monotonic() - clock
            report(_finished(summary))
    finally:
        _remember(cluster, place, call, began, summary, time.monotonic() - clock)
    check(summary, call, again=again)


def _run(stage: Stage, summary: Summary, report: Reporter) -> None:
    if summary.failed:
        summary.skipped.append(stage.id)
        report(StepSkipped(stage.id, stage.subject, stage.verb, f"needs {summary.failed[0]}"))
        return
    began = time.monotonic()
    report(StepStarted(stage.id, stage.subject, stage.verb, stage.cause))
    try:
        outcome = stage.work(lambda text: report(StepProgress(stage.id, stage.subject, text)))
    except ProvisionError as failure:
        summary.failed.append(stage.id)
        report(StepFailed(stage.id, stage.subject, stage.verb, time.monotonic() - began, str(failure)))
        return
    summary.done.append(stage.id)
    if outcome.changed:
        summary.changed.append(stage.id)
    seconds = time.monotonic() - began
    report(StepDone(stage.id, stage.subject, stage.verb, seconds, outcome.changed, outcome.note))


def _finished(summary: Summary) -> RunFinished:
    return RunFinished(
        done=len(summary.done),
        changed=len(summary.changed),
        failed=len(summary.failed),
        skipped=len(summary.skipped),
        seconds=summary.seconds,
    )


def _remember(cluster: str, place: Place, call: Call, began: datetime, summary: Summary, seconds: float) -> None:
    history.append(
        place.paths(cluster),
        RunRecord(
            time=began,
            command=tuple(call.words),
            user=this_process(()).user,
            result="interrupted" if summary.interrupted else "done" if summary.good else "failed",
            seconds=seconds,
            done=len(summary.done),
            changed=len(summary.changed),
            failed=len(summary.failed),
            skipped=len(summary.skipped),
            log=str(call.log.path),
        ),
    )
