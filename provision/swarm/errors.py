"""What can go wrong between us and a machine's engine. Each summary names the machine and what was asked."""

from __future__ import annotations

from provision.errors import ProvisionError


class EngineError(ProvisionError):
    """The Engine API of a machine did not do what was asked."""

    def __init__(self, machine: str, what: str, cause: str, *, hint: str = "") -> None:
        super().__init__(f"{machine}: cannot {what}: {cause}", hint=hint)
        self.machine = machine
        self.cause = cause


class EngineUnavailableError(EngineError):
    """The engine gave no answer: it is stopped, restarting, silent past the deadline, or not ours to use.

    Worth asking again for who has time; nothing is known of whether the engine did what was asked.
    """


class EngineRefusedError(EngineError):
    """The engine answered with an error. `status` is the HTTP status, `message` the engine's own words."""

    def __init__(self, machine: str, what: str, status: int, message: str, *, hint: str = "") -> None:
        super().__init__(machine, what, message, hint=hint)
        self.status = status
        self.message = message


class JoinError(EngineError):
    """A machine did not become a member of the swarm; the cause is the engine's last word on it."""
