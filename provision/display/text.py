"""Events in words, and words made safe to print."""

from __future__ import annotations

import re
from typing import TextIO

from provision.events import Notice, RunFinished, RunStarted, StepFailed

# escape sequences first (a colour, a cursor's move, a title), then every control character that is left
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """The text without control codes: what a host says must not move this terminal's cursor.

    Keeps tab, newline.
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def one_line(text: str) -> str:
    """Cleaned, and all white space as single blanks."""
    return " ".join(clean(text).split())


def duration(seconds: float) -> str:
    """`0.3 s`, `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def started(event: RunStarted) -> str:
    """The first line of a run."""
    count = "1 step" if event.steps == 1 else f"{event.steps} steps"
    return one_line(f"{event.cluster}: {event.command}, {count}")


def finished(event: RunFinished, run: RunStarted | None) -> str:
    """The last line of a run: what it was, how long it took, how many steps came to what."""
    counts = [f"{event.done} done", f"{event.changed} changed"]
    if event.failed:
        counts.append(f"{event.failed} failed")
    if event.skipped:
        counts.append(f"{event.skipped} skipped")
    who = f"{run.cluster}: {run.command}" if run else "run"
    word = "failed" if event.failed else "finished"
    return one_line(f"{who} {word} after {duration(event.seconds)}: {', '.join(counts)}")


def notice(event: Notice) -> str:
    """A notice, with a word for its level."""
    return f"{'warning' if event.level == 'warning' else 'note'}: {one_line(event.text)}"


def failure(event: StepFailed) -> str:
    """A failed step in full: what it was, then its whole error, indented; several lines."""
    head = one_line(f"{event.subject}: {event.verb} failed after {duration(event.seconds)}")
    body = [f"    {line}".rstrip() for line in clean(event.error).strip().splitlines()]
    return "\n".join([head, *body])


def write_line(stream: TextIO, text: str) -> None:
    """Write and flush a line; characters that the stream's encoding lacks are written as escapes."""
    try:
        stream.write(f"{text}\n")
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
