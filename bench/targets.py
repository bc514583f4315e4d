"""What shall be reached, and whether it is. Ratios are provision's median against another contender's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

#: by hosts and contender, at most
WORK = {
    10: {"script": 1.0, "pyinfra": 0.7, "ansible": 0.2},
    50: {"script": 0.9, "pyinfra": 0.65, "ansible": 0.12},
}
AGAIN = {10: {"pyinfra": 0.5}, 50: {"pyinfra": 0.4}}
#: by how virtual machines are made, at most, of virt-lightning's time
VM = {"cold": 0.9, "warm": 0.3}
#: the number of virtual machines at which that is judged
MACHINES = 3
#: milliseconds, under
STARTUP = {"help": 200.0, "completion": 200.0, "ls": 1000.0}
#: the size at which `ls` and the memory are judged
HOSTS = 50
#: bytes at that size, under
MEMORY = 150e6
#: how much more a host may cost at the next size and count as linear: so much is noise here
_SLACK = 1.25
#: how many more threads and files may be seen at the next size and count as bounded
_BOUNDED = 1.1


def verdict(good: bool) -> str:
    """In a word."""
    return "met" if good else "missed"


def linear(hosts: Sequence[int], seconds: Sequence[float]) -> bool:
    """Whether no size costs notably more a host than the size before it. Sizes ascend."""
    each = [taken / count for count, taken in zip(hosts, seconds, strict=True)]
    return all(later <= _SLACK * earlier for earlier, later in pairwise(each))


def bounded(seen: Sequence[int]) -> bool:
    """Whether the largest size took no notably higher number (of threads, of files) than the size before it."""
    return len(seen) < 2 or seen[-1] <= _BOUNDED * seen[-2]
