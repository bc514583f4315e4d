"""Opening a cluster: its state, its drivers, its keys; with the lock where it will be changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from provision import drivers
from provision.execution.world import World
from provision.hosts.connect import Connector
from provision.inventory.cluster import Cluster, SshSettings
from provision.operations.place import Place
from provision.state.known_hosts import KnownHosts
from provision.state.model import ClusterState
from provision.state.paths import ClusterPaths
from provision.state.redact import Redactor
from provision.state.store import Store


@contextmanager
def opened(
    place: Place,
    name: str,
    *,
    settings: Mapping[str, Mapping[str, Any]],
    ssh: SshSettings,
    redactor: Redactor | None = None,
) -> Iterator[World]:
    """The world of a cluster, its connections closed at the end. Makes nothing; a missing key is no error yet."""
    paths = place.paths(name)
    if place.password:
        redactor = redactor or Redactor()
        redactor.add(place.password)
    world = World(
        cluster=name,
        drivers={driver: drivers.make(driver, values) for driver, values in settings.items()},
        store=Store(paths),
        known_hosts=KnownHosts(paths.known_hosts),
        connector=Connector(
            key=str(paths.private_key) if paths.private_key.exists() else None, password=place.password
        ),
        ssh=replace(ssh, accept_new_host_keys=ssh.accept_new_host_keys or place.accept_new_host_keys),
        redactor=redactor or Redactor(),
    )
    try:
        yield world
    finally:
        world.close()


def settings_of(cluster: Cluster | None, state: ClusterState | None) -> dict[str, Mapping[str, Any]]:
    """The settings of every driver that may have machines: the inventory's, and those that the state remembers."""
    remembered = dict(state.drivers) if state else {}
    used = {group.driver for group in cluster.groups} if cluster else set()
    recorded = {record.driver for record in state.machines.values()} if state else set()
    stated = cluster.drivers if cluster else {}
    return {name: stated.get(name, remembered.get(name, {})) for name in sorted({*used, *recorded, *remembered})}


def remember(world: World, cluster: Cluster) -> ClusterState:
    """Write down what `down` will need without the inventory. Before the first step of a run."""
    settings = {name: dict(cluster.drivers.get(name, {})) for name in world.drivers}
    world.store.create(inventory=str(cluster.source), drivers=settings, ssh=cluster.ssh)
    state = world.store.read()
    assert state is not None
    wanted = replace(state, inventory=str(cluster.source), drivers={**state.drivers, **settings}, ssh=cluster.ssh)
    return state if wanted == state else world.store.update(lambda _: replace(wanted, serial=state.serial))


def tidy(paths: ClusterPaths) -> None:
    """Remove the folders of a cluster that holds nothing any more; the last thing that a command does."""
    for folder in (paths.logs, paths.folder, paths.root):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def abandon(paths: ClusterPaths) -> None:
    """A run that never began leaves nothing: what was made for a cluster that has no state goes again."""
    if paths.state.exists() or not paths.folder.exists():
        return
    for entry in paths.folder.iterdir():
        if entry == paths.lock:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
