"""Warm machines: clones of one that has booted and runs Docker, memory and all, each with an identity of its own.

A clone's disk is a copy of the template's, with the snapshot that holds the memory. libvirt is told of the snapshot,
and reverts the clone to it: so it starts QEMU as it does for every snapshot, and what runs has an ordinary definition.
"""

from __future__ import annotations

import os
import time
import uuid
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from provision.errors import DriverError
from provision_libvirt.copying import fill_volume
from provision_libvirt.domain_xml import domain_element, domain_xml, nic_element
from provision_libvirt.guest_agent import GuestAgent
from provision_libvirt.objects import find_domain
from provision_libvirt.storage import make_file, make_volume
from provision_libvirt.warm_scripts import become
from provision_libvirt.warm_state import SNAPSHOT, State, frozen, plugged, require_possible, state_key
from provision_libvirt.warm_template import ensure_state, seed_of

if TYPE_CHECKING:
    import libvirt

    from provision_libvirt.claim import Claim
    from provision_libvirt.domain_xml import DomainSettings

#: seconds until a restored guest's agent answers, and until it is who it shall be
_AGENT_SECONDS = 120.0
_BECOME_SECONDS = 300.0


def clone(claim: Claim) -> None:
    """Make the disks of a claimed machine, and have it run: with its name, keys and addresses, and Docker ready.

    Its definition is that of a machine that boots: what restarts it finds nothing unusual. The first of its kind takes
    as long as a cold boot, and makes the state that others start from. libvirt's errors are the caller's to translate.
    """
    require_possible(claim.request)
    state = ensure_state(claim, state_key(claim))
    domain = find_domain(claim.conn, claim.settings.name)
    if domain is None:
        raise DriverError(f"{claim.settings.name} was removed while it was made")
    _make_disks(claim, state)
    _wake(claim, domain)
    agent = GuestAgent(domain)
    agent.wait(seconds=_AGENT_SECONDS)
    script = become(claim.identity, now=time.time(), machine_id=uuid.uuid4().hex, randomness=os.urandom(64))
    agent.run(script, what="taking on its identity", seconds=_BECOME_SECONDS)
    domain.snapshotLookupByName(SNAPSHOT).delete()


def _make_disks(claim: Claim, state: State) -> None:
    conn, request = claim.conn, claim.request
    first, *extras, seed = request.volumes
    fill_volume(conn, request.place, first, state.disk)
    for name, disk in zip(extras, request.options.disks, strict=True):
        make_volume(conn, request.place, name, size=disk.size, form=disk.format)
    make_file(conn, request.place, seed, seed_of(claim.identity))


def _wake(claim: Claim, domain: libvirt.virDomain) -> None:
    """Restore it, plug in what the template had not, and have it run."""
    import libvirt

    snapshot = domain.snapshotCreateXML(snapshot_xml(claim.settings), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
    domain.revertToSnapshot(snapshot, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED)
    claim.conn.defineXML(domain_xml(claim.settings))
    for element in (*extra_disks(claim.settings), *map(nic_element, claim.settings.nics)):
        domain.attachDeviceFlags(ET.tostring(element, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    domain.resume()


def extra_disks(settings: DomainSettings) -> list[ET.Element]:
    """The disks that the template had not, as they are plugged in: behind its own two. Pure."""
    serials = [disk.serial for disk in plugged(settings)]
    found = [disk for disk in domain_element(settings).iterfind("devices/disk") if disk.findtext("serial") in serials]
    for number, disk in enumerate(found):
        target = disk.find("target")
        assert target is not None
        target.set("dev", f"vd{chr(ord('c') + number)}")
    return found


def snapshot_xml(settings: DomainSettings) -> str:
    """The snapshot that the copied disk holds, as a part of this machine. Pure."""
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = SNAPSHOT
    ET.SubElement(root, "state").text = "paused"
    ET.SubElement(root, "creationTime").text = "0"
    ET.SubElement(root, "memory", snapshot="internal")
    disks = ET.SubElement(root, "disks")
    ET.SubElement(disks, "disk", name="vda", snapshot="internal")
    ET.SubElement(disks, "disk", name="vdb", snapshot="no")
    root.append(domain_element(frozen(settings)))
    return ET.tostring(root, encoding="unicode")
