"""A guard: on three hosts, provision is not grossly slower than the hand-written script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from bench.contenders.provision import Provision
from bench.contenders.script import Script
from bench.fleet import fleet
from bench.results import guest_versions
from bench.rounds import ratio, rounds

#: generous: it is run on any machine, beside anything
BOUND = 2.0
_HOSTS = 3


def smoke(each: int, *, say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, str], bool]:
    """Measure, and say the medians' ratio: a rounds.Table as an object, the versions, whether the ratio is in bounds.

    No Python is needed on the hosts, so the image is the one of `make image`.
    """
    with fleet(_HOSTS, python=False) as booted:
        table = rounds(booted, [Script(), Provision()], each, say=say)
        versions = guest_versions(booted.hosts[0])
    good = verdict(table.work[Provision.name], table.work[Script.name], say=say)
    return asdict(table), versions, good


def verdict(provision: Sequence[float], script: Sequence[float], *, say: Callable[[str], None]) -> bool:
    """Whether the ratio of the medians is at most BOUND; both are said."""
    found, least, most = ratio(provision, script)
    good = found <= BOUND
    say(
        f"work: provision took {found:.2f} times the script's seconds ({least:.2f} to {most:.2f} in pairs);"
        f" the bound is {BOUND}: {'met' if good else 'exceeded'}"
    )
    return good
