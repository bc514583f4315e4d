"""Images: listing and removing those of this machine, and loading archives of container images onto nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from provision import drivers
from provision.driver import Machine
from provision.errors import ProvisionError, UsageError
from provision.execution.observe import PATIENCE, discover
from provision.execution.stacks import load_archives
from provision.images.store import Store, Stored, stores
from provision.images.use import UsesImages
from provision.operations.opened import opened, settings_of
from provision.operations.place import Place
from provision.stacks.archive import image_ids
from provision.state.store import Store as StateStore

_WIDTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """An image of this machine. Sizes are bytes; `machines` stand on it. Unreadable ones have a digest and no more."""

    name: str
    kind: str
    digest: str
    size: int | None
    virtual_size: int | None
    docker: bool
    created: str
    source: str
    sha256: str
    path: str
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading came to on one machine: `note` in words, or the error."""

    machine: str
    note: str
    error: str = ""


def list_images(place: Place) -> tuple[ImageView, ...]:
    """All images that this user may use, by name, the newest first; it is the one that its name means."""
    users = _users()
    newest = sorted((image for store in stores(place.environ) for image in store.all()), key=_created, reverse=True)
    return tuple(_view(image, users) for image in sorted(newest, key=_name))


def remove_images(place: Place, names: Sequence[str]) -> tuple[ImageView, ...]:
    """Remove images by name or by the beginning of a digest; returns them.

    A name means all images of that name. Raises UsageError for a name that is none, and for an image that machines
    stand on; then none is removed.
    """
    users = _users()
    found: dict[Path, tuple[Store, Stored]] = {}
    for name in names:
        matching = {i.folder: (s, i) for s in stores(place.environ) for i in s.all() if _means(name, i)}
        if not matching:
            raise UsageError(f"there is no image {name!r}", hint="provision image ls lists them")
        found |= matching
    for _, image in found.values():
        standing = users.get(image.digest, ())
        if standing:
            raise UsageError(
                f"image {_name(image)} ({image.digest}) is in use by {', '.join(standing)}",
                hint="remove these machines first: provision down, or provision rm",
            )
    for store, image in found.values():
        store.remove(image.digest)
    return tuple(_view(image, users) for _, image in found.values())


def read_archives(paths: Sequence[Path]) -> dict[Path, frozenset[str]]:
    """The archives with the ids that an engine may give their images. Raises ProvisionError for what is none."""
    return {path: image_ids(path) for path in paths}


def load_onto_nodes(place: Place, cluster: str, archives: Sequence[Path]) -> Iterator[Loaded]:
    """Load the archives on every machine whose engine lacks their images, on all at once, in the machines' order."""
    contents = read_archives(archives)
    state = StateStore(place.paths(cluster)).read()
    if state is None:
        raise UsageError(f"there is no cluster {cluster!r}", hint="provision up INVENTORY makes one")
    with opened(place, cluster, settings=settings_of(None, state), ssh=state.ssh) as world:
        machines = discover(world, state)
        world.machines.update(machines)

        def load(machine: Machine) -> Loaded:
            try:
                with world.using(machine.name):
                    world.open(machine, seconds=PATIENCE)
                    outcome = load_archives(world, machine.name, contents, lambda _: None)
            except ProvisionError as problem:
                return Loaded(machine.name, "", str(problem))
            return Loaded(machine.name, f"loaded {outcome.note}" if outcome.changed else outcome.note)

        known = [machines[name] for name in state.machines if name in machines]
        with ThreadPoolExecutor(max_workers=max(1, min(len(known), _WIDTH))) as pool:
            yield from pool.map(load, known)


def _users() -> dict[str, tuple[str, ...]]:
    """Who stands on which image, by its digest, asked of every installed driver that can tell."""
    found: dict[str, tuple[str, ...]] = {}
    for name in drivers.available():
        try:
            driver = drivers.make(name, {})
        except ProvisionError:
            continue  # one that cannot be used here has made no machines here
        if isinstance(driver, UsesImages):
            for digest, machines in driver.images_in_use().items():
                found[digest] = (*found.get(digest, ()), *machines)
    return found


def _means(word: str, image: Stored) -> bool:
    return word == _name(image) or (len(word) >= 4 and image.digest.startswith(word))


def _name(image: Stored) -> str:
    return image.record.name if image.record else image.digest


def _created(image: Stored) -> str:
    return image.record.created if image.record else ""


def _view(image: Stored, users: dict[str, tuple[str, ...]]) -> ImageView:
    record = image.record
    return ImageView(
        name=_name(image),
        kind=str(record.kind) if record else "unknown",
        digest=image.digest,
        size=record.size if record else None,
        virtual_size=record.virtual_size or None if record else None,
        docker=record.docker if record else False,
        created=record.created if record else "",
        source=record.source if record else "",
        sha256=record.sha256 if record else "",
        path=str(image.disk.path if image.disk else image.folder),
        machines=users.get(image.digest, ()),
    )
