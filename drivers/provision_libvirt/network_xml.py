"""What libvirt is told about networks, and what it says of them. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from provision_libvirt.addresses import Range
from provision_libvirt.metadata import NAMESPACE
from provision_libvirt.names import bridge_name, dns_domain, network_name


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """One of libvirt's networks. `cluster` is whose it is by our mark; empty where it is not ours.

    `address` is the hypervisor's in it, None where libvirt gives it none. `hosts` are its DNS server's own entries
    (names by address), `reserved` its DHCP server's (addresses by MAC); `dhcp` what that gives away.
    """

    name: str
    cluster: str = ""
    bridge: str = ""
    address: IPv4Interface | None = None
    dns: bool = False
    hosts: Mapping[IPv4Address, tuple[str, ...]] = field(default_factory=dict)
    dhcp: tuple[Range, ...] = ()
    reserved: Mapping[str, IPv4Address] = field(default_factory=dict)

    @property
    def subnet(self) -> IPv4Network | None:
        """The network around `address`."""
        return self.address.network if self.address else None


def own_network_xml(cluster: str, subnet: IPv4Network) -> str:
    """A cluster's own network behind NAT. Addresses are the machines' own matter; its DNS knows their names.

    A name without a dot is never asked of others: it is a machine's, or nobody's.
    """
    root = ET.Element("network")
    ET.SubElement(root, "name").text = network_name(cluster)
    metadata = ET.SubElement(root, "metadata")
    ET.SubElement(metadata, f"{{{NAMESPACE}}}network", cluster=cluster)
    ET.SubElement(root, "forward", mode="nat")
    ET.SubElement(root, "bridge", name=bridge_name(cluster), stp="off", delay="0")
    ET.SubElement(root, "domain", name=dns_domain(cluster), localOnly="yes")
    ET.SubElement(root, "dns", forwardPlainNames="no")
    ET.SubElement(root, "ip", address=str(subnet[1]), prefix=str(subnet.prefixlen))
    return ET.tostring(root, encoding="unicode")


def dns_host_xml(address: IPv4Address, *names: str) -> str:
    """An entry of a network's DNS server; without names, all that it has of the address."""
    host = ET.Element("host", ip=str(address))
    for name in names:
        ET.SubElement(host, "hostname").text = name
    return ET.tostring(host, encoding="unicode")


def dhcp_host_xml(mac: str, address: IPv4Address, name: str) -> str:
    """An entry of a network's DHCP server."""
    return ET.tostring(ET.Element("host", mac=mac, name=name, ip=str(address)), encoding="unicode")


def network_facts(xml: str) -> NetworkFacts:
    """What a network's XML says; of several IPv4 addresses, the first."""
    root = ET.fromstring(xml)
    mark = root.find(f"metadata/{{{NAMESPACE}}}network")
    bridge = root.find("bridge")
    four = next((each for each in root.findall("ip") if each.get("family", "ipv4") == "ipv4"), None)
    address = _interface(four) if four is not None else None
    dns = root.find("dns")
    served = four is not None and (dns is None or dns.get("enable", "yes") == "yes")
    return NetworkFacts(
        name=root.findtext("name", ""),
        cluster=mark.get("cluster", "") if mark is not None else "",
        bridge=bridge.get("name", "") if bridge is not None else "",
        address=address,
        dns=served,
        hosts={
            IPv4Address(host.get("ip", "")): tuple(name.text or "" for name in host.findall("hostname"))
            for host in root.findall("dns/host")
            if "." in host.get("ip", "")
        },
        dhcp=tuple(_ranges(four, address)) if four is not None and address is not None else (),
        reserved={
            host.get("mac", ""): IPv4Address(host.get("ip", ""))
            for host in (four.findall("dhcp/host") if four is not None else ())
            if host.get("ip")
        },
    )


def _ranges(element: ET.Element, address: IPv4Interface) -> Iterator[Range]:
    for each in element.findall("dhcp/range"):
        yield Range(IPv4Address(each.get("start", "")), IPv4Address(each.get("end", "")), address.network.prefixlen)


def _interface(element: ET.Element) -> IPv4Interface | None:
    """`prefix` or `netmask`, whichever is there."""
    address = element.get("address")
    if not address:
        return None
    return IPv4Interface(f"{address}/{element.get('prefix') or element.get('netmask') or '24'}")
