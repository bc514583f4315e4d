"""Raft's arithmetic: a swarm decides anything only while more than half of its managers reach one another."""

from __future__ import annotations


def majority(managers: int) -> int:
    """How many managers must be reachable for the swarm to decide anything: N/2+1."""
    return managers // 2 + 1


def tolerates(managers: int, reachable: int | None = None) -> int:
    """How many more managers may be lost before the swarm can decide nothing; 0 also when it already cannot.

    `reachable` None means that all are.
    """
    up = managers if reachable is None else reachable
    return max(0, up - majority(managers))


def has_quorum(managers: int, reachable: int) -> bool:
    """Whether the swarm can decide anything at all now."""
    return managers > 0 and reachable >= majority(managers)


def removal_is_safe(managers: int, reachable: int, *, leaving: int = 1, leaving_reachable: int = 1) -> bool:
    """Whether `leaving` managers, of which `leaving_reachable` answer, can be removed one after the other.

    Each removal is itself a decision of the managers that are there before it, and must leave a quorum
    behind. Those that do not answer are assumed to go first, which is the safest order. The last manager is
    never safe to remove: the swarm would go with it.
    """
    if not 0 <= leaving_reachable <= leaving <= managers or leaving_reachable > reachable:
        raise ValueError(f"{leaving_reachable} of {leaving} leaving, {reachable} of {managers} reachable: cannot be")
    if leaving == managers:
        return False
    silent = leaving - leaving_reachable
    for step in range(leaving):
        if not has_quorum(managers, reachable):
            return False
        managers -= 1
        if step >= silent:
            reachable -= 1
    return has_quorum(managers, reachable)
