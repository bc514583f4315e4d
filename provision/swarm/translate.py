"""The errors of the engine, of HTTP and of the channel turned into ours."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager

from provision.errors import ProvisionError
from provision.swarm.channel import DialError
from provision.swarm.errors import EngineError, EngineRefusedError, EngineUnavailableError
from provision.swarm.transport import Refusal


@contextmanager
def translated(machine: str, what: str) -> Iterator[None]:
    """Within it, whatever the engine or the way to it fails with is raised as an `EngineError`.

    `what` completes "cannot …". Errors that are ours already (the connection's, say) pass unchanged.
    """
    try:
        yield
    except ProvisionError:
        raise
    except Refusal as exc:
        raise _refused(machine, what, exc) from exc
    except (http.client.HTTPException, OSError, ValueError) as exc:  # the last: an answer that is no JSON
        own = next((error for error in _chain(exc) if isinstance(error, ProvisionError)), None)
        if own is not None:
            raise own from exc
        raise _unavailable(machine, what, exc) from exc


def _refused(machine: str, what: str, exc: Refusal) -> EngineRefusedError:
    message = exc.message.strip().rstrip(".")
    hint = ""
    if "swarm is encrypted and needs to be unlocked" in message.lower():
        hint = f"it restarted with autolock on; unlock it: provision ssh {machine} -t docker swarm unlock"
    return EngineRefusedError(machine, what, exc.status, message, hint=hint)


def _unavailable(machine: str, what: str, exc: BaseException) -> EngineError:
    for error in _chain(exc):
        if isinstance(error, DialError):
            return EngineUnavailableError(machine, what, str(error), hint=_dial_hint(str(error)))
        if isinstance(error, TimeoutError):
            return EngineUnavailableError(machine, what, "the engine was silent for too long")
    return EngineUnavailableError(machine, what, " ".join(str(exc).split()) or type(exc).__name__)


def _dial_hint(stderr: str) -> str:
    text = stderr.lower()
    if "permission denied" in text:
        return "the SSH user may not use Docker; it needs root, password-free sudo, or the group docker"
    if "not found" in text:
        return "Docker Engine is not installed there"
    if "cannot connect to the docker daemon" in text or "connection refused" in text:
        return "the engine does not run; its log: journalctl -u docker"
    return ""


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and what it was made from."""
    seen: set[int] = set()
    queue: list[object] = [exc]
    while queue:
        error = queue.pop(0)
        if not isinstance(error, BaseException) or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        queue += [error.__cause__, error.__context__]
