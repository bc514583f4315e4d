"""What is done to machines that exist: start, stop, kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import DriverError
from provision_libvirt.connection import translated
from provision_libvirt.locks import hypervisor
from provision_libvirt.metadata import Mark, read
from provision_libvirt.networks import add_entries, ensure_networks
from provision_libvirt.objects import find_domain
from provision_libvirt.power import power_off, power_on, shut_down
from provision_libvirt.storage import ensure_pool, place_named

if TYPE_CHECKING:
    import libvirt


def start(conn: libvirt.virConnect, cluster: str, name: str) -> None:
    """Have it run; its address and keys stay. Running already is fine.

    Network and pool are seen to as well: a reboot of the hypervisor may have left them down.
    """
    with translated(f"{name} cannot be started"):
        domain, mark = existing(conn, cluster, name)
        with hypervisor(conn.getURI()):
            ensure_pool(conn, place_named(conn, mark.pool))
            ensure_networks(conn, mark)
            add_entries(conn, name, mark.nics)
        power_on(domain)


def stop(conn: libvirt.virConnect, cluster: str, name: str) -> None:
    """Ask it to shut down in order, then end it."""
    with translated(f"{name} cannot be stopped"):
        shut_down(existing(conn, cluster, name)[0])


def kill(conn: libvirt.virConnect, cluster: str, name: str) -> None:
    """End it at once."""
    with translated(f"{name} cannot be stopped"):
        power_off(existing(conn, cluster, name)[0])


def existing(conn: libvirt.virConnect, cluster: str, name: str) -> tuple[libvirt.virDomain, Mark]:
    """The domain of a machine that is whole, and its mark. Raises DriverError for any other."""
    domain = find_domain(conn, name)
    mark = read(domain) if domain is not None else None
    if domain is None or mark is None or mark.cluster != cluster:
        raise DriverError(f"there is no machine {name!r} in cluster {cluster!r}", hint="see `provision ls`")
    if not mark.made:
        raise DriverError(f"{name} is only half made", hint="run `provision up` again, or remove it")
    return domain, mark
