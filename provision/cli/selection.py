"""Which cluster a command means: an argument, -c, PROVISION_CLUSTER, ./inventory.yml, or the only one there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from provision.errors import InventoryError, ProvisionError, UsageError

if TYPE_CHECKING:
    from provision.inventory.cluster import Cluster
    from provision.operations.place import Place
    from provision.state.model import ClusterState

DEFAULT = "inventory.yml"


@dataclass(frozen=True, slots=True)
class Selected:
    """A cluster by its name, with its inventory file where that is known.

    `cluster` None: there is no such file any more, or it is `broken`; what needs none works all the same.
    """

    name: str
    inventory: Path | None
    cluster: Cluster | None
    broken: InventoryError | None = None

    def require(self) -> Cluster:
        """The inventory's values. Raises UsageError where there is no inventory."""
        if self.broken is not None:
            raise self.broken
        if self.cluster is None:
            where = f" (it was {self.inventory})" if self.inventory else ""
            raise UsageError(
                f"the inventory of cluster {self.name!r} is needed, and is not there{where}", hint="name it: -c FILE"
            )
        return self.cluster


def select(place: Place, argument: Path | None, option: str | None) -> Selected:
    """The one cluster that is meant; its inventory is loaded where there is one. Raises UsageError."""
    if argument is not None and option is not None and not _same(place, argument, option):
        raise UsageError(f"two clusters are named: {argument} and -c {option}", hint="name one")
    if argument is not None:
        return _by_file_or_name(place, str(argument))
    if option is not None:
        return _by_file_or_name(place, option)
    if Path(DEFAULT).is_file():
        return _by_file(place, Path(DEFAULT))
    return _only_one(place)


def _same(place: Place, argument: Path, option: str) -> bool:
    return _by_file_or_name(place, str(argument)).name == _by_file_or_name(place, option).name


def _by_file_or_name(place: Place, text: str) -> Selected:
    path = Path(text).expanduser()
    if path.is_file():
        return _by_file(place, path)
    if path.suffix in (".yml", ".yaml") or "/" in text:
        raise UsageError(f"there is no inventory file {text}", hint="provision init writes one to start from")
    return _by_name(place, text)


def _by_file(place: Place, path: Path) -> Selected:
    from provision.inventory.load import load

    cluster = load(path, environ=place.environ)
    return Selected(cluster.name, path, cluster)


def _by_name(place: Place, name: str) -> Selected:
    from provision.state.paths import clusters

    state = read_state(place, name)
    if state is None:
        known = ", ".join(clusters(place.root))
        raise UsageError(
            f"there is no cluster {name!r}",
            hint=f"known are: {known}" if known else "provision up INVENTORY makes one",
        )
    path = Path(state.inventory) if state.inventory else None
    if path is None or not path.is_file():
        return Selected(name, path, None)
    try:
        found = _by_file(place, path)
    except InventoryError as broken:
        return Selected(name, path, None, broken)
    return found if found.name == name else Selected(name, path, None)


def _only_one(place: Place) -> Selected:
    from provision.state.paths import clusters

    names = clusters(place.root)
    if len(names) == 1:
        return _by_name(place, names[0])
    if not names:
        raise UsageError("no cluster is named, and there is none yet", hint="provision up INVENTORY makes one")
    raise UsageError("no cluster is named, and there are several", hint=f"name one: -c {' | '.join(names)}")


def read_state(place: Place, name: str) -> ClusterState | None:
    """What this machine remembers of a cluster; None for one that it does not know."""
    from provision.state.store import Store

    return Store(place.paths(name)).read()


def machine_cluster(place: Place, machine: str) -> str:
    """The cluster that has a machine of this name, on this machine's record. Raises UsageError with what is near."""
    import difflib

    from provision.state.paths import clusters

    owners: dict[str, str] = {}
    for name in clusters(place.root):
        try:
            state = read_state(place, name)
        except ProvisionError as damaged:  # another cluster's damage is not this machine's
            typer.echo(f"warning: {damaged.summary}", err=True)
            continue
        owners |= dict.fromkeys(state.machines if state else {}, name)
    if machine in owners:
        return owners[machine]
    close = difflib.get_close_matches(machine, owners, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "provision ls lists the machines"
    raise UsageError(f"there is no machine {machine!r}", hint=hint)
