"""Changes that come at once are written at once, and each caller hears of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.state.together import Together


class Slow:
    """Writes a batch only when it is let; numbers that are negative are refused."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, changes: Sequence[int]) -> Sequence[str | BaseException]:
        self.batches.append(list(changes))
        self.began.set()
        assert self.go_on.wait(10)
        return [ValueError(f"{change} is refused") if change < 0 else f"wrote {change}" for change in changes]


def test_those_that_come_while_one_writes_are_written_together() -> None:
    slow = Slow()
    together: Together[int, str] = Together(slow)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(together, 0)
        assert slow.began.wait(10)
        others = [pool.submit(together, number) for number in (1, 2, -3, 4)]
        while len(together._waiting) < 4:
            threading.Event().wait(0.001)
        slow.go_on.set()
        assert first.result(10) == "wrote 0"
        assert [others[index].result(10) for index in (0, 1, 3)] == ["wrote 1", "wrote 2", "wrote 4"]
        with pytest.raises(ValueError, match="-3 is refused"):
            others[2].result(10)
    assert [sorted(batch) for batch in slow.batches] == [[0], [-3, 1, 2, 4]]


def test_a_write_that_fails_or_answers_too_little_fails_for_everybody() -> None:
    def nothing(_changes: Sequence[int]) -> Sequence[str]:
        return []

    together: Together[int, str] = Together(nothing)
    with pytest.raises(ValueError, match="zip"):
        together(1)
