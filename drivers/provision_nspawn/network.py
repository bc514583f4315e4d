"""A cluster's bridge and a machine's namespace, made in the network namespace that provision runs in."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from provision.local.commands import Commands
from provision_nspawn.layout import KernelNames
from provision_nspawn.records import ClusterRecord, MachineRecord

#: Where `ip netns` keeps the namespaces' names.
NAMESPACES = Path("/run/netns")


def networks_in_use(commands: Commands) -> tuple[IPv4Network, ...]:
    """Every IPv4 network that this namespace routes or has an address in, the default route aside."""
    routes = json.loads(commands.run("ip", "-4", "-json", "route", "show", "table", "all") or "[]")
    addresses = json.loads(commands.run("ip", "-4", "-json", "address", "show") or "[]")
    return tuple(networks_of(routes, addresses))


def has_default_route(commands: Commands) -> bool:
    """Whether this namespace has a way out."""
    return bool(json.loads(commands.run("ip", "-4", "-json", "route", "show", "default") or "[]"))


def exists(interface: str) -> bool:
    """Whether this namespace has the interface."""
    try:
        socket.if_nametoindex(interface)
    except OSError:
        return False
    return True


def ensure_bridge(names: KernelNames, cluster: ClusterRecord, commands: Commands) -> bool:
    """Make the cluster's bridge, up and with this machine's address; whether it had to be made."""
    if exists(names.bridge):
        return False
    commands.run(
        *("ip", "-batch", "-"),
        stdin=f"link add {names.bridge} type bridge\n"
        f"address add {cluster.gateway}/{cluster.network.prefixlen} dev {names.bridge}\n"
        f"link set {names.bridge} up\n",
    )
    # Forwarding from the bridge is on even where no way out exists: the kernel then answers a guest's packet with
    # "network unreachable" at once, where it would otherwise drop it and leave the guest to its time-outs.
    Path(f"/proc/sys/net/ipv4/conf/{names.bridge}/forwarding").write_text("1")
    return True


def remove_bridge(names: KernelNames, commands: Commands) -> None:
    """Remove the bridge; gone already is fine."""
    if exists(names.bridge):
        commands.run("ip", "link", "delete", names.bridge)


def make_namespace(names: KernelNames, cluster: ClusterRecord, machine: MachineRecord, commands: Commands) -> None:
    """Make the machine's namespace with `eth0` in it, addressed, routed and plugged into the bridge.

    Only while the machine does not run: what is there of it is made again from nothing, for a crash may have left half.
    """
    remove_namespace(names, commands)
    commands.run(
        *("ip", "-batch", "-"),
        stdin=f"netns add {names.unit}\n"
        f"link add {names.veth} type veth peer name eth0 address {machine.mac} netns {names.unit}\n"
        f"link set {names.veth} master {names.bridge} up\n",
    )
    commands.run(
        *("ip", "-netns", names.unit, "-batch", "-"),
        stdin="link set lo up\n"
        f"address add {machine.address}/{cluster.network.prefixlen} dev eth0\n"
        "link set eth0 up\n"
        f"route add default via {cluster.gateway}\n",
    )


def remove_namespace(names: KernelNames, commands: Commands) -> None:
    """Remove the machine's link and namespace; gone already is fine."""
    if exists(names.veth):
        commands.run("ip", "link", "delete", names.veth)
    path = NAMESPACES / names.unit
    if path.exists():
        # A name without a namespace behind it (a crash between the two) is a plain file, which ip will not delete.
        if path.is_mount():
            commands.run("ip", "netns", "delete", names.unit)
        else:
            commands.attempt("ip", "netns", "delete", names.unit)
        path.unlink(missing_ok=True)


def networks_of(routes: Iterable[dict[str, Any]], links: Iterable[dict[str, Any]]) -> Iterable[IPv4Network]:
    """The networks in what `ip -json route` and `ip -json address` say."""
    for route in routes:
        if route.get("type", "unicast") == "unicast" and route["dst"] != "default":
            yield IPv4Network(route["dst"], strict=False)
    for link in links:
        for address in link.get("addr_info", ()):
            if address.get("family") == "inet":
                yield IPv4Network(f"{IPv4Address(address['local'])}/{address['prefixlen']}", strict=False)
