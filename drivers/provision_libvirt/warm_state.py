"""The saved state of a booted machine, from which warm ones are cloned: what it must agree in, and where it is kept.

QEMU takes a machine's memory back only into a machine of exactly the same make. So the state is kept under a hash of
everything that a machine is made of but its names: a change of any leads to a new state, not to a broken machine.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import DriverError
from provision.images.store import stores
from provision_libvirt.domain_xml import domain_xml
from provision_libvirt.metadata import Mark
from provision_libvirt.warm_scripts import READY, REST

if TYPE_CHECKING:
    from provision_libvirt.claim import Claim, Request
    from provision_libvirt.domain_xml import DiskSettings, DomainSettings

#: the internal snapshot in the state's disk
SNAPSHOT = "warm"
#: the disk's file in the state's folder of the image store
FILE = "state.qcow2"
#: changes when a state that was saved by other code of ours must not be used any more
_EDITION = 1


def require_possible(request: Request) -> None:
    """Raises DriverError for a machine that cannot be cloned warm."""
    name = request.spec.name
    if request.spec.user_data is not None:
        raise DriverError(
            f"{name}: `user_data` is obeyed at a first boot, and a warm clone has none",
            hint="leave it out, or set `boot: cold`",
        )
    if request.options.firmware != "bios":
        raise DriverError(
            f"{name}: the memory of a machine with firmware {request.options.firmware} cannot be saved",
            hint="set `firmware: bios`, or `boot: cold`",
        )


def frozen(settings: DomainSettings) -> DomainSettings:
    """The machine as its memory knows it: its first disk and its seed, and nothing that is plugged in later."""
    return replace(
        settings, disks=(settings.disks[0], settings.disks[-1]), nics=(), balloon=False, title="", description=""
    )


def plugged(settings: DomainSettings) -> tuple[DiskSettings, ...]:
    """The disks that `frozen` leaves out."""
    return settings.disks[1:-1]


def state_key(claim: Claim) -> str:
    """The state that this machine can be cloned from; 16 hex digits, as images have."""
    conn, request = claim.conn, claim.request
    return _hash(
        (
            str(_EDITION),
            READY,
            REST,
            domain_xml(_nameless(frozen(claim.settings))),
            request.image.digest,
            str(request.size),
            request.spec.user,
            str(request.spec.port),
            str(conn.getLibVersion()),
            str(conn.getVersion()),
            _processor(conn.getCapabilities()) if claim.settings.platform.kind == "kvm" else "",
        )
    )


def _nameless(settings: DomainSettings) -> DomainSettings:
    """Names and paths are no part of what memory knows; the disk's layers below the first are."""
    disks = tuple(replace(disk, path="") for disk in settings.disks)
    return replace(settings, name="", uuid="", mark=Mark(cluster=""), console="", disks=disks)


def _processor(capabilities: str) -> str:
    """The hypervisor's processor, which a machine on KVM has too."""
    found = ET.fromstring(capabilities).find("host/cpu")
    return ET.tostring(found, encoding="unicode") if found is not None else ""


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class State:
    """A state that is kept on this machine: `disk` is its file."""

    key: str
    disk: Path


def find_state(key: str) -> State | None:
    """The state under this key, of this user or the system's; None where it was never made, or may not be read."""
    for store in stores():
        disk = store.folder(key) / FILE
        try:
            with disk.open("rb"):
                return State(key, disk)
        except OSError:
            continue
    return None
