"""The first two tables: the work by all contenders, and again with nothing to do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.contenders.ansible import Ansible
from bench.contenders.provision import Provision
from bench.contenders.pyinfra import Pyinfra
from bench.contenders.script import Script
from bench.critical import account, edges_of_up
from bench.fleet import Fleet, fleet
from bench.measure import run_measured
from bench.results import guest_versions, measured_now
from bench.rounds import rounds
from bench.site import Contender

CONTENDERS: dict[str, type[Contender]] = {one.name: one for one in (Script, Pyinfra, Ansible, Provision)}
#: takes what has been measured so far, and the versions; called after each size
Store = Callable[[Any, dict[str, str]], object]


def work(counts: Sequence[int], names: Sequence[str], each: int, *, keep: Store, say: Callable[[str], None]) -> None:
    """Boot the largest count once, and measure the counts in turn, the smallest first. `provision` always takes part.

    The value is a list of one object a count: a rounds.Table, and `path`, what `path` finds.
    """
    wanted = [name for name in CONTENDERS if name in (*names, Provision.name)]
    contenders = [CONTENDERS[name]() for name in wanted]
    # now: this makes their environments, for which there is no way to an index from inside
    versions = {contender.name: contender.versions() for contender in contenders}
    measured: list[dict[str, Any]] = []
    with fleet(max(counts), python=Ansible.name in wanted) as booted:
        versions |= guest_versions(booted.hosts[0])
        for count in sorted(counts):
            some = booted.first(count)
            table = rounds(some, contenders, each, say=say)
            measured.append({**asdict(table), "path": path(some), "measured": measured_now()})
            keep(measured, versions)


def path(some: Fleet) -> dict[str, Any]:
    """One more `provision up` from the reset state, by its steps: a critical.Account."""
    contender, site = Provision(), some.site
    contender.prepare(site)
    contender.forget(site)
    some.reset()
    program, up, inventory, *_ = contender.argv(site)
    environ = {**os.environ, **contender.environ(site)}
    edges = edges_of_up(Path(inventory), environ)
    began = time.time()
    argv = (program, up, inventory, "--yes", "--progress", "json")
    ran = run_measured(argv, environ, site.folder)
    if ran.status != 0:
        raise RuntimeError(f"provision failed ({ran.status}):\n{ran.stderr[-3000:]}")
    some.check()
    contender.forget(site)
    events = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]
    return asdict(account(events, edges, began=began, seconds=ran.seconds))
