"""A snapshot of a whole cluster: whatever was done to it since, the swarm comes back whole with its services."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lab_support import eventually, fetch
from vm_support import VmLab

RUNNING = ("service", "ls", "--format", "{{.Name}} {{.Replicas}}")


def _services(lab: VmLab) -> list[str]:
    return sorted(line.partition(" (")[0] for line in lab.guest("vm-manager-1").docker(*RUNNING).splitlines())


def test_cluster_goes_back_to_its_snapshot(lab: VmLab, shared: Path) -> None:
    eventually(lambda: _services(lab) == ["app_probe 3/3", "app_web 2/2"], seconds=60)
    manager, worker = lab.guest("vm-manager-1"), lab.guest("vm-worker-1")
    before = {name: (node.id, node.role, node.labels) for name, node in lab.nodes("vm-manager-1").items()}
    boots = {name: guest.sh("cat /proc/sys/kernel/random/boot_id") for name, guest in lab.guests("vm").items()}
    containers = set(worker.sh("docker ps -q --no-trunc").split())
    manager.sh("echo kept >/root/kept")

    lab.run("snapshot", "save", "clean", "-c", "vm", seconds=900).ok()

    listed = [json.loads(line) for line in lab.run("snapshot", "ls", "-c", "vm", "-o", "json").ok().stdout.splitlines()]
    assert [(row["name"], sorted(row["machines"])) for row in listed] == [("clean", sorted(before))]
    assert _services(lab) == ["app_probe 3/3", "app_web 2/2"]
    manager.docker("service", "rm", "app_web")
    manager.docker("node", "update", "--label-add", "tier=changed", "vm-worker-1")
    manager.sh("rm /root/kept; echo new >/root/new")
    worker.sh("docker swarm leave")
    eventually(lambda: not lab.nodes("vm-manager-1")["vm-worker-1"].ready, seconds=60)
    assert _services(lab) != ["app_probe 3/3", "app_web 2/2"]

    began = time.monotonic()
    lab.run("snapshot", "restore", "clean", "-c", "vm", "--yes", seconds=900).ok()
    seconds = time.monotonic() - began

    nodes = lab.nodes("vm-manager-1")
    assert all(node.ready for node in nodes.values())
    assert {name: (node.id, node.role, node.labels) for name, node in nodes.items()} == before
    eventually(lambda: _services(lab) == ["app_probe 3/3", "app_web 2/2"], seconds=60)
    for name, guest in lab.guests("vm").items():
        assert guest.sh("cat /proc/sys/kernel/random/boot_id") == boots[name], "it was booted, not restored"
        assert fetch(guest.address, seconds=60).startswith("hello from vm-worker-")
        assert abs(int(guest.sh("date +%s")) - time.time()) < 5, f"{name} lives in the past"
    assert set(worker.sh("docker ps -q --no-trunc").split()) == containers
    assert manager.sh("ls /root/kept; ls /root/new 2>/dev/null || true") == "/root/kept"
    assert lab.run("up", shared).ok().stdout == "vm: nothing to do\n"
    assert seconds < 120, f"it took {seconds:.0f} s"


def test_snapshot_is_forgotten(lab: VmLab, shared: Path) -> None:
    lab.run("snapshot", "save", "brief", "-c", "vm", seconds=900).ok()
    lab.run("snapshot", "rm", "brief", "-c", "vm").ok()
    assert "brief" not in lab.run("snapshot", "ls", "-c", "vm", "-o", "name").ok().stdout


def test_unknown_snapshot_is_refused(lab: VmLab, shared: Path) -> None:
    lab.run("snapshot", "restore", "cleen", "-c", "vm", "--yes").fails(2, "cleen")
