"""What libvirt is told about one machine's part of a snapshot, and what it says of it. Pure."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass

_MARK = "urn:provision:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One machine's part of a cluster's snapshot.

    `machines` are all that were saved with it, `ran` whether this one did, `agent` whether its guest agent answered to
    libvirt then. `created` is in seconds since 1970, the hypervisor's clock; 0 before libvirt has made it.
    """

    name: str
    cluster: str
    machines: tuple[str, ...]
    ran: bool
    agent: bool
    created: int = 0


def render(part: Part) -> str:
    """The XML that `snapshotCreateXML` takes. libvirt keeps no metadata of a snapshot, but a description."""
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = part.name
    ET.SubElement(root, "description").text = json.dumps(
        {
            "mark": _MARK,
            "cluster": part.cluster,
            "machines": list(part.machines),
            "ran": part.ran,
            "agent": part.agent,
        }
    )
    return ET.tostring(root, encoding="unicode")


def parse(xml: str) -> Part | None:
    """The part, or None for a snapshot that somebody else made."""
    root = ET.fromstring(xml)
    try:
        mark = json.loads(root.findtext("description") or "")
        if mark["mark"] != _MARK:
            return None
        return Part(
            name=root.findtext("name") or "",
            cluster=str(mark["cluster"]),
            machines=tuple(str(name) for name in mark["machines"]),
            ran=bool(mark["ran"]),
            agent=bool(mark["agent"]),
            created=int(root.findtext("creationTime") or 0),
        )
    except (ValueError, TypeError, KeyError):
        return None


def has_agent(domain_xml: str) -> bool:
    """Whether the guest agent of a running domain is connected."""
    for target in ET.fromstring(domain_xml).iterfind("devices/channel/target"):
        if target.get("name") == "org.qemu.guest_agent.0":
            return target.get("state") == "connected"
    return False
