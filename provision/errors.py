"""The errors that a user sees. The exit code belongs to the class.

Messages are lower case without a final period and name what and which; the hint says what to type next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class ProvisionError(Exception):
    """Something that a user can understand and act on: a summary, a detail (may be several lines), a hint."""

    exit_code: ClassVar[int] = 1

    def __init__(self, summary: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        """The whole text: summary, detail and hint, each on lines of its own."""
        parts = [self.summary]
        if self.detail:
            parts.append(self.detail)
        if self.hint:
            parts.append(f"\nhint: {self.hint}")
        return "\n".join(parts)


class UsageError(ProvisionError):
    """The command line asks for something that cannot be meant."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in an inventory: where it is (1-based line and column; 0 when unknown), what it is, what to do."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    source: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """`file:line:column: message`, then the line itself with a caret, then the hint."""
        text = f"{self.file}:{self.line}:{self.column}: {self.message}" if self.line else self.message
        if self.source:
            text += f"\n    {self.source}\n    {' ' * (self.column - 1)}^"
        if self.hint:
            text += f"\n    hint: {self.hint}"
        return text


class InventoryError(ProvisionError):
    """Every problem of an inventory at once."""

    exit_code = 3

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"the inventory has {count}", detail="\n".join(str(problem) for problem in problems))
        self.problems = problems


class LockedError(ProvisionError):
    """Another command works on the cluster."""

    exit_code = 4

    def __init__(self, cluster: str, owner: str) -> None:
        super().__init__(
            f"cluster {cluster!r} is locked by {owner}",
            hint=f"wait for it, or if it is gone for good: provision unlock -c {cluster}",
        )


class PlanError(ProvisionError):
    """What was observed contradicts the inventory in a way that provision will not resolve by itself."""

    def __init__(self, problems: tuple[ProvisionError, ...]) -> None:
        super().__init__(
            "nothing was changed, because the plan is not safe",
            detail="\n\n".join(str(problem) for problem in problems),
        )
        self.problems = problems


class RunError(ProvisionError):
    """Some steps of a run failed; the display has shown each, this is the sum."""


class InterruptedRunError(ProvisionError):
    """The user stopped a run; what was running has ended, the rest was not begun. 128 + SIGINT, as shells have it."""

    exit_code = 130

    def __init__(self, again: str, log: str) -> None:
        super().__init__("interrupted", detail=f"the whole log: {log}", hint=f"carry on with: {again}")


class DriverError(ProvisionError):
    """A driver's provider refused or failed; raised `from` the provider's own error."""


class UnreachableError(ProvisionError):
    """A host did not answer before the deadline. The last cause is part of the summary."""


class HostKeyError(ProvisionError):
    """A host's key is unknown, or not the one that is known. Never retried, never ignored."""


class CommandError(ProvisionError):
    """A command on a host failed: says the machine, the command, the exit status and the last lines of stderr."""

    def __init__(self, machine: str, command: str, status: int, output: str, *, hint: str = "") -> None:
        last = "\n".join(f"    {line}" for line in output.strip().splitlines()[-8:])
        super().__init__(f"{machine}: {command!r} exited with status {status}", detail=last, hint=hint)
        self.machine = machine
        self.status = status
        self.output = output


class DeadlineError(ProvisionError):
    """A wait ended without what it waited for; carries the last cause."""

    def __init__(self, what: str, seconds: float, cause: str, *, hint: str = "") -> None:
        super().__init__(f"{what} took more than {seconds:.0f} s", detail=f"last: {cause}", hint=hint)
