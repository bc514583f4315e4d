"""A machine's control groups where PID 1 is not systemd: its place in every hierarchy, and its limits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.errors import DeadlineError

_PERIOD = 100_000  # microseconds; the kernel's own default for CPU quotas


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where the kernel's control groups are mounted. `v2` holds the controllers that it offers to children."""

    unified: Path | None
    v2: frozenset[str]
    v1: Mapping[str, Path]

    def can_limit(self, controller: str) -> bool:
        """Whether `memory` or `cpu` can be limited here."""
        return controller in self.v2 or controller in self.v1

    def roots(self) -> tuple[Path, ...]:
        """Every hierarchy that a machine has a group in."""
        wanted = [self.v1[name] for name in ("name=systemd", "memory", "cpu") if name in self.v1]
        return tuple(dict.fromkeys([*([self.unified] if self.unified else []), *wanted]))


def hierarchies(mountinfo: str | None = None) -> Hierarchies:
    """Read from /proc/self/mountinfo (or its text): pure unified, hybrid and old layouts alike."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    unified: Path | None = None
    v1: dict[str, Path] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        place = Path(left.split()[4])
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            unified = unified or place
        elif kind == "cgroup":
            v1.update({option: place for option in options.split(",") if option not in ("rw", "ro")})
    offered = frozenset[str]()
    if unified is not None:
        with contextlib.suppress(OSError):
            offered = frozenset((unified / "cgroup.controllers").read_text().split())
    return Hierarchies(unified, offered, v1)


def groups(
    unit: str, where: Hierarchies, *, memory: int | None, cpus: float | None
) -> tuple[tuple[Path, Mapping[str, str]], ...]:
    """The groups of a machine and what to write into each; memory in bytes, cpus as a number of processors.

    A group of its own in every hierarchy also where nothing is limited: systemd-nspawn makes its `payload` below the
    group it is started in, so machines started from one group would share theirs.
    """
    quota = "" if cpus is None else str(max(1000, int(cpus * _PERIOD)))
    found = []
    for root in where.roots():
        settings: dict[str, str] = {}
        if root == where.unified:
            if memory is not None and "memory" in where.v2:
                settings["memory.max"] = str(memory)
            if cpus is not None and "cpu" in where.v2:
                settings["cpu.max"] = f"{quota} {_PERIOD}"
        if memory is not None and root == where.v1.get("memory"):
            settings["memory.limit_in_bytes"] = str(memory)
        if cpus is not None and root == where.v1.get("cpu"):
            settings["cpu.cfs_period_us"] = str(_PERIOD)
            settings["cpu.cfs_quota_us"] = quota
        found.append((root / unit, settings))
    return tuple(found)


def offer_controllers(where: Hierarchies, *, wanted: tuple[str, ...]) -> None:
    """Hand the controllers of the unified hierarchy's root to its children; a no-op for those that are there."""
    if where.unified is None:
        return
    for controller in wanted:
        if controller in where.v2:
            (where.unified / "cgroup.subtree_control").write_text(f"+{controller}")


def members(unit: str, where: Hierarchies) -> frozenset[int]:
    """Every process in the machine's groups."""
    found: set[int] = set()
    for root in where.roots():
        for group in _tree(root / unit):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return frozenset(found)


def remove_groups(unit: str, where: Hierarchies, *, seconds: float) -> None:
    """Remove the machine's groups, whose processes have ended; gone already is fine."""
    deadline = time.monotonic() + seconds
    for root in where.roots():
        for group in _tree(root / unit):
            while True:
                try:
                    group.rmdir()
                except FileNotFoundError:
                    break
                except OSError as exc:
                    # The kernel counts a process as a member until it is reaped.
                    if time.monotonic() > deadline:
                        raise DeadlineError(f"removing control group {group}", seconds, str(exc)) from exc
                    time.sleep(0.01)
                else:
                    break


def _tree(group: Path) -> Iterator[Path]:
    """The group and all below it, children first."""
    try:
        children = [entry for entry in group.iterdir() if entry.is_dir()]
    except OSError:
        return
    for child in children:
        yield from _tree(child)
    yield group
