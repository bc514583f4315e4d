"""Failures only, in full, as they happen."""

from __future__ import annotations

from typing import TextIO

from provision.display.text import failure, write_line
from provision.events import Event, StepFailed


class QuietRenderer:
    """Writes nothing for a run that goes well."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self) -> None:
        """Nothing to do."""

    def show(self, event: Event) -> None:
        """Write a failed step with its hint; anything else is not shown."""
        if isinstance(event, StepFailed):
            write_line(self._stream, failure(event))

    def close(self) -> None:
        """Nothing is owed."""
