"""One line for each event, for files, pipes and logs of CI systems. Stable: no control codes, no columns."""

from __future__ import annotations

from typing import TextIO

from provision.display import text
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


class PlainRenderer:
    """Lines that begin with their subject. Failures come again at the end, in full, each once.

    Verbosity 1 adds the cause to a step's start, 2 also shows what running steps say.
    """

    def __init__(self, stream: TextIO, *, verbosity: int = 0) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._run: RunStarted | None = None
        self._failures: dict[str, StepFailed] = {}

    def start(self) -> None:
        """Nothing to do."""

    def show(self, event: Event) -> None:
        """Write the event's line, if it has one at this verbosity."""
        if isinstance(event, RunStarted):
            self._run = event
        if isinstance(event, StepFailed):
            self._failures[event.step] = event
        if isinstance(event, RunFinished):
            self.close()
            text.write_line(self._stream, text.finished(event, self._run))
            return
        for line in self._lines(event):
            text.write_line(self._stream, line)

    def close(self) -> None:
        """Write the failures that are still owed."""
        for event in self._failures.values():
            text.write_line(self._stream, f"\n{text.failure(event)}")
        if self._failures:
            text.write_line(self._stream, "")
        self._failures = {}

    def _lines(self, event: Event) -> list[str]:
        if isinstance(event, RunStarted):
            return [text.started(event)]
        if isinstance(event, Notice):
            return [text.notice(event)]
        if isinstance(event, RunFinished):
            return []
        if isinstance(event, StepProgress):
            said = text.clean(event.text).splitlines() if self._verbosity > 1 else []
            return [f"{event.subject}: | {line.rstrip()}" for line in said]
        return [text.one_line(f"{event.subject}: {event.verb}{self._outcome(event)}")]

    def _outcome(self, event: StepStarted | StepDone | StepFailed | StepSkipped) -> str:
        if isinstance(event, StepStarted):
            return f" ({event.cause})" if self._verbosity and event.cause else ""
        if isinstance(event, StepSkipped):
            return f": skipped, {event.reason}"
        after = text.duration(event.seconds)
        if isinstance(event, StepFailed):
            first = (event.error.strip().splitlines() or ["no reason was given"])[0]
            return f": failed after {after}: {first}"
        word = "done" if event.changed else "no change"
        return f": {word} after {after}" + (f", {event.note}" if event.note else "")
