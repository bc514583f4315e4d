"""Machines come and go here: their records, their cluster's network and names, all under the registry's lock.

The registry's lock is the one of the folder that holds the clusters, kept for milliseconds. A machine's own is kept
while something is done to it. A folder appears by a rename, with its record in it and its lock taken, and goes by a
rename, so what is in place is always whole. What begins with a dot is on its way, and garbage once the lock is free.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from provision.errors import DriverError, ProvisionError
from provision.local.commands import Commands
from provision.local.locks import lock, locked, locked_made
from provision_nspawn.layout import Layout, MachinePaths, mac_address
from provision_nspawn.names import hosts_text, write_in_place
from provision_nspawn.nat import ensure_nat, remove_nat
from provision_nspawn.network import ensure_bridge, networks_in_use, remove_bridge
from provision_nspawn.records import (
    ClusterRecord,
    MachineRecord,
    clusters,
    machines,
    read_cluster,
    read_machine,
    write_record,
)
from provision_nspawn.requests import CreateRequest
from provision_nspawn.subnets import choose_address, choose_subnet

#: Seconds to wait for the registry, which is held for milliseconds, and for a machine, which is held while it is made.
REGISTRY_SECONDS = 60.0
MACHINE_SECONDS = 180.0


@contextlib.contextmanager
def claim(layout: Layout, request: CreateRequest, digest: str) -> Iterator[tuple[int, MachineRecord]]:
    """The machine's lock, and its record: the one that exists, or a new one with an address of its own, not yet made.

    Raises DriverError when the cluster has no address left or its subnet is not the one asked for.
    """
    held = _enter(layout, request, digest)
    try:
        record = read_machine(layout.machine(request.cluster, request.name))
        if record is None:
            raise DriverError(
                f"{layout.machine(request.cluster, request.name).root} has no machine.json",
                hint=f"destroy {request.name}",
            )
        yield held, record
    finally:
        os.close(held)


@contextlib.contextmanager
def hold(layout: Layout, cluster: str, name: str) -> Iterator[int]:
    """The lock of a machine that exists. Raises FileNotFoundError when it does not."""
    with locked(layout.machine(cluster, name).root, seconds=MACHINE_SECONDS) as held:
        yield held


def connect(layout: Layout, cluster: str) -> ClusterRecord:
    """Make sure of what the machines share: hosts file, bridge, way out. Returns the cluster's record."""
    with locked_made(layout.machines, seconds=REGISTRY_SECONDS) as registry:
        record = read_cluster(layout, cluster)
        if record is None:
            raise DriverError(f"cluster {cluster!r} has machines but no cluster.json in {layout.cluster(cluster)}")
        _write_hosts(layout, cluster)
        commands = Commands((registry,))
        names = layout.kernel_names(cluster)
        ensure_bridge(names, record, commands)
        ensure_nat(names, record, commands)
        return record


def forget(layout: Layout, cluster: str, name: str) -> None:
    """Remove the record of a machine that is gone; with the last one, all that the cluster had."""
    with locked_made(layout.machines, seconds=REGISTRY_SECONDS) as registry:
        sweep(layout)
        paths = layout.machine(cluster, name)
        others = [other for other in machines(layout, cluster) if other.root != paths.root]
        if others:
            _drop(paths.root)
            _write_hosts(layout, cluster)
        elif paths.root.is_dir():
            commands = Commands((registry,))
            names = layout.kernel_names(cluster)
            remove_nat(names, commands)
            remove_bridge(names, commands)
            _drop(layout.cluster(cluster))
        for folder in (layout.machines, layout.data):
            with contextlib.suppress(OSError):
                folder.rmdir()


def sweep(layout: Layout) -> None:
    """Remove what a crash left on its way in or out; only under the registry's lock."""
    for folder in (layout.machines, *(layout.cluster(name) for name in clusters(layout))):
        for entry in folder.iterdir():
            if entry.name.startswith(".") and entry.is_dir():
                shutil.rmtree(entry)


def sweep_if_needed(layout: Layout) -> None:
    """`sweep`, where there is something to."""
    folders = [layout.machines, *(layout.cluster(name) for name in clusters(layout))]
    if any(entry.name.startswith(".") for folder in folders if folder.is_dir() for entry in folder.iterdir()):
        with contextlib.suppress(FileNotFoundError), locked(layout.machines, seconds=REGISTRY_SECONDS):
            sweep(layout)


def _enter(layout: Layout, request: CreateRequest, digest: str) -> int:
    paths = layout.machine(request.cluster, request.name)
    while True:
        with locked_made(layout.machines, seconds=REGISTRY_SECONDS) as registry:
            sweep(layout)
            if not paths.root.is_dir():
                return _add(layout, request, digest, Commands((registry,)))
        try:
            return lock(paths.root, seconds=MACHINE_SECONDS)
        except FileNotFoundError:
            continue  # destroyed while we waited for it


def _add(layout: Layout, request: CreateRequest, digest: str, commands: Commands) -> int:
    cluster = read_cluster(layout, request.cluster) or _new_cluster(layout, request, commands)
    if request.subnet is not None and request.subnet != cluster.subnet:
        raise DriverError(
            f"cluster {request.cluster!r} has subnet {cluster.subnet}, not {request.subnet}",
            hint="a running cluster keeps its subnet; take `subnet:` out, or take the cluster down first",
        )
    taken = [IPv4Address(record.address) for record in _records(layout, request.cluster)]
    address = choose_address(cluster.network, taken=taken)
    record = MachineRecord(
        cluster=request.cluster,
        name=request.name,
        group=request.group,
        number=request.number,
        role=request.role,
        address=str(address),
        mac=mac_address(layout.kernel_names(request.cluster).bridge, address),
        user=request.user,
        port=request.port,
        image=request.image,
        digest=digest,
        host_keys=(request.host_key.public.strip(),) if request.host_key else (),
        memory=request.memory,
        cpus=request.cpus,
        binds=request.binds,
    )
    final = layout.cluster(request.cluster)
    if final.is_dir():
        half = final / f".{request.name}.new"
        half.mkdir()
        write_record(MachinePaths(half).record, record)
        held = lock(half, seconds=0)
        half.rename(final / request.name)
        return held
    half = final.with_name(f".{request.cluster}.new")
    machine = half / request.name
    machine.mkdir(parents=True)
    write_record(half / "cluster.json", cluster)
    write_record(MachinePaths(machine).record, record)
    held = lock(machine, seconds=0)
    half.rename(final)
    return held


def _new_cluster(layout: Layout, request: CreateRequest, commands: Commands) -> ClusterRecord:
    # Others' bridges may be down or in another network namespace; their records count all the same.
    others = [record.network for name in clusters(layout) if (record := read_cluster(layout, name))]
    taken = (*networks_in_use(commands), *others)
    subnet = choose_subnet(request.cluster, taken=taken, asked=request.subnet)
    return ClusterRecord(cluster=request.cluster, subnet=str(subnet))


def _records(layout: Layout, cluster: str) -> Iterator[MachineRecord]:
    for paths in machines(layout, cluster):
        # A damaged record must not keep the others from working; discover shows it.
        with contextlib.suppress(ProvisionError):
            if record := read_machine(paths):
                yield record


def _write_hosts(layout: Layout, cluster: str) -> None:
    write_in_place(layout.cluster(cluster) / "hosts", hosts_text(_records(layout, cluster)))


def _drop(folder: Path) -> None:
    gone = folder.with_name(f".{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone)
