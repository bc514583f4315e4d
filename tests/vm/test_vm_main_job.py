"""The main job with virtual machines: what `up` made of nothing, as they tell it themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lab_support import files_below, secrets_in
from vm_support import VmLab, domain

MACHINES = ("vm-manager-1", "vm-worker-1", "vm-worker-2")


def test_every_machine_is_a_ready_node_in_its_role(lab: VmLab, shared: Path) -> None:
    nodes = lab.nodes("vm-manager-1")
    assert {name: (node.role, node.ready) for name, node in nodes.items()} == {
        "vm-manager-1": ("manager", True),
        "vm-worker-1": ("worker", True),
        "vm-worker-2": ("worker", True),
    }


def test_second_run_finds_nothing_to_do(lab: VmLab, shared: Path) -> None:
    before = {name: lab.guest(name).engine_started() for name in MACHINES}
    assert lab.run("up", shared).ok().stdout == "vm: nothing to do\n"
    assert {name: lab.guest(name).engine_started() for name in MACHINES} == before
    assert lab.run("plan", shared, "--detailed-exitcode").status == 0


def test_machine_is_who_it_was_meant_to_be(lab: VmLab, shared: Path) -> None:
    ids = set()
    for name, guest in lab.guests("vm").items():
        assert guest.sh("hostname") == name
        ids.add(guest.sh("cat /etc/machine-id"))
        key = guest.sh("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
        assert guest.machine.host_keys == (key,)
        assert guest.sh("ls /etc/ssh/ssh_host_*_key") == "/etc/ssh/ssh_host_ed25519_key"
        assert guest.sh("hostname -I").split()[0] == guest.address
        assert guest.sh("getent hosts $(hostname)")  # or else sudo takes twenty seconds
    assert len(ids) == len(MACHINES)


def test_cloud_init_has_done_all_of_it(lab: VmLab, shared: Path) -> None:
    for guest in lab.guests("vm").values():
        assert "status: done" in guest.sh("cloud-init status --wait")
    assert lab.guest("vm-worker-1").sh("cat /etc/ours") == "it"
    assert lab.guest("vm-manager-1").run("cat /etc/ours").status != 0


def test_disk_is_grown_to_what_was_asked_for(lab: VmLab, shared: Path) -> None:
    size = int(lab.guest("vm-worker-1").sh("df --output=size -B1M / | tail -1"))
    assert size > 7000


def test_machines_resolve_each_other_and_nothing_else_keeps_them_waiting(lab: VmLab, shared: Path) -> None:
    guests = lab.guests("vm")
    for guest in guests.values():
        for other in guests.values():
            if other is not guest:
                assert guest.sh(f"getent ahostsv4 {other.name}").split()[0] == other.address
    asked = lab.guest("vm-worker-1").run("bash -c 'time -p getent hosts no-such-name.example.org'")
    seconds = re.search(r"real ([0-9.]+)", asked.stderr)
    assert asked.status != 0
    assert seconds is not None
    assert float(seconds[1]) < 5


def test_ssh_reaches_each_machine_with_its_key_checked(lab: VmLab, shared: Path) -> None:
    for name in MACHINES:
        assert lab.run("ssh", name, "hostname").ok().stdout.strip() == name
    assert "stricthostkeychecking true" in lab.command("ssh", "-G", "vm-worker-1").ok().stdout


def test_swapped_host_key_stops_everything(lab: VmLab, shared: Path) -> None:
    worker = lab.guest("vm-worker-2")
    key = "/etc/ssh/ssh_host_ed25519_key"
    worker.sh(f"mkdir /root/kept && mv {key} {key}.pub /root/kept/")
    try:
        worker.sh(f"ssh-keygen -q -t ed25519 -N '' -f {key} && systemctl restart ssh")
        lab.run("up", shared).fails(1, "vm-worker-2: its SSH host key has changed")
    finally:
        worker.sh("mv -f /root/kept/* /etc/ssh/ && rmdir /root/kept && systemctl restart ssh")
    assert lab.run("up", shared).ok().stdout == "vm: nothing to do\n"


def test_console_tells_how_it_booted(lab: VmLab, shared: Path) -> None:
    said = lab.run("console", "vm-worker-1").ok().stdout
    assert "Linux version" in said
    assert "systemd[1]: Hostname set to" in said
    assert "PRIVATE KEY" not in said
    assert len(lab.run("console", "-n", "3", "vm-worker-1").ok().stdout.splitlines()) == 3


def test_doctor_finds_the_place_ready(lab: VmLab, shared: Path) -> None:
    said = lab.run("doctor", "libvirt").ok()
    assert said.stdout.startswith("libvirt: ready")


def test_whether_kvm_works_was_tried_once_and_is_remembered(lab: VmLab, shared: Path) -> None:
    known = json.loads((lab.layout.data / "libvirt" / "accel.json").read_text())
    assert [verdict["accel"] for verdict in known.values()] in (["kvm"], ["qemu"])
    with domain("vm-worker-1") as found:
        kind = re.search(r"<domain type='(\w+)'", found.XMLDesc(0))
    assert kind is not None
    assert kind[1] == next(iter(known.values()))["accel"]


def test_nothing_secret_is_written_down_or_in_an_argument(lab: VmLab, shared: Path) -> None:
    assert secrets_in(lab.root / "state") == []
    assert {"state.json", "history.jsonl"} <= files_below(lab.state("vm")).keys()
    with domain("vm-worker-1") as found:
        assert "PRIVATE KEY" not in found.XMLDesc(0)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"PRIVATE KEY" not in path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
