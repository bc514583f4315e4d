"""The end of the shared cluster: after `down` there is no domain, volume, network, bridge, file, process or state."""

from __future__ import annotations

from pathlib import Path

from lab_support import files_below
from vm_support import VmLab

from provision_libvirt import LibvirtDriver


def test_machine_shuts_down_in_order_and_up_would_start_it(lab: VmLab, shared: Path) -> None:
    LibvirtDriver({}).stop(lab.guest("vm-worker-2").machine)
    assert lab.power("vm-worker-2") == "Stopped"
    assert "system halt" in lab.run("console", "-n", "20", "vm-worker-2").ok().stdout.lower()
    planned = lab.run("plan", shared, "--detailed-exitcode")
    assert planned.status == 10, planned
    assert "vm-worker-2  start machine" in planned.stdout


def test_down_leaves_nothing(lab: VmLab, shared: Path) -> None:
    there = {line.split()[0] for line in lab.libvirtd.leftovers()}
    assert there == {"domain", "volume", "network", "pool", "file", "link", "process"}
    lab.run("down", shared).fails(2, "--yes")
    assert len(lab.machines("vm")) == 3

    assert lab.run("down", shared, "--yes").ok().stdout == "vm: nothing is left\n"

    assert lab.libvirtd.leftovers() == []
    assert files_below(lab.states) == {}
    # a second time there is nothing to be done
    lab.run("down", shared, "--yes").ok()
