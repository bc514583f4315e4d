"""The user's own known_hosts files, read once a process."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paramiko import HostKeys, PKey


def lookup(files: tuple[str, ...], alias: str, port: int) -> tuple[str, ...]:
    """The key lines that these files have for a host, hashed entries too; a missing file has none."""
    name = alias if port == 22 else f"[{alias}]:{port}"
    found: list[str] = []
    for file in files:
        entries: Mapping[str, PKey] = _load(str(Path(file).expanduser())).lookup(name) or {}
        found += [f"{kind} {key.get_base64()}" for kind, key in entries.items()]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=16)
def _load(path: str) -> HostKeys:
    from paramiko import HostKeys

    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it warns of every key type that it does not read
    keys = HostKeys()
    if Path(path).is_file():
        keys.load(path)
    return keys
