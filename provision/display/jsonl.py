"""One JSON object for each event, for programs.

`type` is the event's name (`run_started`, `step_done`, …), `time` UTC as ISO 8601 with milliseconds, the rest
its fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TextIO

from provision.display.text import write_line
from provision.events import Event


class JsonRenderer:
    """JSON Lines; each line is flushed."""

    def __init__(self, stream: TextIO, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._stream = stream
        self._now = now

    def start(self) -> None:
        """Nothing to do."""

    def show(self, event: Event) -> None:
        """Write the event's object."""
        time = self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        write_line(self._stream, json.dumps({"time": time, "type": type_name(event), **asdict(event)}))

    def close(self) -> None:
        """Nothing is owed: every event was written as it came."""


def type_name(event: Event) -> str:
    """`StepDone` as `step_done`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
