"""The folders that images are kept in: one to write to, and those that others may have filled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

#: Where root keeps everything that is not a user's own.
SYSTEM_DATA = Path("/var/lib/provision")


def data_folder(environ: Mapping[str, str]) -> Path:
    """`PROVISION_DATA_DIR`; else /var/lib/provision where this user may write; else the user's own data folder."""
    stated = environ.get("PROVISION_DATA_DIR")
    if stated:
        return Path(stated).expanduser().absolute()
    if os.geteuid() == 0 or os.access(SYSTEM_DATA, os.W_OK):
        return SYSTEM_DATA
    home = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".local/share"
    return Path(home) / "provision"


def data_folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where to look for images: the user's folder first, then the system's, which holds what root has built."""
    own = data_folder(environ)
    return (own,) if own == SYSTEM_DATA or environ.get("PROVISION_DATA_DIR") else (own, SYSTEM_DATA)
