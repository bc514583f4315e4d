"""Running a plan with everything around it: events to display and log, history, what this machine learns of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from provision.display.fanout import fan_out
from provision.errors import InterruptedRunError, RunError
from provision.events import Notice, Reporter
from provision.execution.scheduler import Summary, run
from provision.execution.world import World
from provision.operations.place import Place
from provision.planning.plan import Plan, count
from provision.planning.wanted import Wanted
from provision.state import history
from provision.state.history import RunRecord
from provision.state.lock import this_process
from provision.state.redact import Redactor
from provision.state.runlog import RunLog

#: makes the display of a run; a context manager that is a Reporter
MakeDisplay = Callable[[], AbstractContextManager[Reporter]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How an operation was called: the words for the history, and where its events go."""

    command: str
    words: Sequence[str]
    display: MakeDisplay
    log: RunLog
    redactor: Redactor
    #: told what went wrong and is not worth a failed run
    warn: Callable[[str], None]


def apply(world: World, place: Place, plan: Plan, wanted: Wanted | None, call: Call) -> Summary:
    """Run every step; the display shows it, log and history keep it. Never raises for a failed step."""
    from provision.execution.perform import Performer  # a run that finds nothing to do needs none of it

    began = datetime.now(UTC)
    clock = time.monotonic()
    summary: Summary | None = None
    try:
        with call.display() as display:
            report = fan_out(display, call.log, redact=world.redactor)
            for notice in plan.notices:
                report(Notice(notice, "warning"))
            summary = run(plan, Performer(world, wanted), command=call.command, report=report, stop=world.stop)
    finally:
        _remember(place, world, call, began, summary, time.monotonic() - clock)
    return summary


def check(summary: Summary, call: Call, *, again: str) -> None:
    """Raise RunError unless every step is done; `again` is the command that carries on."""
    if summary.good:
        return
    if summary.interrupted:
        raise InterruptedRunError(again, str(call.log.path))
    lost = f", {count(len(summary.skipped), 'step')} not tried" if summary.skipped else ""
    raise RunError(
        f"{count(len(summary.failed), 'step')} failed{lost}",
        detail=f"the whole log: {call.log.path}",
        hint=f"mend the cause and carry on with: {again}",
    )


def _remember(place: Place, world: World, call: Call, began: datetime, summary: Summary | None, seconds: float) -> None:
    paths = place.paths(world.cluster)
    if not paths.folder.exists():
        return  # `down` took it
    result = "interrupted" if summary is None or summary.interrupted else "done" if summary.good else "failed"
    history.append(
        paths,
        RunRecord(
            time=began,
            command=tuple(call.words),
            user=this_process(()).user,
            result=result,
            seconds=seconds,
            done=len(summary.done) if summary else 0,
            changed=len(summary.changed) if summary else 0,
            failed=len(summary.failed) if summary else 0,
            skipped=len(summary.skipped) if summary else 0,
            log=str(call.log.path),
        ),
    )
