"""What only kernels of one's own can show: the routing mesh, and an overlay network that is encrypted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from lab_support import eventually, fetch
from vm_support import VmLab

MACHINES = ("vm-manager-1", "vm-worker-1", "vm-worker-2")
#: in the container of `probe` on a node: ask swarm's own name server for `web`, and get the page from that address;
#: the wget of Debian's static busybox cannot look up names itself
ASK = """
probe=$(docker ps --quiet --filter label=com.docker.swarm.service.name=app_probe | head -1)
address=$(docker exec $probe nslookup web 127.0.0.11 | sed -n 's/^Address[^:]*: *//p' | tail -1)
docker exec $probe wget -q -T 10 -O - http://$address:8080/
"""


@pytest.mark.parametrize("name", MACHINES)
def test_routing_mesh_answers_on_every_node_s_published_port(lab: VmLab, shared: Path, name: str) -> None:
    """Also on the manager, where no task of it runs; and it leads to all tasks, not to the nearest."""
    address = lab.guest(name).address
    assert fetch(address).startswith("hello from vm-worker-")
    pages: set[str] = set()

    def all_tasks_have_answered() -> bool:
        pages.add(fetch(address).strip())
        return pages == {"hello from vm-worker-1", "hello from vm-worker-2"}

    eventually(all_tasks_have_answered)


@pytest.mark.parametrize("name", MACHINES)
def test_service_answers_inside_the_encrypted_network(lab: VmLab, shared: Path, name: str) -> None:
    """By its name and virtual address, from a container on every node."""
    said = lab.guest(name).sh(ASK)
    assert said.startswith("hello from vm-worker-")


def test_what_the_network_carries_is_encrypted(lab: VmLab, shared: Path) -> None:
    """The kernel has encrypted it: its associations with the other nodes have counted bytes."""
    guest = lab.guest("vm-manager-1")
    before = _encrypted_bytes(guest.sh("ip -s xfrm state"))
    for _ in range(2):  # one for each task, of which none is here
        guest.sh(ASK)
    assert _encrypted_bytes(guest.sh("ip -s xfrm state")) > before


def test_swarm_s_ports_are_closed_to_who_is_no_member(lab: VmLab, shared: Path) -> None:
    """This machine is in the cluster's network, and no node of it."""
    for port in (2377, 7946):
        asked = lab.command("timeout", "3", "bash", "-c", f"</dev/tcp/{lab.guest('vm-manager-1').address}/{port}")
        assert asked.status != 0, f"port {port} is open to everybody"


def _encrypted_bytes(states: str) -> int:
    """The bytes that all associations have carried, as `ip -s xfrm state` tells of the current ones."""
    words = states.replace("(", " ").replace(")", " ").split()
    found = [int(word) for word, unit in pairwise(words) if unit == "bytes," and word.isdecimal()]
    assert "proto esp" in states, states
    return sum(found)
