"""The nspawn driver against the contract and its own promises, with machines that really boot."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.driver import Machine, MachineState
from provision.errors import DriverError
from provision.testing import DriverContract
from provision_nspawn.layout import Layout
from provision_nspawn.testing import control_groups


class TestNspawn(DriverContract):
    """The whole contract."""


def test_docker_is_live_in_a_machine(make: Callable[..., Machine], shell: Callable[..., str]) -> None:
    machine = make()
    assert shell(machine, "docker info --format '{{.ServerVersion}} {{.Driver}}'").split()[1] == "overlay2"
    assert shell(machine, "systemctl is-system-running --wait || true").strip() == "running"


def test_names_resolve_between_machines_also_later_ones(
    make: Callable[..., Machine], shell: Callable[..., str]
) -> None:
    first, second = make(1), make(2)
    for one, other in ((first, second), (second, first)):
        assert shell(one, f"getent hosts {other.name}").split() == [other.address, other.name]
        assert "1 received" in shell(one, f"ping -c 1 -W 5 {other.name}")
    assert shell(first, "hostname").strip() == first.name


def test_without_a_way_out_look_ups_and_packets_fail_at_once(
    make: Callable[..., Machine], shell: Callable[..., str]
) -> None:
    machine = make()
    began = time.monotonic()
    shell(machine, "! getent hosts no-such-host.example && ! ping -c 1 -W 10 203.0.113.1")
    assert time.monotonic() - began < 8
    assert shell(machine, "cat /etc/resolv.conf") == ""


def test_sudo_user_on_another_port(make: Callable[..., Machine], layout: Layout, login: Path) -> None:
    machine = make(user="alice", port=2222)
    deadline = time.monotonic() + 30
    argv = ("ssh", "-p", "2222", "-i", str(login), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no")
    known = ("-o", "UserKnownHostsFile=/dev/null")
    while True:
        command = (*argv, *known, f"alice@{machine.address}", "id -un; sudo -n id -un; pwd; stat -c %U ~")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert done.stdout.split() == ["alice", "root", "/home/alice", "alice"], done.stderr


def test_memory_limit_binds(make: Callable[..., Machine], shell: Callable[..., str]) -> None:
    machine = make(memory=256 * 1024**2)
    # head keeps what tail has not seen a line end of: 400 MB of zeros in memory
    said = shell(machine, "head -c 400M /dev/zero | tail > /dev/null; echo status ${PIPESTATUS[1]}")
    assert said.split() == ["status", "137"]


def test_cpu_limit_binds(make: Callable[..., Machine], shell: Callable[..., str]) -> None:
    machine = make(cpus=0.25)
    shell(machine, "systemctl is-system-running --wait || true")
    spent = shell(machine, "timeout 2 sh -c 'while :; do :; done'; times | tail -1").split()[0]
    minutes, seconds = spent.rstrip("s").split("m")
    assert float(minutes) * 60 + float(seconds) < 1.0, f"2 s at a quarter of a processor took {spent} of it"


def test_control_groups_go_with_the_machine(make: Callable[..., Machine], harness: Any) -> None:
    machine = make(memory=512 * 1024**2)
    assert control_groups(machine.provider_id)
    harness.driver.destroy(machine)
    assert not control_groups(machine.provider_id)


def test_bound_folder_is_seen_inside(make: Callable[..., Machine], shell: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "word").write_text("hello")
    machine = make(options={"bind": [f"{tmp_path}:/srv/given:ro"]})
    assert shell(machine, "cat /srv/given/word; touch /srv/given/no 2>&1 || true").startswith("hello")
    assert not (tmp_path / "no").exists()


def test_machine_keeps_its_data_over_stop_and_start(
    make: Callable[..., Machine], harness: Any, shell: Callable[..., str]
) -> None:
    machine = make()
    shell(machine, "echo kept > /root/note && sync")
    harness.driver.stop(machine)
    assert [found.state for found in harness.driver.discover("pvtest-own")] == [MachineState.STOPPED]
    assert shell(harness.driver.start(machine), "cat /root/note").strip() == "kept"
    assert "Reached target" in harness.driver.console(machine)


def test_subnet_of_the_inventory_is_used(make: Callable[..., Machine]) -> None:
    machine = make(options={"subnet": "10.77.3.0/28"})
    assert machine.address == "10.77.3.4"


def test_subnet_in_use_is_refused_before_anything_is_made(make: Callable[..., Machine], harness: Any) -> None:
    make(options={"subnet": "10.77.3.0/24"})
    other = replace(harness.specs("pvtest-other", 1)[0], options={"subnet": "10.77.0.0/16"})
    (finding,) = [found for found in harness.driver.check([other]) if found.fatal]
    assert "overlaps 10.77.3.0/24" in finding.summary
    with pytest.raises(DriverError, match=r"overlaps 10\.77\.3\.0/24"):
        harness.driver.create(other)
    assert not harness.driver.discover("pvtest-other")


def test_private_key_is_in_the_guest_only(make: Callable[..., Machine], layout: Layout) -> None:
    machine = make()
    folder = layout.machine(machine.cluster, machine.name)
    texts = [path for path in folder.root.iterdir() if path.is_file()]
    assert not [path for path in texts if "PRIVATE KEY" in path.read_text(errors="replace")]
    key = folder.upper / "etc/ssh/ssh_host_ed25519_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert folder.disk.stat().st_mode & 0o777 == 0o700
