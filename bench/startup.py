"""How long a user waits for commands that do little: help, completion, a list of machines."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.contenders.provision import Provision
from bench.fleet import Fleet, fleet, quiet
from bench.measure import run_measured
from bench.results import guest_versions

_PROVISION = str(Path(sys.executable).with_name("provision"))
#: what bash asks when Tab is pressed behind it
_LINE = "provision up --pro"


def startup(count: int, each: int, *, say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, str]]:
    """The medians of `each` calls in `milliseconds` by command, with a swarm of that many real `hosts`; versions."""
    with fleet(count, python=False) as booted:
        contender, site = Provision(), booted.site
        contender.prepare(site)
        contender.forget(site)
        environ = {**os.environ, **contender.environ(site)}
        _seconds(booted, contender.argv(site), environ)
        booted.check()
        quiet()
        completion = {"_PROVISION_COMPLETE": "complete_bash", "COMP_WORDS": _LINE, "COMP_CWORD": "2"}
        found: dict[str, float] = {}
        for name, words, more in (
            ("help", ("--help",), {}),
            ("completion", (), completion),
            ("ls", ("ls",), {}),
        ):
            taken = [_seconds(booted, (_PROVISION, *words), {**environ, **more}) for _ in range(each)]
            found[name] = 1000 * statistics.median(taken)
            say(f"{name}: {found[name]:.0f} ms")
        contender.forget(site)
        return {"hosts": count, "milliseconds": found}, guest_versions(booted.hosts[0])


def _seconds(some: Fleet, argv: tuple[str, ...], environ: Mapping[str, str]) -> float:
    ran = run_measured(argv, environ, some.site.folder)
    if ran.status != 0:
        raise RuntimeError(f"{' '.join(argv)} failed ({ran.status}):\n{ran.stderr[-3000:]}")
    return ran.seconds
