"""What `cloud-init status --format json` answers. Pure; knows the words of 22.4 to 25."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a first boot stands. `degraded`: done, but it warned."""

    DONE = "done"
    DEGRADED = "degraded"
    RUNNING = "running"
    ERROR = "error"
    DISABLED = "disabled"
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class Status:
    """`errors` ended a module or a stage, `warnings` did not (22.4 tells none). `failed` names what broke: `module
    'runcmd'`, `stage 'init'`, or nothing. `detail` is where it stands, or which datasource it found."""

    state: State
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: str = ""
    detail: str = ""


_STAGES = ("init-local", "init", "modules-config", "modules-final")
#: an error of a module is the repr of its name and the exception
_MODULE_ERROR = re.compile(r"""^\(\s*['"](?P<name>[\w-]+)['"]\s*,\s*(?P<what>.*)\)$""", re.DOTALL)


def parse(output: str) -> Status:
    """The status in a command's output, whatever stands before it. Raises ValueError where there is none."""
    said = _document(output)
    errors = tuple(str(error) for error in said.get("errors") or ())
    warnings = _warnings(said.get("recoverable_errors") or {})
    return Status(
        state=_state(said, errors, warnings),
        errors=tuple(_plain(error) for error in errors),
        warnings=warnings,
        failed=_failed(said, errors),
        detail=_detail(said),
    )


def _document(output: str) -> Mapping[str, Any]:
    start, end = output.find("{"), output.rfind("}")
    if start < 0 or end < start:
        raise ValueError("no status in the answer")
    said = json.loads(output[start : end + 1])
    if not isinstance(said, dict) or "status" not in said:
        raise ValueError("no status in the answer")
    return said


def _state(said: Mapping[str, Any], errors: tuple[str, ...], warnings: tuple[str, ...]) -> State:
    """From 23.4 on `extended_status` adds `degraded done`, `error - running` and the like."""
    word, more = str(said["status"]), str(said.get("extended_status", ""))
    if errors or word.startswith("error"):
        return State.ERROR
    if word in ("not run", "not started"):
        return State.NOT_STARTED
    if word in ("running", "degraded running"):
        return State.RUNNING
    if word == "disabled":
        return State.DISABLED
    if word not in ("done", "degraded done", "degraded"):
        raise ValueError(f"unknown status {word!r}")
    return State.DEGRADED if warnings or "degraded" in word + more else State.DONE


def _warnings(recoverable: Mapping[str, Any]) -> tuple[str, ...]:
    """As `warning: …`, `error: …`, `deprecated: …`, each once."""
    found = [f"{level.lower()}: {text}" for level, texts in recoverable.items() for text in texts]
    return tuple(dict.fromkeys(found))


def _failed(said: Mapping[str, Any], errors: tuple[str, ...]) -> str:
    modules = [match["name"] for match in map(_MODULE_ERROR.match, errors) if match]
    if modules:
        names = ", ".join(repr(name) for name in dict.fromkeys(modules))
        return f"module {names}"
    stages = [name for name in _STAGES if isinstance(said.get(name), dict) and said[name].get("errors")]
    return f"stage {stages[0]!r}" if stages else ""


def _plain(error: str) -> str:
    """`runcmd: what happened` for a module's error; any other as it is."""
    match = _MODULE_ERROR.match(error)
    return f"{match['name']}: {match['what'].rstrip(',')}" if match else error


def _detail(said: Mapping[str, Any]) -> str:
    stage = said.get("stage")
    return f"running in stage {stage}" if stage else str(said.get("detail") or "")
