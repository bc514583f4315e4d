"""add-worker and add-manager on a small cluster: what is new is touched, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_support import Lab, Up, inventory

COMMENTED = """\
# a lab that grows
name: grow
driver:   nspawn      # odd spacing stays
machines:
    manager: {role: manager, count: 1}   # one line

    worker:
        count: 1      # how many
        role: worker
        # the end
        labels: {tier: web}
"""


@pytest.fixture(scope="module")
def grow(lab: Lab, module_cluster: Up) -> Path:
    """One manager and one worker, grown by each test; the tests ask for what changes, not for totals."""
    return module_cluster("grow", COMMENTED)


def test_new_workers_join_and_the_others_only_open_their_ports(lab: Lab, grow: Path) -> None:
    text = grow.read_text()
    before = {name: guest.engine_started() for name, guest in lab.guests("grow").items()}
    old = len([name for name in before if "worker" in name])

    added = lab.run("add-worker", grow, "--count", "2").ok()

    assert added.stdout == ""
    assert grow.read_text() == text.replace(f"count: {old}      # how many", f"count: {old + 2}      # how many")
    guests, nodes = lab.guests("grow"), lab.nodes("grow-manager-1")
    new = guests.keys() - before.keys()
    assert new == {f"grow-worker-{old + 1}", f"grow-worker-{old + 2}"}
    assert {(nodes[name].role, nodes[name].ready, nodes[name].labels["tier"]) for name in new} == {
        ("worker", True, "web")
    }
    assert {name: guests[name].engine_started() for name in before} == before
    for name, guest in guests.items():
        members = guest.sh("nft list set inet provision members4")
        missing = [other.address for other in guests.values() if other.address not in members]
        assert not missing, f"{name} does not let in {missing}"
    assert lab.run("up", grow).ok().stdout == "grow: nothing to do\n"


def test_new_manager_votes(lab: Lab, grow: Path) -> None:
    text = grow.read_text()
    old = [name for name in lab.guests("grow") if "manager" in name]

    lab.run("add-manager", "-c", "grow", "--count", "2").ok()

    assert grow.read_text() == text.replace(f"manager, count: {len(old)}}}", f"manager, count: {len(old) + 2}}}")
    nodes = lab.nodes("grow-manager-1")
    voting = {name for name, node in nodes.items() if node.manager_status in ("leader", "reachable")}
    assert voting == {*old, f"grow-manager-{len(old) + 1}", f"grow-manager-{len(old) + 2}"}
    assert lab.run("plan", grow, "--detailed-exitcode").ok().stdout == "grow: nothing to do\n"


def test_work_that_is_due_elsewhere_is_left_alone(lab: Lab, grow: Path) -> None:
    lab.guest("grow-manager-1").docker("node", "update", "--label-rm", "tier", "grow-worker-1")
    lab.run("add-worker", grow).ok()
    assert "tier" not in lab.nodes("grow-manager-1")["grow-worker-1"].labels
    assert lab.run("up", grow).ok().status == 0
    assert lab.nodes("grow-manager-1")["grow-worker-1"].labels["tier"] == "web"


def test_unknown_group_changes_neither_file_nor_cluster(lab: Lab, grow: Path) -> None:
    text, machines = grow.read_text(), lab.guests("grow").keys()
    lab.run("add-worker", grow, "--group", "wroker").fails(2, "there is no worker group 'wroker'", "hint:")
    assert (grow.read_text(), lab.guests("grow").keys()) == (text, machines)


@pytest.mark.images("debian-13")
def test_machine_of_another_release_joins(lab: Lab, cluster: Up) -> None:
    path = cluster("mixed", inventory("mixed", workers=0))
    path.write_text(path.read_text() + "  newer: {role: worker, count: 1, image: debian-13}\n")
    lab.run("up", path).ok()
    assert lab.nodes("mixed-manager-1")["mixed-newer-1"].ready
    assert 'VERSION_ID="13"' in lab.guest("mixed-newer-1").sh("cat /etc/os-release")
    assert 'VERSION_ID="12"' in lab.guest("mixed-manager-1").sh("cat /etc/os-release")


def test_memory_and_processor_limits_bind(lab: Lab, cluster: Up, require: object) -> None:
    path = cluster("small", inventory("small", workers=0, manager="memory: 512M\ncpus: 0.5"))
    assert path.exists()
    machine = lab.guest("small-manager-1").machine
    said = _limits(machine.provider_id)
    assert said.get("memory") == str(512 * 1024**2), said
    assert said.get("cpu") == "0.5", said


def _limits(unit: str) -> dict[str, str]:
    """What the kernel's control groups of a machine say, of both versions."""
    found = {}
    for group in Path("/sys/fs/cgroup").glob(f"**/{unit}"):
        for name in ("memory.limit_in_bytes", "memory.max"):
            if (group / name).exists():
                found["memory"] = (group / name).read_text().strip()
        if (group / "cpu.cfs_quota_us").exists():
            quota, period = ((group / f"cpu.cfs_{word}_us").read_text() for word in ("quota", "period"))
            found["cpu"] = str(int(quota) / int(period))
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
            found["cpu"] = str(int(quota) / int(period)) if quota != "max" else quota
    return found
