"""Limits of the host's kernel that many machines on it run into, all of them shared by every namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.errors import ProvisionError
from provision.local.commands import Commands

#: At inotify's default of 128 the 19th machine hangs half booted; at the neighbour table's 1024 a swarm of 50 overflows
#: it and machines vanish from the network.
_WANTED: Mapping[str, int] = {
    "fs.inotify.max_user_instances": 8192,
    "net.ipv4.neigh.default.gc_thresh3": 65536,
    "net.ipv4.neigh.default.gc_thresh2": 32768,
    "net.ipv4.neigh.default.gc_thresh1": 8192,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that is lower than machines want; `have` None where it cannot be seen from this network namespace."""

    name: str
    have: int | None
    want: int

    def __str__(self) -> str:
        return f"{self.name} from {self.have} to {self.want}"


def low_limits(root: Path = Path("/proc/sys")) -> tuple[Limit, ...]:
    """The limits that are too low here. Those that only the first network namespace shows count only if it is ours."""
    found = (Limit(name, _read(root / name.replace(".", "/")), want) for name, want in _WANTED.items())
    return tuple(limit for limit in found if limit.have is not None and limit.have < limit.want)


def raise_limits(commands: Commands, root: Path = Path("/proc/sys")) -> tuple[str, ...]:
    """Raise what is too low; one line for each that was raised or could not be."""
    notes = []
    for limit in low_limits(root):
        try:
            (root / limit.name.replace(".", "/")).write_text(str(limit.want))
        except OSError as exc:
            notes.append(f"could not raise {limit}: {exc.strerror}")
        else:
            notes.append(f"raised {limit}")
    return (*notes, *_raise_in_first_namespace(commands, root))


def _raise_in_first_namespace(commands: Commands, root: Path) -> tuple[str, ...]:
    """The neighbour table's limits are the first network namespace's alone, and count for all: go there for them."""
    notes = []
    for name, want in _WANTED.items():
        path = root / name.replace(".", "/")
        if path.exists() or not name.startswith("net."):
            continue
        enter = ("nsenter", "--net=/proc/1/ns/net", "--")
        try:
            have = int(commands.run(*enter, "cat", str(path)))
            if have < want:
                commands.run(*enter, "tee", str(path), stdin=str(want))
                notes.append(f"raised {Limit(name, have, want)}")
        except (ProvisionError, ValueError) as exc:
            cause = str(exc).strip().splitlines()[-1].strip()
            # One refusal stands for all: they are of one place.
            return (*notes, f"could not raise {name} to {want} from this network namespace: {cause}")
    return tuple(notes)


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
