"""Disks, through libvirt's storage API alone: so they may be on another machine, and belong to root there.

libvirt's errors are the caller's to translate.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from provision.errors import DeadlineError, DriverError
from provision_libvirt.locks import BASE_SECONDS, locked
from provision_libvirt.names import OWN_FOLDER, OWN_POOL
from provision_libvirt.objects import find_pool, find_volume, missing
from provision_libvirt.volume_xml import pool_facts, pool_xml, volume_xml

if TYPE_CHECKING:
    import libvirt

T = TypeVar("T")

#: kinds of pool that are a folder, in which a disk is a file
_FOLDERS = ("dir", "fs", "netfs")
#: what libvirt answers while something else in the pool, or the very volume, is still being written
_BUSY = ("asynchronous jobs", "still being allocated", "still in use")
_BUSY_SECONDS = 120.0
#: bytes that libvirt sends at once
_PIECE = 262_120


@dataclass(frozen=True, slots=True)
class Place:
    """A pool and its folder on the hypervisor. `own`: made by us, and gone with the last machine."""

    pool: str
    folder: str
    own: bool

    def path(self, volume: str) -> str:
        """Where a volume's file is."""
        return f"{self.folder}/{volume}"


@dataclass(frozen=True, slots=True)
class Base:
    """A file of this machine that several machines share as volume `name`."""

    name: str
    file: Path


def place_of(conn: libvirt.virConnect, asked: str | None) -> Place:
    """The pool that is asked for, or our own, which need not be there yet. Raises DriverError for one of no use."""
    pool = find_pool(conn, asked or OWN_POOL)
    if pool is None:
        if asked is None:
            return Place(OWN_POOL, OWN_FOLDER, own=True)
        raise DriverError(
            f"there is no storage pool {asked!r}", hint="virsh pool-list --all lists those that are there"
        )
    facts = pool_facts(pool.XMLDesc(0))
    if facts.kind not in _FOLDERS:
        raise DriverError(
            f"storage pool {facts.name!r} is of type {facts.kind!r}, and disks are files here",
            hint=f"name one of type {', '.join(_FOLDERS)}, or leave `pool:` out",
        )
    return Place(facts.name, facts.folder, own=asked is None and facts.folder == OWN_FOLDER)


def place_named(conn: libvirt.virConnect, name: str) -> Place:
    """The pool that a machine's mark names; where that is gone, where our own would be."""
    pool = find_pool(conn, name)
    folder = pool_facts(pool.XMLDesc(0)).folder if pool is not None else OWN_FOLDER
    return Place(name, folder, own=name == OWN_POOL and folder == OWN_FOLDER)


def ensure_pool(conn: libvirt.virConnect, place: Place) -> libvirt.virStoragePool:
    """The pool is there and active. Whoever calls holds the hypervisor's lock."""
    pool = find_pool(conn, place.pool)
    if pool is None and not place.own:
        raise DriverError(f"storage pool {place.pool!r} is gone, with the disks that were in it")
    if pool is None:
        pool = conn.storagePoolDefineXML(pool_xml(place.pool, place.folder), 0)
    if not pool.isActive():
        if place.own:
            pool.build(0)
        pool.create(0)
    if place.own and not pool.autostart():
        pool.setAutostart(1)
    return pool


def remove_own_pool(conn: libvirt.virConnect, place: Place) -> None:
    """Remove our own pool with its folder, if nothing is in it; gone already is fine. Under the hypervisor's lock."""
    import libvirt

    pool = find_pool(conn, place.pool)
    if pool is None or not place.own:
        return
    if pool.isActive():
        _refresh(pool)
        if pool.listAllVolumes(0):
            return
        _patiently("removing the pool", pool.destroy)
    with contextlib.suppress(libvirt.libvirtError):  # somebody's file is in it, which is not ours to remove
        pool.delete(0)
    pool.undefine()


def ensure_base(conn: libvirt.virConnect, place: Place, base: Base) -> None:
    """The base is in the pool, whole: uploaded once, by whoever comes first. What an upload left by half is replaced.

    Nobody else's name is `provision-` and a digest, so a volume of this name is ours.
    """
    with locked("the upload of", conn.getURI(), place.pool, base.name, seconds=BASE_SECONDS):
        length = base.file.stat().st_size
        pool = _pool(conn, place)
        volume = find_volume(pool, base.name)
        if volume is not None:
            if _length(volume) in (length, None):
                return
            _delete(volume)
        # Made empty, so that its length tells how much of it has come.
        volume = pool.createXML(volume_xml(base.name, size=0, form="raw", mode="0644"), 0)
        with base.file.open("rb") as stream:
            upload(conn, volume, stream, length)


