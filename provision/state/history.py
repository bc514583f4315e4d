"""What was run on a cluster, one line of JSON for each run."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from provision.state.errors import StateError
from provision.state.paths import ClusterPaths


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run: when it began, what was typed, by whom, what came of it.

    `result` is `done`, `failed` or `interrupted`; `log` the path of its debug log; counts are of steps.
    """

    time: datetime
    command: tuple[str, ...]
    user: str
    result: str
    seconds: float
    done: int = 0
    changed: int = 0
    failed: int = 0
    skipped: int = 0
    log: str | None = None


def append(paths: ClusterPaths, record: RunRecord) -> None:
    """Add a run, durable on return. Raises StateError when it cannot be written."""
    values = {
        **asdict(record),
        "time": record.time.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(record.seconds, 3),
    }
    line = json.dumps(values).encode() + b"\n"
    try:
        handle = os.open(paths.history, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # a run that was killed while writing left half a line; it must not take this one with it
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StateError(f"cannot write {paths.history}", detail=str(error)) from error


def read(paths: ClusterPaths) -> tuple[RunRecord, ...]:
    """All runs, oldest first; lines that are no records (cut off by a crash) are left out."""
    try:
        text = paths.history.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StateError(f"cannot read {paths.history}", detail=str(error)) from error
    records = (_record(line) for line in text.splitlines())
    return tuple(record for record in records if record is not None)


def _record(line: str) -> RunRecord | None:
    try:
        raw: dict[str, Any] = json.loads(line)
        known = {field.name: raw[field.name] for field in fields(RunRecord) if field.name in raw}
        record = RunRecord(**known)
        return replace(
            record,
            time=datetime.fromisoformat(raw["time"]),
            command=tuple(str(word) for word in raw["command"]),
        )
    except (ValueError, TypeError, KeyError):
        return None
