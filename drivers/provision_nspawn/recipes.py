"""What a lab image is made of, read from recipes.toml, and the hash that its tree is cached by."""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from provision.errors import DriverError

#: Changes when the same recipe would give another tree, since the code that follows it changed.
_EDITION = 1


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A file that the image has: absolute path in the guest, text."""

    path: str
    content: str


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

    @property
    def digest(self) -> str:
        """16 hex digits that change with anything that the recipe says, and with the machine's architecture."""
        content = {"edition": _EDITION, "architecture": platform.machine(), **asdict(self)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def image_names() -> tuple[str, ...]:
    """The images that `recipe` knows."""
    return tuple(name for name in _tables() if name != "common")


def recipe(name: str, *, docker: bool = True, mirror: str | None = None) -> Recipe:
    """The recipe of the image, with Docker inside or bare. Raises DriverError for a name that is none."""
    tables = _tables()
    if name == "common" or name not in tables:
        raise _unknown(name)
    table = {**tables["common"], **tables[name]}
    packages = (*table["packages"], *(table["docker"] if docker else ()))
    return Recipe(
        name=name,
        suite=table["suite"],
        docker=docker,
        packages=tuple(sorted(packages)),
        masks=tuple(table["masks"]),
        files=tuple(RecipeFile(entry["path"], entry["content"].lstrip("\n")) for entry in table["files"]),
        mirror=mirror,
    )


def _unknown(name: str) -> DriverError:
    names = image_names()
    close = difflib.get_close_matches(name, names, n=1)
    known = f"images are: {', '.join(names)}"
    return DriverError(f"nspawn has no image {name!r}", hint=f"did you mean {close[0]!r}? {known}" if close else known)


def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8"))
