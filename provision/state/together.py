"""Many threads that each want a small change written: whoever comes first writes for all who wait by then.

A durable write costs a few milliseconds of disk, whatever it holds; fifty machines that are adopted at once would queue
for fifty of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Change = TypeVar("Change")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Change, Result]):
    change: Change
    done: bool = False
    result: Result | None = None
    error: BaseException | None = None


class Together(Generic[Change, Result]):
    """Hands changes to `write` in batches, in the order in which they came; one batch at a time.

    `write` returns a result for each change, or an exception for that change's caller alone; what it raises, every
    caller of the batch gets.
    """

    def __init__(self, write: Callable[[Sequence[Change]], Sequence[Result | BaseException]]) -> None:
        self._write = write
        self._turn = threading.Lock()
        self._door = threading.Lock()
        self._waiting: list[_Waiting[Change, Result]] = []

    def __call__(self, change: Change) -> Result:
        """Return when the change is written, alone or along with others."""
        mine: _Waiting[Change, Result] = _Waiting(change)
        with self._door:
            self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                with self._door:
                    batch, self._waiting = self._waiting, []
                self._commit(batch)
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]  # set with `done`, or there is an error

    def _commit(self, batch: list[_Waiting[Change, Result]]) -> None:
        try:
            pairs = list(zip(batch, self._write([waiting.change for waiting in batch]), strict=True))
        except Exception as error:  # noqa: BLE001  # it belongs to the callers, each in its thread
            pairs = [(waiting, error) for waiting in batch]
        except BaseException:
            for waiting in batch:
                waiting.error, waiting.done = (
                    InterruptedError("the thread that wrote for this one was interrupted"),
                    True,
                )
            raise
        for waiting, answer in pairs:
            if isinstance(answer, BaseException):
                waiting.error = answer
            else:
                waiting.result = answer
            waiting.done = True
