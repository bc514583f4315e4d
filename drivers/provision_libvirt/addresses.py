"""Which address a machine gets: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError

from provision.errors import DriverError

#: The first addresses of a whole network are the gateway's and spare ones for other uses.
_FIRST_HOST = 10


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses from `first` to `last`, both included, in a network with this prefix length."""

    first: IPv4Address
    last: IPv4Address
    prefix: int

    @property
    def network(self) -> IPv4Network:
        """The network that they are in."""
        return IPv4Interface(f"{self.first}/{self.prefix}").network

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __iter__(self) -> Iterator[IPv4Address]:
        return (IPv4Address(number) for number in range(int(self.first), int(self.last) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A network as machines are plugged into it: one of libvirt's by `network`, or a `bridge`.

    `range` is what addresses are chosen from; None where the guest asks by DHCP. `taken` are those that somebody has.
    An address within `dhcp` must be reserved at the network's DHCP server. `names`: its DNS takes entries for machines.
    """

    network: str = ""
    bridge: str = ""
    range: Range | None = None
    gateway: IPv4Address | None = None
    nameservers: tuple[str, ...] = ()
    taken: frozenset[IPv4Address] = frozenset()
    dhcp: tuple[Range, ...] = ()
    names: bool = False


def parse_range(text: str) -> Range:
    """`192.168.1.100-192.168.1.149/24`. Raises ValueError for anything else."""
    how = f"{text!r} is no range of addresses: write 192.168.1.100-192.168.1.149/24"
    span, _, prefix = text.replace(" ", "").partition("/")
    first, _, last = span.partition("-")
    if not prefix.isdecimal() or not last:
        raise ValueError(how)
    try:
        found = Range(IPv4Address(first), IPv4Address(last), int(prefix))
        network = found.network
    except (AddressValueError, NetmaskValueError) as exc:
        raise ValueError(how) from exc
    ends = (network.network_address, network.broadcast_address)
    if found.last < found.first or found.last not in network or any(end in found for end in ends):
        raise ValueError(f"{text!r}: not both within the hosts of {network}, the lower one first")
    return found


def hosts_of(network: IPv4Network) -> Range:
    """What of a whole network is given to machines."""
    first = min(_FIRST_HOST, network.num_addresses // 4)
    return Range(network[first], network[-2], network.prefixlen)


def choose_address(segment: Segment, keep: IPv4Address | None = None) -> IPv4Address:
    """The lowest free address, or `keep` where that is free still. Raises DriverError when none is free.

    Those that the network's DHCP server does not give away come first.
    """
    assert segment.range is not None
    free = [address for address in segment.range if address not in segment.taken]
    if keep is not None and keep in free:
        return keep
    best = next((address for address in free if not is_served(segment, address)), None)
    if best is not None:
        return best
    if free:
        return free[0]
    where = f"network {segment.network!r}" if segment.network else f"bridge {segment.bridge!r}"
    raise DriverError(
        f"{where} has no free address among {segment.range.first}-{segment.range.last}",
        hint="give it a larger `subnet:` (before its first machine), or more `addresses:`",
    )


def is_served(segment: Segment, address: IPv4Address) -> bool:
    """Whether the network's DHCP server might give the address to somebody else."""
    return any(address in span for span in segment.dhcp)
