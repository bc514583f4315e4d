"""Which display a run gets."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TextIO

from provision.display.base import Display, GuardedDisplay, Renderer
from provision.errors import UsageError

MODES = ("auto", "tty", "plain", "json", "quiet")


def make_display(progress: str, stream: TextIO, environ: Mapping[str, str], *, verbosity: int = 0) -> Display:
    """The display of that name, writing to `stream` (stderr: stdout is for data).

    `auto` is the live view on a terminal that can show it and plain lines elsewhere, in CI too. NO_COLOR
    takes the live view's colours away, FORCE_COLOR keeps them where the terminal claims to have none;
    NO_COLOR wins. Plain lines never have any. `tty` on a dumb terminal is plain. Raises UsageError for a name
    that there is not.
    """
    if progress not in MODES:
        close = difflib.get_close_matches(progress, MODES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(MODES)}"
        raise UsageError(f"there is no progress display {progress!r}", hint=hint)
    mode = _auto(stream, environ) if progress == "auto" else progress
    if mode == "tty" and environ.get("TERM") == "dumb":
        mode = "plain"
    return GuardedDisplay(_renderer(mode, stream, environ, verbosity=verbosity))


def _auto(stream: TextIO, environ: Mapping[str, str]) -> str:
    in_ci = environ.get("CI", "").lower() not in {"", "0", "false"}
    return "tty" if stream.isatty() and not in_ci else "plain"


def _renderer(mode: str, stream: TextIO, environ: Mapping[str, str], *, verbosity: int) -> Renderer:
    # imported here, so that a run pays only for the display that it has
    if mode == "json":
        from provision.display.jsonl import JsonRenderer

        return JsonRenderer(stream)
    if mode == "quiet":
        from provision.display.quiet import QuietRenderer

        return QuietRenderer(stream)
    if mode == "tty":
        from provision.display.tty import TtyRenderer

        return TtyRenderer(stream, verbosity=verbosity, color=_color(environ))
    from provision.display.plain import PlainRenderer

    return PlainRenderer(stream, verbosity=verbosity)


def _color(environ: Mapping[str, str]) -> bool | None:
    # any value but the empty one counts, as no-color.org and force-color.org say
    if environ.get("NO_COLOR"):
        return False
    return True if environ.get("FORCE_COLOR") else None
