"""The end of the shared cluster: after `down` there is no domain, volume, network, bridge, file, process or state."""

from __future__ import annotations

from pathlib import Path

from lab_support import files_below
from vm_support import VmLab


def test_down_leaves_nothing(lab: VmLab, shared: Path) -> None:
    there = {line.split()[0] for line in lab.libvirtd.leftovers()}
    assert there == {"domain", "volume", "network", "pool", "file", "link", "process"}
    lab.run("down", shared).fails(2, "--yes")
    assert len(lab.nodes("vm-manager-1")) == 3

    assert lab.run("down", shared, "--yes").ok().stdout == "vm: nothing is left\n"

    assert lab.libvirtd.leftovers() == []
    assert files_below(lab.states) == {}
    # a second time there is nothing to be done
    lab.run("down", shared, "--yes").ok()
