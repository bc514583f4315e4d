"""Unmaking a machine. Its domain is undefined last, so what a crash leaves of it can still be found."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from provision_libvirt.connection import translated
from provision_libvirt.locks import hypervisor
from provision_libvirt.makers import this_process
from provision_libvirt.metadata import Mark, is_machine, owned, read, write
from provision_libvirt.names import console_volume
from provision_libvirt.networks import remove_entries, remove_own_network
from provision_libvirt.objects import find_domain, missing
from provision_libvirt.power import power_off
from provision_libvirt.storage import place_named, remove_own_pool, remove_volumes

if TYPE_CHECKING:
    import libvirt


def destroy(conn: libvirt.virConnect, cluster: str, name: str) -> None:
    """Remove the machine and all that was made for it, however much of that is there. Gone already is fine.

    What the cluster shares goes with its last machine; bases and the pool with the last one of all that needs them.
    """
    with translated(f"{name} cannot be removed"):
        domain = find_domain(conn, name)
        mark = read(domain) if domain is not None else None
        if domain is None or mark is None or mark.cluster != cluster:
            return
        leaving = replace(mark, made=False, leaving=True, maker=this_process())
        _write(domain, leaving)
        try:
            clear(conn, domain, mark)
            with hypervisor(conn.getURI()):
                _forget(conn, domain, name, mark)
        except BaseException:
            _leave(domain, leaving)
            raise


def clear(conn: libvirt.virConnect, domain: libvirt.virDomain, mark: Mark) -> None:
    """All that is the machine's alone, but its definition."""
    power_off(domain)
    remove_volumes(conn, mark.pool, mark.volumes, logs=(console_volume(domain.name()),))


def release(conn: libvirt.virConnect, mark: Mark, others: Sequence[Mark]) -> None:
    """Remove the bases and the pool that the mark names, unless one of the others does. Under the hypervisor's lock."""
    beside = [other for other in others if other.pool == mark.pool]
    needed = {base for other in beside for base in other.bases}
    remove_volumes(conn, mark.pool, [base for base in mark.bases if base not in needed])
    if not beside:
        remove_own_pool(conn, place_named(conn, mark.pool))


def _forget(conn: libvirt.virConnect, domain: libvirt.virDomain, name: str, mark: Mark) -> None:
    """What it shares, as far as nobody else needs it, and last its definition.

    Templates are none of a cluster's machines: a killed run left them, and they go with the last one.
    """
    remove_entries(conn, name, mark.nics)
    others = [each for each in owned(conn) if each.name != name]
    if not any(is_machine(other, mark.cluster) for other in others):
        for template in [other for other in others if other.mark.cluster == mark.cluster]:
            others.remove(template)
            clear(conn, template.domain, template.mark)
            release(conn, template.mark, [mark, *(other.mark for other in others)])
            _undefine(template.domain)
        remove_own_network(conn, mark.cluster)
    release(conn, mark, [other.mark for other in others])
    _undefine(domain)


def _undefine(domain: libvirt.virDomain) -> None:
    import libvirt

    flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    more = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    with missing(libvirt.VIR_ERR_NO_DOMAIN):
        try:
            domain.undefineFlags(flags | more)
        except libvirt.libvirtError as exc:
            if exc.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
                raise
            domain.undefineFlags(flags)  # libvirt's test hypervisor knows no more


def _leave(domain: libvirt.virDomain, leaving: Mark) -> None:
    """Nobody works on it any more: it is half removed, and says so."""
    import libvirt

    with contextlib.suppress(libvirt.libvirtError):  # what failed before is what is told
        _write(domain, replace(leaving, maker=""))


def _write(domain: libvirt.virDomain, mark: Mark) -> None:
    """Somebody else may have removed it by now."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_DOMAIN):
        write(domain, mark)
