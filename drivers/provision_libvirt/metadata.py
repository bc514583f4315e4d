"""The mark in a domain's metadata: that it is ours, and all that was made for it. No secret is in it.

A domain is defined, with its mark, before anything else of a machine is made, and undefined when all else is gone. So
whatever a crash leaves is named by a domain, and nothing but the hypervisor need be asked.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import libvirt

NAMESPACE = "urn:provision:1"
_PREFIX = "provision"

#: what `Mark.boot` says of a domain that is no machine, but is saved for warm machines to be cloned from
TEMPLATE = "template"

ET.register_namespace(_PREFIX, NAMESPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NicMark:
    """A network card: in a network of libvirt's, or in a bridge of the hypervisor.

    `address` is with its prefix length (10.200.1.10/24), and empty where the guest asks by DHCP. `reserved`: the
    network's DHCP server has an entry for it, which is ours.
    """

    mac: str
    network: str = ""
    bridge: str = ""
    address: str = ""
    reserved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a machine of ours is. The first of `nics` is the one that SSH and the swarm use.

    `volumes` are its own in `pool`, `bases` those that it shares with others. `made` is False until create has
    finished, and again once destroy has begun, which `leaving` tells; `maker` is who works on it then (`makers.py`).
    """

    cluster: str
    group: str = ""
    number: int = 0
    role: str = ""
    user: str = ""
    port: int = 22
    host_key: str = ""
    image: str = ""
    boot: str = "cold"
    first_boot: str = ""
    pool: str = ""
    volumes: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    nics: tuple[NicMark, ...] = ()
    made: bool = False
    leaving: bool = False
    maker: str = ""

    @property
    def address(self) -> str | None:
        """The machine's address without its prefix length; None where it has none of its own."""
        first = self.nics[0].address if self.nics else ""
        return first.partition("/")[0] or None


@dataclass(frozen=True, slots=True)
class Owned:
    """A domain of ours and its mark; `domain` is libvirt's own object."""

    name: str
    mark: Mark
    domain: Any = field(compare=False, repr=False)


def read(domain: libvirt.virDomain) -> Mark | None:
    """The mark of a domain, or None where it is not ours (or is gone by now). Raises libvirt's error."""
    import libvirt

    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        if domain.isPersistent():
            raise
        return None  # a transient one has no definition to ask for, and is none of ours
    return from_xml(text)


def write(domain: libvirt.virDomain, mark: Mark) -> None:
    """Replace the mark of a domain, in its definition and where it runs. Raises libvirt's error."""
    import libvirt

    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    text = ET.tostring(_element(mark, ""), encoding="unicode")
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, _PREFIX, NAMESPACE, flags)


def owned(conn: libvirt.virConnect, cluster: str | None = None) -> tuple[Owned, ...]:
    """The domains of a cluster, by name; without one, all that are ours. Raises libvirt's error."""
    return tuple(sorted(_owned(conn, cluster), key=lambda each: each.name))


def is_machine(found: Owned, cluster: str) -> bool:
    """Whether it is a machine of the cluster, and not a template that machines are cloned from."""
    return found.mark.cluster == cluster and found.mark.boot != TEMPLATE


def to_element(mark: Mark) -> ET.Element:
    """For a domain's `<metadata>`."""
    return _element(mark, f"{{{NAMESPACE}}}")


def from_xml(text: str) -> Mark:
    """The mark as libvirt gives it back, with or without its name space. What is missing has its default."""
    root = ET.fromstring(text)
    values = root.attrib
    return Mark(
        cluster=values.get("cluster", ""),
        group=values.get("group", ""),
        number=_number(values.get("number", ""), 0),
        role=values.get("role", ""),
        user=values.get("user", ""),
        port=_number(values.get("port", ""), 22),
        host_key=values.get("host_key", ""),
        image=values.get("image", ""),
        boot=values.get("boot", "cold"),
        first_boot=values.get("first_boot", ""),
        pool=values.get("pool", ""),
        volumes=tuple(each.get("name", "") for each in _children(root, "volume")),
        bases=tuple(each.get("name", "") for each in _children(root, "base")),
        nics=tuple(_nic(each) for each in _children(root, "nic")),
        made=values.get("made") == "yes",
        leaving=values.get("leaving") == "yes",
        maker=values.get("maker", ""),
    )


def _owned(conn: libvirt.virConnect, cluster: str | None) -> Iterator[Owned]:
    for domain in conn.listAllDomains(0):
        mark = read(domain)
        if mark is not None and mark.cluster and cluster in (None, mark.cluster):
            yield Owned(domain.name(), mark, domain)


def _element(mark: Mark, space: str) -> ET.Element:
    texts = {
        "cluster": mark.cluster,
        "group": mark.group,
        "number": str(mark.number),
        "role": mark.role,
        "user": mark.user,
        "port": str(mark.port),
        "address": mark.address or "",
        "host_key": mark.host_key,
        "image": mark.image,
        "boot": mark.boot,
        "first_boot": mark.first_boot,
        "pool": mark.pool,
        "made": _yes(mark.made),
        "leaving": _yes(mark.leaving),
        "maker": mark.maker,
    }
    root = ET.Element(f"{space}machine", {key: text for key, text in texts.items() if text})
    for nic in mark.nics:
        told = {"mac": nic.mac, "network": nic.network, "bridge": nic.bridge, "address": nic.address}
        told["reserved"] = _yes(nic.reserved)
        ET.SubElement(root, f"{space}nic", {key: text for key, text in told.items() if text})
    for name in mark.volumes:
        ET.SubElement(root, f"{space}volume", name=name)
    for name in mark.bases:
        ET.SubElement(root, f"{space}base", name=name)
    return root


def _nic(element: ET.Element) -> NicMark:
    return NicMark(
        mac=element.get("mac", ""),
        network=element.get("network", ""),
        bridge=element.get("bridge", ""),
        address=element.get("address", ""),
        reserved=element.get("reserved") == "yes",
    )


def _children(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in root if child.tag.rpartition("}")[2] == name)


def _yes(value: bool) -> str:
    return "yes" if value else ""


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isdecimal() else otherwise
