"""The networks that machines are plugged into: a cluster's own, made and removed here, and those that are there.

In a network that is not the cluster's own, nothing is changed but the entries of our machines: their names at its DNS
server and, where it gives their addresses away, their reservations at its DHCP server.

Whoever changes something holds the hypervisor's lock. libvirt's errors are the caller's to translate.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

from provision.errors import DriverError
from provision_libvirt.addresses import Range, Segment, hosts_of, parse_range
from provision_libvirt.metadata import Mark, NicMark, Owned
from provision_libvirt.names import network_name
from provision_libvirt.network_xml import (
    NetworkFacts,
    dhcp_host_xml,
    dns_host_xml,
    network_facts,
    own_network_xml,
)
from provision_libvirt.objects import find_network, missing
from provision_libvirt.subnets import choose_subnet, routed_here

if TYPE_CHECKING:
    import libvirt

    from provision_libvirt.options import LibvirtOptions, NetworkOption


class SubnetTakenError(DriverError):
    """The hypervisor itself has a way to a part of this subnet, which only it could know."""

    def __init__(self, subnet: IPv4Network, cause: str) -> None:
        super().__init__(
            f"subnet {subnet} is in use on the hypervisor", detail=cause, hint="choose another for `subnet:`"
        )
        self.subnet = subnet


def segments_of(
    conn: libvirt.virConnect,
    cluster: str,
    options: LibvirtOptions,
    others: Iterable[Owned],
    *,
    local: bool,
    avoid: Iterable[IPv4Network] = (),
) -> tuple[Segment, ...]:
    """What a machine is plugged into, the swarm's network first. `others` are all domains of ours but the machine's.

    Changes nothing. Raises DriverError for a network that is not there, and where no subnet is free; none of `avoid` is
    chosen.
    """
    known = tuple(others)
    if options.network is None:
        subnet = own_subnet(conn, cluster, options.subnet, known, local=local, avoid=avoid)
        first = _own_segment(cluster, subnet, known)
    else:
        first = _there(conn, options.network, known)
        if first.range is None:
            raise DriverError(
                f"network {first.network!r} has no addresses of libvirt's",
                hint="say which ones its machines get: `addresses: 192.168.1.100-192.168.1.149/24`",
            )
    return (first, *(_there(conn, option, known) for option in options.networks))


def own_subnet(
    conn: libvirt.virConnect,
    cluster: str,
    asked: str | None,
    others: Iterable[Owned],
    *,
    local: bool,
    avoid: Iterable[IPv4Network] = (),
) -> IPv4Network:
    """The subnet that the cluster's own network has, will have by its machines' marks, or can have.

    Raises DriverError where it is not the one asked for, or that one is in use.
    """
    known = tuple(others)
    found = network_of(conn, network_name(cluster))
    if found is not None and found.cluster != cluster:
        raise DriverError(
            f"network {found.name!r} is there, and is not the one of cluster {cluster!r}",
            hint=f"give the cluster another name, or see what it is: virsh net-dumpxml {found.name}",
        )
    subnet = found.subnet if found is not None else _claimed(cluster, known)
    if subnet is None:
        claims = (claim for other in {each.mark.cluster for each in known} if (claim := _claimed(other, known)))
        taken = (*subnets_in_use(conn, local=local), *claims, *avoid)
        return choose_subnet(cluster, taken=taken, asked=asked)
    if asked is not None and IPv4Network(asked) != subnet:
        raise DriverError(
            f"cluster {cluster!r} has subnet {subnet}, not {asked}",
            hint="a running cluster keeps its subnet; take `subnet:` out, or take the cluster down first",
        )
    return subnet


def subnets_in_use(conn: libvirt.virConnect, *, local: bool) -> tuple[IPv4Network, ...]:
    """Those of libvirt's networks and, on this machine, of all routes. A remote one's routes are seen at the start."""
    found = (network_facts(network.XMLDesc(0)).subnet for network in conn.listAllNetworks(0))
    return (*(subnet for subnet in found if subnet is not None), *(routed_here() if local else ()))


def network_of(conn: libvirt.virConnect, name: str) -> NetworkFacts | None:
    """What is known of a network; None where there is no such one."""
    network = find_network(conn, name)
    return network_facts(network.XMLDesc(0)) if network is not None else None


def ensure_own_network(conn: libvirt.virConnect, cluster: str, subnet: IPv4Network) -> None:
    """The cluster's own network is there and runs, also after the hypervisor's next start.

    Raises SubnetTakenError, having made nothing, where the hypervisor says so.
    """
    import libvirt

    found = find_network(conn, network_name(cluster))
    network = found or conn.networkDefineXML(own_network_xml(cluster, subnet))
    try:
        _ensure_active(network)
    except libvirt.libvirtError as exc:
        if found is None and "already in use by interface" in str(exc):
            network.undefine()
            raise SubnetTakenError(subnet, str(exc)) from exc
        raise
    if not network.autostart():
        network.setAutostart(1)


def ensure_networks(conn: libvirt.virConnect, mark: Mark) -> None:
    """All that a machine which exists is plugged into runs: a reboot of the hypervisor may have left it down."""
    for name in {nic.network for nic in mark.nics if nic.network}:
        network = find_network(conn, name)
        if network is not None:
            _ensure_active(network)
        elif name == network_name(mark.cluster):
            ensure_own_network(conn, mark.cluster, IPv4Interface(mark.nics[0].address).network)


def remove_own_network(conn: libvirt.virConnect, cluster: str) -> None:
    """Remove it; gone already is fine, and another's of that name is left alone."""
    import libvirt

    network = find_network(conn, network_name(cluster))
    if network is None or network_facts(network.XMLDesc(0)).cluster != cluster:
        return
    with missing(libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_OPERATION_INVALID):
        network.destroy()
    with missing(libvirt.VIR_ERR_NO_NETWORK):
        network.undefine()


