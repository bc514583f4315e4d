"""Swarm's ports answer the cluster's members and nobody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from lab_support import Guest, Lab, Shared

NAMESPACE = "/run/netns/foreigner"
#: connects, and says what came of it; a packet that is dropped is never answered
_TCP = """
import errno, socket, sys
s = socket.socket(); s.settimeout(2)
print(errno.errorcode.get(s.connect_ex((sys.argv[1], int(sys.argv[2]))), "open"))
"""
_UDP = """
import socket, sys
for port in sys.argv[2:]:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", (sys.argv[1], int(port)))
"""
#: counts what passes the cluster's own table, which comes before it
_SEEN = """
nft add table inet seen
nft 'add chain inet seen input { type filter hook input priority 100 ; }'
for address in %s; do for port in 4789 7946; do
    nft add rule inet seen input ip saddr $address udp dport $port udp length 13 counter
done; done
"""


@pytest.fixture(scope="module")
def foreigner(lab: Lab, shared: Shared) -> Iterator[str]:
    """The address of a host on the cluster's bridge that is no member; in the namespace `foreigner`."""
    machine = lab.guest("lab-manager-1").machine
    address = machine.address
    assert address is not None
    own = f"{address.rpartition('.')[0]}.9"
    script = f"""
        set -e
        ip netns add foreigner
        ip link add pvforeign type veth peer name eth0 netns foreigner
        ip link set pvforeign master {machine.details["bridge"]} up
        ip -n foreigner address add {own}/24 dev eth0
        ip -n foreigner link set eth0 up
    """
    try:
        lab.command("sh", "-c", script).ok()
        yield own
    finally:
        lab.command("sh", "-c", "ip link del pvforeign; ip netns del foreigner")


def _tcp(lab: Lab, where: tuple[str, ...], address: str, port: int) -> str:
    return lab.command("nsenter", *where, sys.executable, "-c", _TCP, address, str(port)).ok().stdout.strip()


@pytest.mark.parametrize("port", [2377, 7946])
def test_tcp_port_is_open_to_a_member_and_silent_to_a_foreigner(lab: Lab, foreigner: str, port: int) -> None:
    manager = lab.guest("lab-manager-2")
    member = ("-n", "-t", str(lab.guest("lab-worker-1").pid))
    assert _tcp(lab, member, manager.address, port) == "open"
    assert _tcp(lab, (f"--net={NAMESPACE}",), manager.address, port) in ("EAGAIN", "ETIMEDOUT")


def test_foreigner_is_on_the_network_all_the_same(lab: Lab, foreigner: str) -> None:
    """Else the test above would prove nothing."""
    assert _tcp(lab, (f"--net={NAMESPACE}",), lab.guest("lab-manager-2").address, 22) == "open"


def test_udp_ports_take_packets_of_members_only(lab: Lab, foreigner: str) -> None:
    manager, worker = lab.guest("lab-manager-2"), lab.guest("lab-worker-1")
    try:
        manager.sh(_SEEN % f"{foreigner} {worker.address}")
        for where in ((f"--net={NAMESPACE}",), ("-n", "-t", str(worker.pid))):
            lab.command("nsenter", *where, sys.executable, "-c", _UDP, manager.address, "4789", "7946").ok()
        assert _counted(manager) == {
            (foreigner, "4789"): 0,
            (foreigner, "7946"): 0,
            (worker.address, "4789"): 1,
            (worker.address, "7946"): 1,
        }
    finally:
        manager.run("nft delete table inet seen")


def _counted(guest: Guest) -> dict[tuple[str, str], int]:
    rules = [line.split() for line in guest.sh("nft list table inet seen").splitlines() if "counter packets" in line]
    return {(r[r.index("saddr") + 1], r[r.index("dport") + 1]): int(r[r.index("packets") + 1]) for r in rules}
