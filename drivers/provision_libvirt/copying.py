"""Whole files between this machine and a hypervisor's pool: in place where both are one, else through libvirt."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from provision.errors import DriverError
from provision_libvirt.storage import Place, make_volume, upload
from provision_libvirt.uri import parse

if TYPE_CHECKING:
    import libvirt

#: the file shares its blocks with the other until one of them is written: linux/fs.h
_FICLONE = 0x40049409
_PIECE = 256 * 1024
_RUN = 64 * 1024**2


def fill_volume(conn: libvirt.virConnect, place: Place, name: str, source: Path) -> None:
    """A volume with the file's content, for root and QEMU only. One of this name is replaced."""
    volume = make_volume(conn, place, name, size=0, form="raw")
    path = Path(place.path(name))
    with _written(path), source.open("rb") as content:
        if _is_ours(conn, path, os.W_OK):
            with path.open("r+b") as target:
                copy(content, target)
        else:
            upload(conn, volume, content, source.stat().st_size)


def fetch_volume(conn: libvirt.virConnect, place: Place, volume: libvirt.virStorageVol, target: Path) -> None:
    """Write the volume's file, as it lies in the pool, to a file of this machine that only its owner may read."""
    path = Path(place.path(volume.name()))
    with _written(target), open(target, "wb", opener=_private) as file:  # Path.open takes no opener
        if _is_ours(conn, path, os.R_OK):
            with path.open("rb") as content:
                copy(content, file)
        else:
            _download(conn, volume, file)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise DriverError(
            f"{path} cannot be written: {exc.strerror}", hint="is there room, and may this user write there?"
        ) from exc


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def copy(source: IO[bytes], target: IO[bytes]) -> None:
    """The file's content with its holes; without copying where the file system can share blocks."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        return
    length = os.fstat(source.fileno()).st_size
    os.ftruncate(target.fileno(), length)
    place = 0
    while (start := _data(source, place)) is not None:
        place = os.lseek(source.fileno(), start, os.SEEK_HOLE)
        _copy_run(source, target, start, place)


def _data(source: IO[bytes], place: int) -> int | None:
    """Where the next content begins; None where there is no more."""
    try:
        return os.lseek(source.fileno(), place, os.SEEK_DATA)
    except OSError:
        return None


def _copy_run(source: IO[bytes], target: IO[bytes], start: int, end: int) -> None:
    while start < end:
        try:
            done = os.copy_file_range(source.fileno(), target.fileno(), min(end - start, _RUN), start, start)
        except OSError:  # not between these two file systems
            done = os.pwrite(target.fileno(), os.pread(source.fileno(), min(end - start, _PIECE), start), start)
        start += done


def _is_ours(conn: libvirt.virConnect, path: Path, mode: int) -> bool:
    """Whether the hypervisor is this machine, and this user may do it without libvirt."""
    return parse(conn.getURI()).local and path.is_file() and os.access(path, mode)


def _download(conn: libvirt.virConnect, volume: libvirt.virStorageVol, file: IO[bytes]) -> None:
    import libvirt

    stream: Any = conn.newStream(0)
    volume.download(stream, 0, 0, 0)
    try:
        while piece := stream.recv(_PIECE):
            file.write(piece)
        stream.finish()
    except BaseException:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise
