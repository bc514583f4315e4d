"""One run, several readers: the display, the run log, what a test keeps."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Protocol

from provision.events import Event, Reporter, StepProgress


class Redact(Protocol):
    """Takes secrets out of text.

    `source` names a stream whose lines come one by one (`provision.state.redact`).
    """

    def __call__(self, text: str, *, source: str | None = None) -> str:
        """The text without secrets."""
        ...


def fan_out(*reporters: Reporter, redact: Redact) -> Reporter:
    """A Reporter that hands each event to all of these in order, its texts passed through `redact` first."""

    def report(event: Event) -> None:
        safe = redacted(event, redact)
        for reporter in reporters:
            reporter(safe)

    return report


def redacted(event: Event, redact: Redact) -> Event:
    """The same event with `redact` applied to every text in it; `step` is an identity and stays."""
    # a step's output may hold a key that spans several lines, each an event of its own
    source = event.step if isinstance(event, StepProgress) else None
    texts: dict[str, Any] = {
        field.name: redact(value, source=source if field.name == "text" else None)
        for field in fields(event)
        if field.name != "step" and isinstance(value := getattr(event, field.name), str)
    }
    return replace(event, **texts)
