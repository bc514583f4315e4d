"""A live view for a terminal: what runs, with elapsed time, below what is done, which scrolls away.

rich is imported when a terminal is drawn on, and not before: it costs a tenth of a second.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from provision.display import text
from provision.display.running import Running
from provision.events import (
    Event,
    Notice,
    RunFinished,
    RunStarted,
    StepDone,
    StepFailed,
    StepSkipped,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

_BRAILLE = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_INTERVAL = 0.1


class TtyRenderer:
    """Draws on a terminal with rich. Every outcome has its word; colour only repeats it.

    Verbosity 1 adds causes. `color` None leaves it to the terminal's abilities.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        verbosity: int = 0,
        color: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._clock = clock
        self._console = _console(stream, color=color)
        self._view = _View(clock, frames=_frames(stream), causes=verbosity > 0)
        self._live: Live | None = None
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None
        self._run: RunStarted | None = None
        self._failures: dict[str, StepFailed] = {}

    def start(self) -> None:
        """Take over the lower lines of the terminal."""
        from rich.live import Live

        self._live = Live(
            self._view,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        # a thread of our own: rich's would die with a traceback when the terminal goes away
        self._ticker = threading.Thread(target=self._tick, name="display", daemon=True)
        self._ticker.start()

    def show(self, event: Event) -> None:
        """Draw the event."""
        # replaced as a whole and never changed, so the ticker needs no lock to read it
        self._view.running = self._view.running.after(event, self._clock())
        if isinstance(event, RunStarted):
            self._run = event
        if isinstance(event, StepFailed):
            self._failures[event.step] = event
        if isinstance(event, RunFinished):
            self.close()
            style = "bold red" if event.failed else "bold green"
            self._print(text.finished(event, self._run), style)
            return
        line = _line(event)
        if line is not None:
            self._print(*line)

    def close(self) -> None:
        """Give the terminal back, then write the failures that are still owed, in full.

        May be called again.
        """
        self._ended.set()
        if self._ticker is not None:
            self._ticker.join()
            self._ticker = None
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
        failures, self._failures = self._failures, {}
        for event in failures.values():
            self._print(f"\n{text.failure(event)}", "")
        if failures:
            self._print("", "")

    def _tick(self) -> None:
        live = self._live
        while live is not None and not self._ended.wait(_INTERVAL):
            try:
                live.refresh()
            except (OSError, ValueError):
                return

    def _print(self, line: str, style: str) -> None:
        from rich.text import Text

        # Text, not str: brackets in a message are no markup
        self._console.print(Text(line, style=style), soft_wrap=True)


class _View:
    """What rich draws anew several times a second."""

    def __init__(self, clock: Callable[[], float], *, frames: str, causes: bool) -> None:
        self.running = Running()
        self._clock = clock
        self._frames = frames
        self._causes = causes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        lines = self.running.lines(
            now=self._clock(),
            width=options.max_width,
            height=console.size.height,
            frames=self._frames,
            causes=self._causes,
        )
        if lines:
            yield Text("\n".join(lines), no_wrap=True, overflow="crop")


def _line(event: Event) -> tuple[str, str] | None:
    if isinstance(event, RunStarted):
        return text.started(event), "bold"
    if isinstance(event, Notice):
        return text.notice(event), "yellow" if event.level == "warning" else ""
    if isinstance(event, StepDone):
        word = "done" if event.changed else "no change"
        note = f", {event.note}" if event.note else ""
        line = f"{event.subject}: {event.verb}: {word} after {text.duration(event.seconds)}{note}"
        return text.one_line(line), "green" if event.changed else "dim"
    if isinstance(event, StepFailed):
        return text.one_line(f"{event.subject}: {event.verb}: failed after {text.duration(event.seconds)}"), "red"
    if isinstance(event, StepSkipped):
        return text.one_line(f"{event.subject}: {event.verb}: skipped, {event.reason}"), "yellow"
    return None


def _console(stream: TextIO, *, color: bool | None) -> Console:
    from rich.console import Console

    class QuietConsole(Console):
        # rich's own ends the process and points stdout at /dev/null when a pipe breaks
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "nobody reads this display any more")

    return QuietConsole(
        file=stream,
        force_terminal=True,
        color_system="standard" if color else "auto",
        no_color=color is False,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def _frames(stream: TextIO) -> str:
    try:
        _BRAILLE.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "|/-\\"
    return _BRAILLE
