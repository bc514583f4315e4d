"""What could tear a swarm apart, and must not: silence, bad configuration, runs that were cut short."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lab_support import Lab, Up, eventually, inventory


def _stop(lab: Lab, name: str) -> None:
    """Cut a machine's power, as a host that goes down does."""
    os.kill(lab.guest(name).pid, signal.SIGKILL)


def _ready(lab: Lab, manager: str) -> set[str]:
    return {name for name, node in lab.nodes(manager).items() if node.ready}


def test_machines_find_one_another_by_the_interface_that_is_advertised(lab: Lab, cluster: Up) -> None:
    path = cluster("adv", inventory("adv", workers=1) + "swarm: {advertise: eth0}\n")
    assert _ready(lab, "adv-manager-1") == {"adv-manager-1", "adv-worker-1"}
    assert "nothing to do" in lab.run("up", path).ok().stdout


def test_engine_option_that_no_engine_knows_stops_at_the_first_and_is_taken_back(lab: Lab, pair: Path) -> None:
    before = {name: lab.guest(name).engine_started() for name in ("pair-manager-1", "pair-worker-1", "pair-worker-2")}
    pair.write_text(pair.read_text() + "engine: {daemon: {no-such-option: true}}\n")
    lab.run("up", pair).fails(1, "restart engine", "the engine runs again with the daemon.json of before")
    eventually(lambda: _ready(lab, "pair-manager-1") == set(before))
    after = {name: lab.guest(name).engine_started() for name in before}
    assert after["pair-worker-2"] == before["pair-worker-2"], "the lane of the workers goes on behind a failure"
    assert "no-such-option" not in lab.guest("pair-worker-1").sh("cat /etc/docker/daemon.json 2>/dev/null || true")


def test_only_manager_that_is_stopped_is_started_and_its_worker_found_again(lab: Lab, cluster: Up) -> None:
    path = cluster("one", inventory("one", workers=1))
    before = lab.nodes("one-manager-1")["one-worker-1"].id
    _stop(lab, "one-manager-1")
    lab.run("rm", "one-worker-1", "--yes").fails(1, "no manager answers")
    lab.run("up", path).ok()
    nodes = lab.nodes("one-manager-1")
    assert nodes["one-worker-1"].id == before
    assert "nothing to do" in lab.run("up", path).ok().stdout


def test_roles_that_change_places_are_served_by_the_new_manager(lab: Lab, cluster: Up) -> None:
    text = "name: swap\ndriver: nspawn\nmachines:\n  a: {role: %s}\n  b: {role: %s}\n"
    path = cluster("swap", text % ("manager", "worker"))
    path.write_text(text % ("worker", "manager"))
    lab.run("up", path).ok()
    assert "nothing to do" in lab.run("up", path).ok().stdout
    listed = lab.run("docker", "-c", "swap", "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}").ok().stdout
    assert sorted(line.strip() for line in listed.splitlines()) == ["swap-a-1", "swap-b-1 Leader"]


def test_removal_that_failed_goes_on_with_the_same_machine(lab: Lab, pair: Path) -> None:
    manager = lab.guest("pair-manager-1")
    manager.sh("systemctl stop docker.socket docker.service; systemctl mask --runtime docker.service docker.socket")
    lab.run("rm", "pair-worker-1", "--yes").fails(1)
    manager.sh("systemctl unmask --runtime docker.service docker.socket; systemctl start docker.service")
    lab.run("rm", "pair-worker-1", "--yes").ok()
    assert "pair-worker-1" not in lab.guests("pair")
    assert "pair-worker-2" in lab.guests("pair")
    assert "nothing to do" in lab.run("up", pair).ok().stdout


def test_lost_key_is_said_at_once_and_no_new_one_is_made(lab: Lab, pair: Path) -> None:
    key = lab.state("pair") / "id_ed25519"
    kept = key.read_bytes()
    key.unlink()
    try:
        lab.run("up", pair).fails(1, "the SSH key of cluster 'pair' is gone", "restore it")
        assert not key.exists()
    finally:
        key.write_bytes(kept)
        key.chmod(0o600)
    assert "nothing to do" in lab.run("up", pair).ok().stdout
