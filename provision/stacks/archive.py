"""Reading an image archive (`docker save`, or OCI) for what it holds, without an engine."""

from __future__ import annotations

import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError


def image_ids(path: Path) -> frozenset[str]:
    """The ids (`sha256:…`) under which an engine may list the archive's images.

    The classic image store calls an image by the digest of its config, containerd's by that of its manifest or index;
    both are here. The archive may be compressed as tarfile reads it. Raises ProvisionError for what is no archive.
    """
    if path.exists() and not path.is_file():
        raise ProvisionError(
            f"{path} is no image archive", detail="it is no file", hint="make it with `docker save -o`"
        )
    try:
        with tarfile.open(path) as archive:
            manifest = _json(archive, "manifest.json")
            index = _json(archive, "index.json")
    except FileNotFoundError as missing:
        raise ProvisionError(
            f"image archive {path} does not exist", hint="make it with `docker save -o`, or `make image` for the lab's"
        ) from missing
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as broken:
        raise ProvisionError(
            f"{path} is no image archive", detail=str(broken), hint="make it with `docker save -o`"
        ) from broken
    ids = {_digest(str(image["Config"])) for image in manifest or ()}
    ids |= {str(entry["digest"]) for entry in (index or {}).get("manifests", ())}
    if not ids:
        raise ProvisionError(
            f"{path} is no image archive", detail="it names no image", hint="make it with `docker save -o`"
        )
    return frozenset(ids)


def _json(archive: tarfile.TarFile, name: str) -> Any:
    try:
        member = archive.extractfile(name)
    except KeyError:
        return None
    return json.load(member) if member is not None else None


def _digest(config: str) -> str:
    """`abc….json` of docker's own format, `blobs/sha256/abc…` of OCI's."""
    return "sha256:" + config.rpartition("/")[2].removesuffix(".json")
