"""What is known of an image in the store: image.json beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from provision.images.recipes import Kind

#: The file's name in an image's folder.
FILE = "image.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image. Sizes are bytes; `size` is what it takes on this disk. What only disks have is empty for a tree.

    `digest` is its folder's name: the hash of its recipe, or of a fetched disk's content. `sha256` is of the disk file,
    in hex. `kernel` and `initrd` are files beside the disk, `cmdline` is what its kernel is started with.
    """

    name: str
    kind: Kind
    digest: str
    #: the recipe's name, or where it was fetched from
    source: str
    #: ISO 8601, in UTC
    created: str
    size: int
    docker: bool = False
    sha256: str = ""
    #: what a fetched disk was verified by, like `sha512:…`
    checksum: str = ""
    format: str = ""
    virtual_size: int = 0
    file: str = ""
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
    #: sha256 of the archives of container images that it brings along
    archives: tuple[str, ...] = ()


def write_record(folder: Path, record: ImageRecord) -> None:
    """Write it into the image's folder, which nobody else knows yet."""
    (folder / FILE).write_text(json.dumps(asdict(record), indent=2) + "\n")


def read_record(folder: Path) -> ImageRecord | None:
    """What the folder's file says; None where there is none that can be read."""
    try:
        content = json.loads((folder / FILE).read_text())
        known = {field.name: content[field.name] for field in fields(ImageRecord) if field.name in content}
        return ImageRecord(**{**known, "kind": Kind(content["kind"]), "archives": tuple(content.get("archives", ()))})
    except (OSError, ValueError, TypeError, KeyError):
        return None
