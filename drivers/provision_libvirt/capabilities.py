"""What a hypervisor says of itself: its architecture, its id, and the kinds of machine it offers. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """`uuid` is empty where the hypervisor has none; `types` are the domain types of its own architecture."""

    uuid: str
    arch: str
    types: frozenset[str]
    emulator: str

    @property
    def kvm(self) -> bool:
        """Whether it lists hardware acceleration, which is not to say that it works."""
        return "kvm" in self.types


def read_capabilities(xml: str) -> Capabilities:
    """The parts of libvirt's capabilities that matter here. A hypervisor without QEMU has no types."""
    root = ET.fromstring(xml)
    arch = root.findtext("host/cpu/arch", "")
    guests = [found for found in root.findall("guest/arch") if found.get("name") == arch]
    return Capabilities(
        uuid=root.findtext("host/uuid", ""),
        arch=arch,
        types=frozenset(domain.get("type", "") for guest in guests for domain in guest.findall("domain")),
        emulator=next((guest.findtext("emulator", "") for guest in guests), ""),
    )
