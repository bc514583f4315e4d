"""From an inventory and what exists to what is wanted, with everything read that the inventory refers to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from provision.driver import Machine
from provision.errors import InventoryError, Problem, ProvisionError
from provision.execution.world import World
from provision.inventory.cluster import Cluster
from provision.inventory.specs import machine_specs
from provision.operations.place import Place
from provision.planning.wanted import Wanted
from provision.state.model import ClusterState

if TYPE_CHECKING:
    from pathlib import Path

    from provision.stacks.bundle import Bundle

#: stands for the cluster's own key in a plan that is made before the key is
KEY_TO_COME = "ssh-ed25519 AAAAto-be-made provision"


def wanted_of(
    cluster: Cluster,
    world: World,
    place: Place,
    *,
    machines: Iterable[Machine],
    state: ClusterState | None,
    wait: bool = True,
    leaving: frozenset[str] = frozenset(),
) -> Wanted:
    """The target, without the machines that are `leaving`, or that an earlier `rm` did not get rid of.

    Raises InventoryError with every file of a stack that is missing or wrong.
    """
    bundles, archives = _of_stacks(cluster, place)
    return Wanted(
        cluster=cluster,
        specs=machine_specs(cluster, existing(machines, state), leaving=leaving | leaving_of(state)),
        authorized_keys=(_cluster_key(world, place), *cluster.ssh.authorized_keys),
        bundles=bundles,
        archives=archives,
        adopting=frozenset(name for name in world.drivers if world.adopts(name)),
        wait=wait,
    )


def _of_stacks(cluster: Cluster, place: Place) -> tuple[tuple[Bundle, ...], dict[Path, frozenset[str]]]:
    """The stacks, read, and the ids of the images in their archives."""
    if not cluster.stacks:
        return (), {}
    from provision.stacks.archive import image_ids
    from provision.stacks.bundle import read_bundle

    problems: list[Problem] = []
    bundles: list[Bundle] = []
    archives: dict[Path, frozenset[str]] = {}
    for stack in cluster.stacks:
        try:
            bundles.append(read_bundle(stack, place.environ))
        except InventoryError as wrong:
            problems += wrong.problems
        for path in stack.images:
            try:
                archives[path] = image_ids(path)
            except ProvisionError as wrong:
                problems.append(Problem(f"stack {stack.name!r}: {wrong.summary}", hint=wrong.hint))
    if problems:
        raise InventoryError(tuple(problems))
    return tuple(bundles), archives


def leaving_of(state: ClusterState | None) -> frozenset[str]:
    """The machines that `rm` was asked to remove and that are not gone yet."""
    return frozenset(state.data.get("leaving", ())) if state else frozenset()


def existing(machines: Iterable[Machine], state: ClusterState | None) -> tuple[tuple[str, str, int, str | None], ...]:
    """What has a name already: what exists, and what a run that was cut short meant to make."""
    found = {m.name: (m.name, m.group, m.number, m.address) for m in machines}
    for record in state.machines.values() if state else ():
        found.setdefault(record.name, (record.name, record.group, record.number, record.address))
    return tuple(found.values())


def _cluster_key(world: World, place: Place) -> str:
    path = place.paths(world.cluster).public_key
    return path.read_text().strip() if path.exists() else KEY_TO_COME
