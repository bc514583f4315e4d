"""The records that say what exists: written before a thing is made, removed after it is gone. They are the truth."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from provision.errors import DriverError
from provision_nspawn.layout import Layout, MachinePaths

VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """cluster.json: the network that a cluster's machines share."""

    cluster: str
    subnet: str
    version: int = VERSION

    @property
    def network(self) -> IPv4Network:
        """The subnet as a value."""
        return IPv4Network(self.subnet)

    @property
    def gateway(self) -> IPv4Address:
        """This machine's address in it: the bridge's."""
        return self.network[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """machine.json: one machine that is ours. Nothing in it is secret; anybody here may read it.

    `made` is False until create has finished, and again once destroy has begun, which `leaving` tells. Sizes are bytes.
    """

    cluster: str
    name: str
    group: str
    number: int
    role: str
    address: str
    mac: str
    user: str
    port: int
    image: str
    digest: str
    host_keys: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float | None = None
    binds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made: bool = False
    leaving: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """process.json: the systemd-nspawn of a machine. A process id is used again; with start and boot it is not."""

    pid: int
    start: int
    boot: str


def read_cluster(layout: Layout, cluster: str) -> ClusterRecord | None:
    """The cluster's record, or None. Raises DriverError for a file that is not readable as one."""
    return _read(layout.cluster(cluster) / "cluster.json", ClusterRecord)


def read_machine(paths: MachinePaths) -> MachineRecord | None:
    """The machine's record, or None when there is no such machine. Raises DriverError for a damaged one."""
    return _read(paths.record, MachineRecord)


def read_process(paths: MachinePaths) -> ProcessRecord | None:
    """The process that was last started for the machine, or None."""
    return _read(paths.process, ProcessRecord)


def clusters(layout: Layout) -> Iterator[str]:
    """The names of the clusters that have machines here."""
    for path in _folders(layout.machines):
        yield path.name


def machines(layout: Layout, cluster: str) -> Iterator[MachinePaths]:
    """The folders of a cluster's machines, by name; each had its record from the first moment."""
    for path in _folders(layout.cluster(cluster)):
        yield MachinePaths(path)


def write_record(path: Path, record: ClusterRecord | MachineRecord) -> None:
    """Replace the file at once: a reader, or a crash, sees the old one or the new one."""
    replace_file(path, json.dumps(asdict(record), indent=2) + "\n")


def replace_file(path: Path, text: str) -> None:
    """Write a file's new content beside it, make it durable, and rename it into place."""
    half = path.with_name(f".{path.name}.new")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    half.rename(path)


def _folders(folder: Path) -> list[Path]:
    """Those that are in place; what begins with a dot is on its way in or out."""
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        content: dict[str, Any] = json.loads(text)
        if content.get("version", VERSION) != VERSION:
            raise DriverError(
                f"{path} was written by another version of provision",
                hint="use that version, or remove the machine with it",
            )
        known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        return kind(**{key: value for key, value in values.items() if key in known})
    except (ValueError, TypeError, AttributeError) as exc:
        raise DriverError(
            f"{path} is damaged", detail=str(exc), hint="its folder can be removed by hand once nothing runs in it"
        ) from exc
