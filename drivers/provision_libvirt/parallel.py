"""The same thing on several machines at once, and within a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import TypeVar

from provision.errors import DeadlineError, DriverError, ProvisionError

Result = TypeVar("Result")


def at_once(what: str, work: Mapping[str, Callable[[], Result]], *, seconds: float) -> dict[str, Result]:
    """Do all of it at the same time, a thread each; the results by name, when all of it is done.

    Waits for those that go on when one fails. Raises DriverError with what each failed of, or DeadlineError after
    `seconds`: what hangs in libvirt is left to its thread, which nobody waits for.
    """
    deadline = time.monotonic() + seconds
    ended: SimpleQueue[tuple[str, Result | None, BaseException | None]] = SimpleQueue()
    for name, call in work.items():
        threading.Thread(target=_run, args=(name, call, ended), name=f"{what} {name}", daemon=True).start()
    results: dict[str, Result] = {}
    failures: dict[str, BaseException] = {}
    while len(results) + len(failures) < len(work):
        try:
            name, result, failure = ended.get(timeout=max(deadline - time.monotonic(), 0.0))
        except Empty:
            late = ", ".join(name for name in work if name not in results and name not in failures)
            raise DeadlineError(f"{what}: {late}", seconds, _cause(failures)) from None
        if failure is None:
            results[name] = result  # type: ignore[assignment] # there is one where nothing failed
        else:
            failures[name] = failure
    if failures:
        raise _sum(what, failures)
    return results


def _run(
    name: str, call: Callable[[], Result], ended: SimpleQueue[tuple[str, Result | None, BaseException | None]]
) -> None:
    try:
        ended.put((name, call(), None))
    except BaseException as failure:  # noqa: BLE001 # raised again where it is waited for
        ended.put((name, None, failure))


def _cause(failures: Mapping[str, BaseException]) -> str:
    return "; ".join(str(failure) for failure in failures.values()) or "libvirt has not answered"


def _sum(what: str, failures: Mapping[str, BaseException]) -> BaseException:
    """What all of them failed of, as one error; a single one, or a defect of ours, as it is."""
    for failure in failures.values():
        if len(failures) == 1 or not isinstance(failure, ProvisionError):
            return failure
    first = next(iter(failures.values()))
    error = DriverError(
        f"{what} failed on {', '.join(sorted(failures))}",
        detail="\n".join(
            f"    {failure.summary}" for failure in failures.values() if isinstance(failure, ProvisionError)
        ),
        hint=first.hint if isinstance(first, ProvisionError) else "",
    )
    error.__cause__ = first
    return error
