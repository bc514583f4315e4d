"""What a machine printed on its serial console: its log file, read here or through libvirt's storage API."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import DriverError
from provision_libvirt.connection import translated
from provision_libvirt.uri import parse

if TYPE_CHECKING:
    import libvirt


def read(conn: libvirt.virConnect, domain: libvirt.virDomain) -> str:
    """All that it printed since its log was begun; empty where it has no log, or has not printed yet.

    The log may be on another machine, or readable by root alone: then it is a file of a storage pool, and comes as one.
    Raises DriverError.
    """
    name = domain.name()
    with translated(f"{name}: cannot read its console"):
        path = log_file(domain.XMLDesc(0))
        local = parse(conn.getURI()).local
    if path is None:
        return ""
    if local:
        try:
            return as_text(path.read_bytes())
        except FileNotFoundError:
            return ""
        except PermissionError:
            pass  # libvirtd may
    with translated(f"{name}: cannot read its console from {path}"):
        return _downloaded(conn, name, path)


def log_file(xml: str) -> Path | None:
    """Where a domain's first serial console is logged; None where it is not."""
    device = ET.fromstring(xml).find("devices/serial")
    if device is None:
        return None
    log = device.find("log")
    source = device.find("source") if device.get("type") == "file" else None
    path = log.get("file") if log is not None else source.get("path") if source is not None else None
    return Path(path) if path else None


def as_text(raw: bytes) -> str:
    """What a terminal's log says, with plain line ends and without what is no text."""
    return raw.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _downloaded(conn: libvirt.virConnect, name: str, path: Path) -> str:
    import libvirt

    pool = next((pool for pool in conn.listAllStoragePools(0) if _folder(pool) == path.parent), None)
    if pool is None:
        raise DriverError(
            f"{name}: cannot read its console from {path}",
            detail="the file is not ours to read, and in no storage pool of the hypervisor",
            hint=f"virsh -c {conn.getURI()} console {name}",
        )
    with contextlib.suppress(libvirt.libvirtError):  # refused while another volume is written; what is known serves
        pool.refresh(0)
    try:
        volume = pool.storageVolLookupByName(path.name)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:  # nothing was printed yet
            return ""
        raise
    stream = conn.newStream(0)
    pieces: list[bytes] = []
    volume.download(stream, 0, 0, 0)
    try:
        stream.recvAll(lambda _stream, piece, _opaque: pieces.append(piece), None)
        stream.finish()
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise
    return as_text(b"".join(pieces))


def _folder(pool: libvirt.virStoragePool) -> Path | None:
    path = ET.fromstring(pool.XMLDesc(0)).findtext("target/path")
    return Path(path) if path and pool.isActive() else None
