"""Runs that are killed, interrupted, disturbed or met by a machine that does not answer."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from lab_support import Lab, Up, fetch, inventory, secrets_in

STACK = """
services:
  web:
    image: provision/hello:1
    command: [httpd, -f, -p, "8080", -h, /www]
    stop_signal: SIGKILL
    ports: [{target: 8080, published: 8080, mode: host}]
    configs: [{source: page, target: /www/index.html}]
    deploy: {mode: global, endpoint_mode: dnsrr}
configs:
  page: {file: kill/page.txt}
"""


#: for machines that are up already
HURRIED = "ssh: {connect_timeout: 3s}\n"


def test_killed_at_every_stage_up_carries_on(lab: Lab, unmade: Up) -> None:
    lab.write("kill-stack.yml", STACK)
    lab.write("kill/page.txt", "still here")
    stack = f"app: {{file: kill-stack.yml, images: [{lab.archive}], resolve_image: never}}"
    path = unmade("kill", inventory("kill", stacks=stack))
    for verb in ("create machine", "reach", "configure", "init swarm", "join as worker", "deploy stack"):
        with lab.start("up", path) as running:
            running.until(verb)
            running.send(signal.SIGKILL)
            assert running.end().status == -signal.SIGKILL
    lab.run("up", path).ok()
    nodes = lab.nodes("kill-manager-1")
    assert {name: (node.role, node.ready) for name, node in nodes.items()} == {
        "kill-manager-1": ("manager", True),
        "kill-worker-1": ("worker", True),
    }
    for guest in lab.guests("kill").values():
        assert fetch(guest.address) == "still here"
    assert lab.run("up", path).ok().stdout == "kill: nothing to do\n"
    assert secrets_in(lab.state("kill")) == []


@pytest.mark.parametrize("verb", ["create machine", "configure", "join as worker"])
def test_killed_up_then_down_leaves_nothing(lab: Lab, alone: Lab, request: pytest.FixtureRequest, verb: str) -> None:
    request.addfinalizer(lambda: lab.remove("half"))
    path = alone.write("half.yml", inventory("half"))
    with alone.start("up", path) as running:
        running.until(verb)
        running.send(signal.SIGKILL)
        running.end()
    assert alone.traces("half")
    alone.run("down", path, "--yes").ok()
    assert alone.traces("half") == []
    assert not alone.states.exists()
    config = lab.home / ".ssh" / "config"
    assert not config.exists() or str(alone.states) not in config.read_text()


def test_interrupted_run_says_so_and_the_next_carries_on(lab: Lab, unmade: Up) -> None:
    path = unmade("stop", inventory("stop"))
    with lab.start("up", path) as running:
        running.until("configure")
        running.send(signal.SIGINT)
        ended = running.end()
    assert ended.status == 130, ended
    finished = [event for event in ended.events() if event["type"] == "run_finished"]
    assert len(finished) == 1, ended
    assert finished[0]["skipped"] > 0, ended
    lab.run("up", path).ok()
    assert all(node.ready for node in lab.nodes("stop-manager-1").values())
    rows = lab.run("history", "-c", "stop", "--format", "{{ result }}").ok().stdout.split()
    assert rows == ["interrupted", "done"]


def test_second_command_is_told_who_is_at_work(lab: Lab, unmade: Up) -> None:
    path = unmade("busy", inventory("busy", workers=0))
    with lab.start("up", path) as running:
        running.until("reach")
        running.send(signal.SIGSTOP)  # at work for as long as we look
        for words in (("up", path), ("down", path, "--yes"), ("add-manager", path), ("unlock", "-c", "busy")):
            lab.run(*words).fails(4, "locked by", str(running.process.pid))
        running.send(signal.SIGCONT)
        ended = running.end()
        assert ended.status == 0, ended
    assert lab.run("unlock", "-c", "busy").ok().stdout == "busy: is not locked\n"


def test_looking_needs_no_lock(lab: Lab, unmade: Up) -> None:
    path = unmade("seen", inventory("seen", workers=0))
    with lab.start("up", path) as running:
        running.until("init swarm")
        running.send(signal.SIGSTOP)
        assert "seen-manager-1" in lab.run("ls", "-c", "seen").ok().stdout
        assert lab.run("plan", path).status == 0
        running.send(signal.SIGCONT)
        assert running.end().status == 0


class TestSilentMachine:
    """One machine's sshd is gone; the others have work to do."""

    def test_others_finish_and_the_report_names_it(self, lab: Lab, pair: Path) -> None:
        silent = lab.guest("pair-worker-2")
        text = pair.read_text()
        pair.write_text(
            text.replace("machines:", "ssh: {connect_timeout: 3s}\nmachines:").replace("tier: web", "tier: db")
        )
        silent.sh("systemctl mask --now ssh.service ssh.socket")
        try:
            failed = lab.run("up", pair).fails(1, "pair-worker-2", "hint:", f"provision up {pair}")
            assert "connection refused" in failed.stderr.lower()
            nodes = lab.nodes("pair-manager-1")
            assert nodes["pair-worker-1"].labels["tier"] == "db"
            said = lab.run("status", pair)
            assert said.status == 1, said
            assert "machine pair-worker-2: Running" in said.stdout
        finally:
            silent.sh("systemctl unmask ssh.service ssh.socket && systemctl start ssh.service")
        lab.run("up", pair).ok()
        assert {node.labels.get("tier") for name, node in lab.nodes("pair-manager-1").items() if "worker" in name} == {
            "db"
        }
        pair.write_text(text)
        lab.run("up", pair).ok()
        assert lab.run("status", pair).status == 0

    def test_new_machines_join_past_one_that_is_cut_off(self, lab: Lab, pair: Path) -> None:
        silent = lab.guest("pair-worker-2")
        text = pair.read_text()
        pair.write_text(
            text.replace("machines:", "ssh: {connect_timeout: 3s}\nmachines:").replace("count: 2", "count: 3")
        )
        silent.sh("ip link set host0 down || ip link set eth0 down")
        try:
            lab.run("up", pair).fails(1, "pair-worker-2")
            assert lab.nodes("pair-manager-1")["pair-worker-3"].ready
        finally:
            silent.sh("ip link set host0 up || ip link set eth0 up")
        lab.run("up", pair).ok()
        pair.write_text(text)
        lab.run("up", pair, "--yes").ok()
        assert lab.run("up", pair).ok().stdout == "pair: nothing to do\n"
