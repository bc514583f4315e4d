"""Writes an inventory back to its file."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from provision.errors import ProvisionError


def write_inventory(path: Path, text: str) -> None:
    """Replace the file's text at once: a reader sees the old or the new one, a crash leaves one of them.

    A symbolic link stays one, and its target is replaced. Mode and, where we may, owner are kept; a new file gets
    what the umask leaves of 0666. Line breaks are written as they are. Raises `ProvisionError` when that fails.
    """
    target = path.resolve()
    try:
        _replace(target, text)
    except OSError as error:
        raise ProvisionError(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            hint="nothing was changed; check its folder",
        ) from error


def _replace(target: Path, text: str) -> None:
    old = target.stat() if target.exists() else None
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(stat.S_IMODE(old.st_mode) if old else 0o666 & ~_umask())
        if old:
            # Only root may give a file away; anybody else owns it afterwards, as with any editor.
            with contextlib.suppress(PermissionError):
                os.chown(temporary, old.st_uid, old.st_gid)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
