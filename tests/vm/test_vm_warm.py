"""Warm clones: five machines from one that was up, each somebody else; a swarm of them, and their restart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from lab_support import eventually
from vm_support import VmLab, vm_inventory

NAMES = ("warm-manager-1", "warm-worker-1", "warm-worker-2", "warm-worker-3", "warm-worker-4")
#: what must differ between any two of them, and how each of them tells it
OWN = {
    "name": "hostname",
    "machine-id": "cat /etc/machine-id",
    "host key": "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub",
    "MAC": "cat /sys/class/net/$(ip -o route get 10.0.0.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/')/address",
    "address": "hostname -I | cut -d' ' -f1",
    "engine id": "docker info --format '{{.ID}}'",
}


@pytest.fixture(scope="module")
def warm(lab: VmLab) -> Path:
    """Five machines, `boot: warm`."""
    path = lab.write("warm.yml", vm_inventory("warm", workers=4, options="boot: warm"))
    text = path.read_text().replace("memory: 768MiB", "memory: 512MiB")
    path.write_text(text)
    planned = lab.run("plan", path).ok().stdout
    assert "warm" in planned
    lab.run("up", path, seconds=900).ok()
    return path


def identities(lab: VmLab) -> dict[str, dict[str, str]]:
    guests = lab.guests("warm")
    return {name: {what: guest.sh(script) for what, script in OWN.items()} for name, guest in guests.items()}


def test_five_clones_differ_in_all_that_makes_a_machine(lab: VmLab, warm: Path) -> None:
    found = identities(lab)
    assert tuple(sorted(found)) == NAMES
    for what in OWN:
        values = {name: own[what] for name, own in found.items()}
        assert len(set(values.values())) == len(NAMES), f"{what}: {values}"
    for name, guest in lab.guests("warm").items():
        assert found[name]["name"] == name
        assert found[name]["address"] == guest.address
        assert guest.machine.host_keys == (found[name]["host key"],)


def test_they_form_a_swarm(lab: VmLab, warm: Path) -> None:
    nodes = lab.nodes("warm-manager-1")
    assert tuple(sorted(nodes)) == NAMES
    assert all(node.ready for node in nodes.values())
    assert lab.run("up", warm).ok().stdout == "warm: nothing to do\n"


def test_clocks_are_right(lab: VmLab, warm: Path) -> None:
    for guest in lab.guests("warm").values():
        assert abs(int(guest.sh("date +%s")) - time.time()) < 5


def test_they_survive_a_restart(lab: VmLab, warm: Path) -> None:
    """From now on they boot like any other machine, and are still themselves."""
    from provision_libvirt import LibvirtDriver

    before = identities(lab)
    ids = {name: node.id for name, node in lab.nodes("warm-manager-1").items()}
    driver = LibvirtDriver({})
    for machine in lab.machines("warm"):
        driver.kill(machine)
    lab.run("up", warm, seconds=900).ok()
    eventually(lambda: all(node.ready for node in lab.nodes("warm-manager-1").values()), seconds=120)
    assert {name: node.id for name, node in lab.nodes("warm-manager-1").items()} == ids
    assert identities(lab) == before


def test_down_leaves_nothing_of_clones(lab: VmLab, warm: Path) -> None:
    assert lab.run("down", warm, "--yes").ok().stdout == "warm: nothing is left\n"
    assert lab.libvirtd.leftovers() == []
