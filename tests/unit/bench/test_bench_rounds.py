"""Who goes when: a turn must not always pay for the same one before it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from bench.rounds import turns


@pytest.mark.parametrize(("count", "number"), [(2, 2), (3, 6), (4, 4), (5, 10)])
def test_everybody_comes_as_often_after_each_of_the_others(count: int, number: int) -> None:
    rows = [turns(count, index) for index in range(number)]
    assert all(sorted(row) == list(range(count)) for row in rows)
    after = Counter(pair for row in rows for pair in pairwise(row))
    assert len(after) == count * (count - 1)
    assert len(set(after.values())) == 1