def add_entries(conn: libvirt.virConnect, machine: str, nics: Iterable[NicMark]) -> None:
    """Tell networks of a machine: its name to DNS, a reserved address to DHCP. Already told is fine."""
    for nic, network, facts in _entered(conn, nics):
        address = IPv4Interface(nic.address).ip
        stale = [other for other, names in facts.hosts.items() if other == address or machine in names]
        if facts.dns and facts.hosts.get(address) != (machine,) and (facts.cluster or not stale):
            for other in stale:  # what a crash left; in a network that is not ours it may be somebody's
                _update(network, "DELETE", "DNS_HOST", dns_host_xml(other))
            _update(network, "ADD_LAST", "DNS_HOST", dns_host_xml(address, machine))
        if nic.reserved and nic.mac not in facts.reserved:
            _update(network, "ADD_LAST", "IP_DHCP_HOST", dhcp_host_xml(nic.mac, address, machine))


def remove_entries(conn: libvirt.virConnect, machine: str, nics: Iterable[NicMark]) -> None:
    """Take back what `add_entries` told; gone already is fine."""
    for nic, network, facts in _entered(conn, nics):
        address = IPv4Interface(nic.address).ip
        if facts.hosts.get(address) == (machine,):
            _update(network, "DELETE", "DNS_HOST", dns_host_xml(address))
        if nic.reserved and facts.reserved.get(nic.mac) == address:
            _update(network, "DELETE", "IP_DHCP_HOST", dhcp_host_xml(nic.mac, address, machine))


def _own_segment(cluster: str, subnet: IPv4Network, others: tuple[Owned, ...]) -> Segment:
    name = network_name(cluster)
    return Segment(
        network=name,
        range=hosts_of(subnet),
        gateway=subnet[1],
        nameservers=(str(subnet[1]),),
        taken=_given(others, network=name),
        names=True,
    )


def _there(conn: libvirt.virConnect, option: NetworkOption, others: tuple[Owned, ...]) -> Segment:
    asked = parse_range(option.addresses) if option.addresses else None
    gateway = IPv4Address(option.gateway) if option.gateway else None
    if option.bridge is not None:
        taken = _given(others, bridge=option.bridge) | ({gateway} if gateway else set())
        return Segment(
            bridge=option.bridge, range=asked, gateway=gateway, nameservers=option.nameservers or (), taken=taken
        )
    assert option.name is not None
    network = find_network(conn, option.name)
    if network is None:
        raise DriverError(
            f"there is no network {option.name!r}", hint="virsh net-list --all lists those that are there"
        )
    facts = network_facts(network.XMLDesc(0))
    own = facts.address.ip if facts.address else None
    gateway = gateway or own
    taken = _given(others, network=option.name) | frozenset(facts.reserved.values()) | frozenset(facts.hosts)
    servers = (str(own),) if own is not None and facts.dns else ()
    return Segment(
        network=option.name,
        range=asked or (_all_of(facts.subnet) if facts.subnet else None),
        gateway=gateway,
        nameservers=servers if option.nameservers is None else option.nameservers,
        taken=taken | _leased(network) | frozenset(address for address in (own, gateway) if address),
        dhcp=facts.dhcp,
        names=facts.dns,
    )


def _all_of(subnet: IPv4Network) -> Range:
    return Range(subnet[1], subnet[-2], subnet.prefixlen)


def _given(others: Iterable[Owned], *, network: str = "", bridge: str = "") -> frozenset[IPv4Address]:
    """The addresses that machines of ours have there, of whichever cluster."""
    nics = (nic for other in others for nic in other.mark.nics)
    return frozenset(
        IPv4Interface(nic.address).ip for nic in nics if nic.address and (nic.network, nic.bridge) == (network, bridge)
    )


def _leased(network: libvirt.virNetwork) -> frozenset[IPv4Address]:
    """What its DHCP server has given away; nothing where the hypervisor cannot say."""
    import libvirt

    with missing(libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_OPERATION_UNSUPPORTED):
        return frozenset(IPv4Address(lease["ipaddr"]) for lease in network.DHCPLeases() if "." in lease["ipaddr"])
    return frozenset()


def _claimed(cluster: str, others: Iterable[Owned]) -> IPv4Network | None:
    """The subnet that marks of the cluster's machines name for its own network, made or not."""
    name = network_name(cluster)
    nics = (nic for other in others if other.mark.cluster == cluster for nic in other.mark.nics)
    return next((IPv4Interface(nic.address).network for nic in nics if nic.network == name and nic.address), None)


def _entered(
    conn: libvirt.virConnect, nics: Iterable[NicMark]
) -> Iterable[tuple[NicMark, libvirt.virNetwork, NetworkFacts]]:
    """The cards with addresses in networks of libvirt's, each with its network as it is at that moment."""
    for nic in nics:
        if nic.network and nic.address:
            network = find_network(conn, nic.network)
            if network is not None:
                yield nic, network, network_facts(network.XMLDesc(0))


def _update(network: libvirt.virNetwork, command: str, section: str, xml: str) -> None:
    """In what runs and in what is kept, whichever of the two there is."""
    import libvirt

    flags = (libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE if network.isActive() else 0) | (
        libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG if network.isPersistent() else 0
    )
    network.update(
        getattr(libvirt, f"VIR_NETWORK_UPDATE_COMMAND_{command}"),
        getattr(libvirt, f"VIR_NETWORK_SECTION_{section}"),
        -1,
        xml,
        flags,
    )


def _ensure_active(network: libvirt.virNetwork) -> None:
    if not network.isActive():
        network.create()
