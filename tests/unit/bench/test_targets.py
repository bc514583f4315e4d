"""What is compared, and when it counts as reached."""

from __future__ import annotations

import pytest

from bench.rounds import ratio
from bench.smoke import BOUND, verdict
from bench.targets import bounded, linear


def test_a_ratio_is_of_medians_and_its_span_of_pairs() -> None:
    found, least, most = ratio([1.0, 2.0, 9.0], [2.0, 4.0, 3.0])
    assert found == pytest.approx(2.0 / 3.0)
    assert (least, most) == (0.5, 3.0)


def test_a_ratio_needs_as_many_values_on_both_sides() -> None:
    with pytest.raises(ValueError, match="longer than"):
        ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("seconds", "straight"),
    [([1.0, 10.0, 50.0], True), ([1.0, 9.0, 40.0], True), ([1.0, 10.0, 100.0], False), ([1.0, 15.0, 60.0], False)],
)
def test_time_is_linear_when_a_host_costs_no_more_at_the_next_size(seconds: list[float], straight: bool) -> None:
    assert linear([100, 1000, 5000], seconds) is straight


@pytest.mark.parametrize(("seen", "good"), [([10, 70, 70], True), ([70], True), ([10, 70, 350], False)])
def test_threads_are_bounded_when_the_largest_size_takes_no_more(seen: list[int], good: bool) -> None:
    assert bounded(seen) is good


@pytest.mark.parametrize(("times", "good"), [(0.9, True), (BOUND, True), (BOUND + 0.1, False)])
def test_the_smoke_test_fails_above_its_bound_and_says_the_ratio(times: float, good: bool) -> None:
    said: list[str] = []
    assert verdict([times, times], [1.0, 1.0], say=said.append) is good
    assert f"{times:.2f} times" in said[0]
    assert ("met" if good else "exceeded") in said[0]
