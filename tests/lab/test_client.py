"""Ways into the shared cluster from here: docker, ssh, exec, env, ls, inspect, status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest
from lab_support import PROVISION, Lab, Shared

NAMES = ["lab-manager-1", "lab-manager-2", "lab-manager-3", "lab-worker-1", "lab-worker-2"]


@pytest.fixture
def docker(require: Callable[[object, str], None]) -> str:
    require(shutil.which("docker"), "the docker CLI is not installed")
    return "docker"


def test_docker_context_reaches_the_swarm(lab: Lab, shared: Shared, docker: str) -> None:
    said = lab.command(docker, "--context", "lab", "node", "ls", "--format", "{{.Hostname}}").ok()
    assert sorted(said.stdout.split()) == NAMES


def test_docker_context_checks_the_host_key(lab: Lab, shared: Shared, docker: str) -> None:
    known = lab.state("lab") / "known_hosts"
    kept = known.read_text()
    words = [line.split() for line in kept.splitlines()]
    other = {line[0]: words[index - 1][2] for index, line in enumerate(words)}
    known.write_text("".join(f"{line[0]} {line[1]} {other[line[0]]}\n" for line in words))
    try:
        said = lab.command(docker, "--context", "lab", "node", "ls")
        assert said.status != 0, said
        assert "Host key verification failed" in said.stderr
    finally:
        known.write_text(kept)


def test_provision_docker_speaks_to_a_live_manager(lab: Lab, shared: Shared) -> None:
    said = lab.run("docker", "-c", "lab", "service", "ls", "--format", "{{.Name}}").ok()
    assert said.stdout.split() == ["hello_web"]


def test_env_lets_this_shell_s_docker_reach_the_swarm(lab: Lab, shared: Shared, docker: str) -> None:
    script = 'eval "$("$0" env -c lab --shell bash)" && docker node ls -q | wc -l && eval "$("$0" env -u)" && env'
    said = lab.command("sh", "-c", script, PROVISION).ok()
    lines = said.stdout.splitlines()
    assert lines[0].strip() == "5"
    assert not [line for line in lines if line.startswith(("DOCKER_HOST=", "PROVISION_CLUSTER="))]


def test_exec_runs_everywhere_and_exits_with_the_worst(lab: Lab, shared: Shared) -> None:
    said = lab.run("exec", "-c", "lab", "--", "hostname").ok()
    assert said.stdout.splitlines() == [f"{name} | {name}" for name in NAMES]
    script = "echo on $(hostname); test $(hostname) != lab-worker-2 || exit 7"
    worst = lab.run("exec", "lab-worker-*", "--", "sh", "-c", script)
    assert worst.status == 7, worst
    assert worst.stdout.splitlines() == ["lab-worker-1 | on lab-worker-1", "lab-worker-2 | on lab-worker-2"]
    managers = lab.run("exec", "-c", "lab", "--role", "manager", "--", "true")
    assert (managers.status, managers.stdout) == (0, "")


def test_ls_shows_every_machine_and_node(lab: Lab, shared: Shared) -> None:
    lines = lab.run("ls", "-c", "lab").ok().stdout.splitlines()
    assert lines[0].split() == ["NAME", "CLUSTER", "ROLE", "DRIVER", "STATE", "ADDRESS", "NODE"]
    assert [line.split()[0] for line in lines[1:]] == NAMES
    assert sum("leader" in line for line in lines) == 1
    assert lab.run("ls", "-c", "lab", "-q").ok().stdout.split() == NAMES


def test_ls_as_json_is_an_object_a_line(lab: Lab, shared: Shared) -> None:
    rows = [json.loads(line) for line in lab.run("ls", "-c", "lab", "-o", "json").ok().stdout.splitlines()]
    assert {row["name"]: (row["role"], row["state"], row["node"]["state"]) for row in rows} == {
        name: ("manager" if "manager" in name else "worker", "Running", "ready") for name in NAMES
    }
    assert {row["name"]: row["address"] for row in rows} == {
        name: guest.address for name, guest in lab.guests("lab").items()
    }


def test_ls_takes_a_template(lab: Lab, shared: Shared) -> None:
    said = lab.run("ls", "-c", "lab", "--format", "{{ name }}={{ address }}").ok()
    assert said.stdout.splitlines() == [f"{name}={guest.address}" for name, guest in lab.guests("lab").items()]


def test_inspect_tells_what_the_machine_itself_says(lab: Lab, shared: Shared) -> None:
    seen = lab.run("inspect", "lab-worker-1").json()
    guest = lab.guest("lab-worker-1")
    assert seen["node"]["id"] == guest.docker("info", "--format", "{{.Swarm.NodeID}}")
    assert seen["facts"]["engine"]["version"] == guest.docker("version", "--format", "{{.Server.Version}}")
    assert lab.run("inspect", "lab-worker-1", "--format", "{{ address }}").ok().stdout.strip() == guest.address


def test_status_of_a_healthy_cluster(lab: Lab, shared: Shared) -> None:
    said = lab.run("status", shared.inventory).ok()
    assert "lab: 5 machines, 5 nodes" in said.stdout
    assert "3 of 3 managers reachable, can lose 1 more" in said.stdout
    assert "5/5" in said.stdout


def test_ip_is_the_machine_s_address(lab: Lab, shared: Shared) -> None:
    assert lab.run("ip", "lab-manager-3").ok().stdout.strip() == lab.guest("lab-manager-3").address


def test_unknown_machine_gets_a_near_name(lab: Lab, shared: Shared) -> None:
    lab.run("ssh", "lab-wroker-1", "true").fails(2, "'lab-wroker-1'", "did you mean 'lab-worker-1'?")


def test_ssh_passes_the_command_and_its_exit_code_on(lab: Lab, shared: Shared) -> None:
    assert lab.run("ssh", "lab-worker-1", "exit 9").status == 9
    assert lab.run("ssh", "lab-worker-1", "cat", stdin="through\n").ok().stdout == "through\n"
