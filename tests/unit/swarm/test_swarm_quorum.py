"""Raft's arithmetic, by table."""

from __future__ import annotations

import pytest

from provision.swarm.quorum import has_quorum, majority, removal_is_safe, tolerates


@pytest.mark.parametrize(
    ("managers", "needed", "tolerated"), [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2), (7, 4, 3)]
)
def test_majority_and_tolerance_are_those_of_raft(managers: int, needed: int, tolerated: int) -> None:
    assert (majority(managers), tolerates(managers)) == (needed, tolerated)


@pytest.mark.parametrize(("managers", "reachable", "tolerated"), [(5, 4, 1), (5, 3, 0), (5, 2, 0), (3, 1, 0)])
def test_silent_managers_count_against_the_tolerance(managers: int, reachable: int, tolerated: int) -> None:
    assert tolerates(managers, reachable) == tolerated


def test_a_swarm_without_managers_has_no_quorum() -> None:
    assert not has_quorum(0, 0)


@pytest.mark.parametrize(
    ("managers", "reachable", "leaving", "leaving_reachable", "safe"),
    [
        (3, 3, 1, 1, True),  # 2 of 2 stay
        (2, 2, 1, 1, True),  # 1 of 1 stays, and both agree before
        (1, 1, 1, 1, False),  # the swarm would go with it
        (3, 3, 3, 3, False),
        (3, 2, 1, 0, True),  # the dead one goes: 2 of 2
        (3, 2, 1, 1, False),  # a live one goes: 1 of 2
        (3, 1, 1, 0, False),  # nobody can decide even that
        (5, 3, 2, 0, True),  # both dead ones go
        (5, 3, 1, 1, False),  # 2 of 4
        (5, 4, 2, 1, True),  # the dead one first: 4 of 4, then 3 of 3
        (5, 5, 4, 4, True),  # one after the other down to one
    ],
)
def test_a_removal_is_safe_when_each_step_keeps_a_quorum(
    managers: int, reachable: int, leaving: int, leaving_reachable: int, safe: bool
) -> None:
    answer = removal_is_safe(managers, reachable, leaving=leaving, leaving_reachable=leaving_reachable)
    assert answer is safe


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        removal_is_safe(3, 1, leaving=2, leaving_reachable=2)
