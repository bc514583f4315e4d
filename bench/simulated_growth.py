"""bench/growth.py's runs as rows for the report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.growth import growth, own_home
from bench.real_growth import row
from provision_nspawn.testing import own_namespaces


def simulated(counts: Sequence[int], *, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row for each count and run, as bench.real_growth has them. Raises RuntimeError when a run fails."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="growth-") as scratch, own_namespaces(), own_home(Path(scratch)):
        for count in sorted(counts):
            for run in growth(count, Path(scratch, str(count))):
                of = run.measured
                if of.status != 0:
                    raise RuntimeError(f"{count} simulated hosts, {run.name}: {run.outcome}\n{of.stderr[-3000:]}")
                rows.append(row(count, run.name, of))
                say(f"{count} simulated hosts: {run.name} {of.seconds:.2f}")
    return rows
