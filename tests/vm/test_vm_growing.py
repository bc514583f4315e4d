"""add-worker and rm: who is new joins and answers, who goes leaves nothing, and the others are not touched."""

from __future__ import annotations

from pathlib import Path

from lab_support import eventually, fetch
from vm_support import VmLab


def test_worker_is_added_and_removed_again(lab: VmLab, shared: Path) -> None:
    text = shared.read_text()
    there = set(lab.libvirtd.leftovers())
    before = {name: guest.engine_started() for name, guest in lab.guests("vm").items()}

    lab.run("add-worker", shared, seconds=900).ok()

    nodes = lab.nodes("vm-manager-1")
    assert sorted(nodes) == ["vm-manager-1", "vm-worker-1", "vm-worker-2", "vm-worker-3"]
    assert nodes["vm-worker-3"].ready
    assert nodes["vm-worker-3"].labels["tier"] == "web"
    eventually(lambda: fetch(lab.guest("vm-worker-3").address).startswith("hello from vm-worker-"), seconds=60)
    assert lab.guest("vm-worker-1").sh("getent hosts vm-worker-3").split()[0] == lab.guest("vm-worker-3").address

    lab.run("rm", "vm-worker-3", "--yes").ok()

    assert sorted(lab.nodes("vm-manager-1")) == ["vm-manager-1", "vm-worker-1", "vm-worker-2"]
    assert {name: guest.engine_started() for name, guest in lab.guests("vm").items()} == before
    assert set(lab.libvirtd.leftovers()) == there
    assert shared.read_text() == text
    assert lab.guest("vm-worker-1").run("getent hosts vm-worker-3").status != 0
    assert lab.run("up", shared).ok().stdout == "vm: nothing to do\n"


def test_stopped_worker_is_started_by_up(lab: VmLab, shared: Path) -> None:
    """It shuts down in order when it is asked, and comes back as who it was."""
    from provision_libvirt import LibvirtDriver

    worker = lab.guest("vm-worker-2")
    node = lab.nodes("vm-manager-1")["vm-worker-2"].id
    LibvirtDriver({}).stop(worker.machine)
    assert lab.power("vm-worker-2") == "Stopped"
    assert "reached target poweroff" in lab.run("console", "vm-worker-2").ok().stdout.lower().replace("\x1b[0m", "")
    planned = lab.run("plan", shared, "--detailed-exitcode")
    assert planned.status == 10, planned
    assert "start machine" in planned.stdout

    lab.run("up", shared, seconds=900).ok()

    again = lab.guest("vm-worker-2")
    assert (again.address, again.machine.host_keys) == (worker.address, worker.machine.host_keys)
    eventually(lambda: lab.nodes("vm-manager-1")["vm-worker-2"].ready, seconds=60)
    assert lab.nodes("vm-manager-1")["vm-worker-2"].id == node
    eventually(lambda: "hello from" in fetch(again.address), seconds=60)
