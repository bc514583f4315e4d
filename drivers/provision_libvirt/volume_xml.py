"""What libvirt is told about pools and volumes, and what it says of them. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A storage pool: `kind` is libvirt's type of it, `folder` its path on the hypervisor (empty where it has none)."""

    name: str
    kind: str
    folder: str


def pool_xml(name: str, folder: str) -> str:
    """A folder as a pool. Everybody may search it, so that QEMU's user reaches the disks that it is given."""
    root = ET.Element("pool", type="dir")
    ET.SubElement(root, "name").text = name
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "path").text = folder
    ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = "0711"
    return ET.tostring(root, encoding="unicode")


def pool_facts(xml: str) -> PoolFacts:
    """What a pool's XML says."""
    root = ET.fromstring(xml)
    return PoolFacts(
        name=root.findtext("name", ""), kind=root.get("type", ""), folder=root.findtext("target/path", "").rstrip("/")
    )


def volume_xml(
    name: str, *, size: int, form: str, mode: str = "0600", backing: str = "", backing_form: str = ""
) -> str:
    """A file of the pool; `size` is what a machine sees of it, in bytes. With `backing`, a layer over that file."""
    root = ET.Element("volume")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "capacity", unit="bytes").text = str(size)
    if form == "raw":
        ET.SubElement(root, "allocation", unit="bytes").text = "0"
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "format", type=form)
    if form == "qcow2":
        ET.SubElement(target, "compat").text = "1.1"
    ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = mode
    if backing:
        below = ET.SubElement(root, "backingStore")
        ET.SubElement(below, "path").text = backing
        ET.SubElement(below, "format", type=backing_form)
    return ET.tostring(root, encoding="unicode")
