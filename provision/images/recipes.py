"""What an image is made of, read from recipes.toml, and the hash that it is cached by."""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from provision.errors import DriverError

#: Changes when the same recipe would give another image, since the code that follows it changed.
_EDITION = 2

_SHARED = ("common", "tree", "disk")


class Kind(StrEnum):
    """What comes of a recipe: a folder that containers boot from, or a disk with a kernel and a boot loader."""

    TREE = "tree"
    DISK = "disk"
    #: a machine that has booted, with its memory: made by driver libvirt of a disk, to clone machines from
    WARM = "warm"


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A file that the image has: absolute path in the guest, text; `early`: before its packages are installed."""

    path: str
    content: str
    early: bool = False


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of container images that a disk brings along; sha256 in hex. Where it lies here does not matter."""

    path: Path = field(compare=False)
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides an image's content but the archive's state on the day it is built."""

    name: str
    suite: str
    docker: bool
    packages: tuple[str, ...]
    masks: tuple[str, ...]
    files: tuple[RecipeFile, ...]
    mirror: str | None = None
    kind: Kind = Kind.TREE
    units: tuple[str, ...] = ()
    archives: tuple[Archive, ...] = ()

    @property
    def digest(self) -> str:
        """16 hex digits that change with anything that the recipe says, and with the machine's architecture."""
        content = {
            "edition": _EDITION,
            "architecture": platform.machine(),
            **asdict(self),
            "image_name": self.image_name,
            "archives": sorted(archive.sha256 for archive in self.archives),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def image_name(self) -> str:
        """What the image is called in the store: `debian-12`, `debian-12-bare`, `debian-12-hello`."""
        parts = [self.name, *(() if self.docker else ("bare",)), *(_stem(archive.path) for archive in self.archives)]
        return "-".join(parts)


def recipe_names() -> tuple[str, ...]:
    """The recipes that there are."""
    return tuple(name for name in _tables() if name not in _SHARED)


def recipe(
    name: str,
    *,
    kind: Kind = Kind.TREE,
    docker: bool = True,
    mirror: str | None = None,
    archives: Sequence[Path] = (),
) -> Recipe:
    """The recipe of this name, with Docker inside or bare; a disk may bring archives of container images along.

    Raises DriverError for a name that is none, for an archive that cannot be read, and for what cannot be built.
    """
    tables = _tables()
    if name in _SHARED or name not in tables:
        raise _unknown(name)
    if archives and not (docker and kind is Kind.DISK):
        raise DriverError("only a disk with Docker inside can bring container images along")
    layers = [tables["common"], tables[kind], tables[name]]
    packages = [package for layer in layers for package in layer.get("packages", ())]
    if docker:
        packages += [package for layer in layers for package in layer.get("docker", ())]
    if kind is Kind.DISK:
        packages.append(_kernel(tables["disk"]))
    files = [*_all(layers, "files"), *(_all(layers, "archive_files") if archives else ())]
    units = _all(layers, "units")
    return Recipe(
        name=name,
        suite=tables[name]["suite"],
        docker=docker,
        packages=tuple(sorted(packages)),
        masks=tuple(_all(layers, "masks")),
        files=tuple(RecipeFile(file["path"], file["content"].lstrip("\n"), file.get("early", False)) for file in files),
        mirror=mirror,
        kind=kind,
        units=(*units, "provision-images.service") if archives else tuple(units),
        archives=tuple(Archive(path, _sha256(path)) for path in archives),
    )


def _all(layers: Sequence[dict[str, Any]], key: str) -> list[Any]:
    return [entry for layer in layers for entry in layer.get(key, ())]


def _kernel(table: dict[str, Any]) -> str:
    machine = platform.machine()
    kernel: str | None = table["kernel"].get(machine)
    if kernel is None:
        raise DriverError(f"no disk can be built on {machine}", hint=f"disks are built on {', '.join(table['kernel'])}")
    return kernel


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise DriverError(f"the archive {path} cannot be read: {exc.strerror}") from exc


def _stem(path: Path) -> str:
    """`hello` of hello.tar.gz."""
    return re.sub("[^a-z0-9]+", "-", path.name.partition(".")[0].lower())


def _unknown(name: str) -> DriverError:
    names = recipe_names()
    close = difflib.get_close_matches(name, names, n=1)
    known = f"recipes are: {', '.join(names)}"
    return DriverError(f"there is no image {name!r}", hint=f"did you mean {close[0]!r}? {known}" if close else known)


def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8"))
