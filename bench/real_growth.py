"""How time and memory of `provision` grow with real hosts; bench/growth.py goes on where no machine can boot them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from bench.contenders.provision import Provision
from bench.fleet import Fleet, fleet
from bench.measure import Measured, run_measured
from bench.results import guest_versions


def real(
    counts: Sequence[int], each: int, *, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """`provision up` from the reset state, and again with nothing to do, on each count of hosts; the largest is booted.

    A row for each count and run (`up`, `again`), with the figures of that one of `each` runs whose seconds are the
    median's; and the versions of what ran. Raises RuntimeError when a run fails or the swarm is not as it should be.
    """
    rows: list[dict[str, Any]] = []
    with fleet(max(counts), python=False) as booted:
        for count in sorted(counts):
            runs: dict[str, list[Measured]] = {}
            for _ in range(each):
                for name, measured in _both(booted.first(count)).items():
                    runs.setdefault(name, []).append(measured)
            rows += [row(count, name, _middle(of)) for name, of in runs.items()]
            say(f"{count} real hosts: " + ", ".join(f"{row['run']} {row['seconds']:.2f}" for row in rows[-len(runs) :]))
        return rows, guest_versions(booted.hosts[0])


def row(hosts: int, run: str, of: Measured) -> dict[str, Any]:
    """What the report needs of a measured run; memory in bytes."""
    return {
        "hosts": hosts,
        "run": run,
        "seconds": of.seconds,
        "cpu": of.cpu,
        "peak_memory": of.peak_memory,
        "threads": of.threads,
        "files": of.files,
    }


def _both(some: Fleet) -> dict[str, Measured]:
    contender, site = Provision(), some.site
    contender.prepare(site)
    contender.forget(site)
    some.reset()
    measured: dict[str, Measured] = {}
    for name in ("up", "again"):
        ran = run_measured(contender.argv(site), {**os.environ, **contender.environ(site)}, site.folder)
        if ran.status != 0:
            raise RuntimeError(f"provision failed ({ran.status}):\n{ran.stderr[-3000:]}")
        some.check()
        measured[name] = ran
    contender.forget(site)
    return measured


def _middle(runs: Sequence[Measured]) -> Measured:
    return sorted(runs, key=lambda one: one.seconds)[(len(runs) - 1) // 2]
