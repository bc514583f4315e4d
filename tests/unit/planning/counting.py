"""How much work something is, counted and not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def calls(work: Callable[[], object]) -> int:
    """The calls that Python makes for it in this thread; each turn of a generator is one. The second time counts, when
    what is remembered from call to call is there."""
    work()
    found = 0

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found


def growth(work: Callable[[int], Callable[[], object]], *, size: int = 40) -> float:
    """By what the work grows when what was added is doubled: 2 where it is linear, 4 where it is quadratic."""
    one, two, four = (calls(work(size * times)) for times in (1, 2, 4))
    return (four - two) / (two - one)
