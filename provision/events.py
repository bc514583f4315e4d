"""What happens during a run, as values. Displays and the run log read them; nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins: the cluster, the command's name (`up`, `down`, …) and how many steps it will take."""

    cluster: str
    command: str
    steps: int


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins. `step` is unique in the run; `subject` is a machine, a stack or the cluster."""

    step: str
    subject: str
    verb: str
    cause: str


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A line about a running step: the fragment it is at, the cause that a wait waits on, a command's output."""

    step: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step ended well. `changed` is False when it found nothing to do; `note` says what came of it."""

    step: str
    subject: str
    verb: str
    seconds: float
    changed: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step failed. `error` is the whole text for the user, hint included."""

    step: str
    subject: str
    verb: str
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """A step was not tried, because what it needs failed or the run was interrupted; `reason` says which."""

    step: str
    subject: str
    verb: str
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing that is no step: `level` is `info` or `warning`."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over."""

    done: int
    changed: int
    failed: int
    skipped: int
    seconds: float


Event: TypeAlias = RunStarted | StepStarted | StepProgress | StepDone | StepFailed | StepSkipped | Notice | RunFinished

#: Takes events from any thread; must not raise.
Reporter: TypeAlias = Callable[[Event], None]
