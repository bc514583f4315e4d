"""libvirt's objects by name: None where there is no such one. Every call may raise libvirt's error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libvirt


def find_domain(conn: libvirt.virConnect, name: str) -> libvirt.virDomain | None:
    """The domain, running or not."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_DOMAIN):
        return conn.lookupByName(name)
    return None


def find_network(conn: libvirt.virConnect, name: str) -> libvirt.virNetwork | None:
    """The network, active or not."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_NETWORK):
        return conn.networkLookupByName(name)
    return None


def find_pool(conn: libvirt.virConnect, name: str) -> libvirt.virStoragePool | None:
    """The storage pool, active or not."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_STORAGE_POOL):
        return conn.storagePoolLookupByName(name)
    return None


def find_volume(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """The volume, as far as the pool knows."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_STORAGE_VOL):
        return pool.storageVolLookupByName(name)
    return None


@contextlib.contextmanager
def missing(*codes: int) -> Iterator[None]:
    """Leave the block quietly where libvirt's error has one of these codes: what it was about is not there."""
    import libvirt

    try:
        yield
    except libvirt.libvirtError as exc:
        if exc.get_error_code() not in codes:
            raise
