"""The debug log that every run leaves: all events and what else was said, without secrets."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from provision.events import Event, StepProgress
from provision.state.errors import StateError
from provision.state.paths import ClusterPaths
from provision.state.redact import Redactor

Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


def open_run_log(paths: ClusterPaths, command: str, redactor: Redactor, *, now: Now = utc_now) -> RunLog:
    """A new log `logs/<UTC time>-<command>.log`, 0600.

    The folders are made. Raises StateError when it cannot be.
    """
    word = re.sub(r"[^A-Za-z0-9]+", "-", command).strip("-") or "run"
    stem = f"{now():%Y%m%dT%H%M%SZ}-{word}"
    paths.make()
    try:
        for number in range(1, 1000):
            path = paths.logs / (f"{stem}.log" if number == 1 else f"{stem}-{number}.log")
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            except FileExistsError:
                continue
            # line by line, so that a killed run's log says how far it came
            return RunLog(path, os.fdopen(handle, "w", buffering=1, encoding="utf-8"), redactor, now=now)
    except OSError as error:
        raise StateError(f"cannot write a log in {paths.logs}", detail=str(error)) from error
    raise StateError(f"cannot write a log in {paths.logs}", detail=f"{stem}.log exists a thousand times")


class RunLog:
    """A log that is open. A Reporter, so events can be handed to it as to a display; threads may share it.

    Once open it never raises: a full disk must not fail a run. What could not be written is missing.
    """

    def __init__(self, path: Path, file: IO[str], redactor: Redactor, *, now: Now = utc_now) -> None:
        self.path = path
        self._file = file
        self._redact = redactor
        self._now = now
        self._guard = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write all that the event says."""
        if isinstance(event, StepProgress):  # a command's output: as it came
            self.line(event.text, source=event.subject)
            return
        values = {field.name: getattr(event, field.name) for field in fields(event)}
        subject = values.pop("subject", "provision")
        long = {key: value for key, value in values.items() if isinstance(value, str) and "\n" in value}
        words = [f"{key}={json.dumps(value)}" for key, value in values.items() if key not in long]
        texts = [f"{key}: {text}" for key, text in long.items()]
        self.line("\n".join([" ".join([type(event).__name__, *words]), *texts]), source=subject)

    def line(self, text: str, *, source: str = "provision") -> None:
        """Write free text, with the time and who says it.

        Further lines of it are indented under the first.
        """
        with self._guard:
            clean = self._redact(text, source=source)
            time = self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            indented = "\n    ".join(clean.splitlines() or [""])
            try:
                self._file.write(f"{time} {source}: {indented}\n")
            except (OSError, ValueError):
                return  # ValueError: closed, a late thread's last word

    def close(self) -> None:
        """End the log; lines that come later are dropped."""
        with self._guard:
            try:
                self._file.close()
            except OSError:
                return

    def __enter__(self) -> Self:
        """Use as a context manager: it is closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; an exception passes through."""
        self.close()


def prune_logs(paths: ClusterPaths, *, keep: int = 50) -> None:
    """Remove all but the newest `keep` logs. Their names begin with the time, so the order is the names'."""
    if not paths.logs.is_dir():
        return
    for log in sorted(paths.logs.glob("*.log"))[:-keep]:
        log.unlink(missing_ok=True)
