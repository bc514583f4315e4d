"""A second cluster on the same hypervisor: neither is in the other's way."""

from __future__ import annotations

from pathlib import Path

from lab_support import Up
from vm_support import VmLab, vm_inventory


def test_second_cluster_comes_and_goes_beside_the_first(lab: VmLab, shared: Path, cluster: Up) -> None:
    there = set(lab.libvirtd.leftovers())
    path = cluster("pair", vm_inventory("pair", workers=0))
    machines = {name: {guest.address for guest in lab.guests(name).values()} for name in ("vm", "pair")}
    networks = {name: {address.rpartition(".")[0] for address in found} for name, found in machines.items()}
    assert len(networks["vm"]) == len(networks["pair"]) == 1
    assert networks["vm"] != networks["pair"]
    assert sorted(lab.nodes("pair-manager-1")) == ["pair-manager-1"]
    assert sorted(lab.nodes("vm-manager-1")) == ["vm-manager-1", "vm-worker-1", "vm-worker-2"]
    assert lab.guest("pair-manager-1").run("getent hosts vm-manager-1").status != 0
    for name in ("pair-manager-1", "vm-worker-1"):
        assert lab.run("ssh", name, "hostname").ok().stdout.strip() == name

    lab.run("down", path, "--yes").ok()

    assert set(lab.libvirtd.leftovers()) == there
    assert lab.run("up", shared).ok().stdout == "vm: nothing to do\n"