def make_volume(
    conn: libvirt.virConnect,
    place: Place,
    name: str,
    *,
    size: int,
    form: str,
    backing: str = "",
    backing_form: str = "",
) -> libvirt.virStorageVol:
    """A machine's own disk, empty or a layer over the volume `backing`. One of this name is replaced."""
    pool = _pool(conn, place)
    _remove(pool, (name,))
    path = place.path(backing) if backing else ""
    return pool.createXML(volume_xml(name, size=size, form=form, backing=path, backing_form=backing_form), 0)


def make_file(conn: libvirt.virConnect, place: Place, name: str, content: bytes) -> None:
    """A volume with this content, for root and QEMU only. One of this name is replaced."""
    import io

    volume = make_volume(conn, place, name, size=len(content), form="raw")
    upload(conn, volume, io.BytesIO(content), len(content))


def upload(conn: libvirt.virConnect, volume: libvirt.virStorageVol, content: IO[bytes], length: int) -> None:
    """Fill the volume with so many bytes; libvirt's test hypervisor keeps no content, and takes none."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_SUPPORT):
        stream: Any = conn.newStream(0)
        volume.upload(stream, 0, length, 0)
        try:
            while piece := content.read(_PIECE):
                view = memoryview(piece)
                while view:
                    view = view[stream.send(bytes(view)) :]
            stream.finish()
        except BaseException:
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
            raise


def remove_volumes(conn: libvirt.virConnect, pool_name: str, names: Iterable[str], *, logs: Iterable[str] = ()) -> None:
    """Remove volumes, and logs with what was rotated away from them; gone already is fine."""
    pool = find_pool(conn, pool_name)
    if pool is None:
        return
    if not pool.isActive():
        pool.create(0)
    _refresh(pool)  # QEMU wrote the logs, not libvirt
    wanted = tuple(logs)
    rotated = [
        volume.name()
        for volume in pool.listAllVolumes(0)
        if any(volume.name() == log or volume.name().startswith(f"{log}.") for log in wanted)
    ]
    _remove(pool, (*names, *rotated))


def foreign_volumes(conn: libvirt.virConnect, place: Place, names: Iterable[str]) -> tuple[str, ...]:
    """Those of these names that are in a pool of others already, which no machine of ours has made."""
    pool = find_pool(conn, place.pool)
    if pool is None or place.own or not pool.isActive():
        return ()
    _refresh(pool)
    return tuple(name for name in names if find_volume(pool, name) is not None)


def _pool(conn: libvirt.virConnect, place: Place) -> libvirt.virStoragePool:
    pool = find_pool(conn, place.pool)
    if pool is None:
        raise DriverError(f"storage pool {place.pool!r} is gone", hint="run the command again")
    return pool


def _remove(pool: libvirt.virStoragePool, names: Iterable[str]) -> None:
    for name in names:
        volume = find_volume(pool, name)
        if volume is not None:
            _delete(volume)


def _delete(volume: libvirt.virStorageVol) -> None:
    import libvirt

    with missing(libvirt.VIR_ERR_NO_STORAGE_VOL):
        _patiently(f"removing volume {volume.name()}", lambda: volume.delete(0))


def _refresh(pool: libvirt.virStoragePool) -> None:
    _patiently(f"looking into pool {pool.name()}", lambda: pool.refresh(0))


def _length(volume: libvirt.virStorageVol) -> int | None:
    """How long its file is; None where the hypervisor cannot say."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_SUPPORT):
        return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])
    return None


def _patiently(what: str, call: Callable[[], T]) -> T:
    """Call it again while libvirt answers that the pool is busy. Raises DeadlineError with libvirt's last words."""
    import libvirt

    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return call()
        except libvirt.libvirtError as exc:
            if not any(words in str(exc) for words in _BUSY):
                raise
            if time.monotonic() >= deadline:
                raise DeadlineError(what, _BUSY_SECONDS, str(exc)) from exc
        time.sleep(0.05)
