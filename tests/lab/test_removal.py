"""rm, a lowered count and down: what goes, goes in order, and what stays is not touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_support import Lab, Up, eventually, files_below, inventory

from provision_nspawn import NspawnDriver

STACK = """
services:
  web:
    image: provision/hello:1
    command: [httpd, -f, -p, "8080", -h, /]
    stop_signal: SIGKILL
    deploy: {replicas: 2, endpoint_mode: dnsrr, placement: {constraints: [node.role == worker]}}
"""


@pytest.fixture(scope="module")
def trio(module_cluster: Up) -> Path:
    """Three managers and no worker; each test puts back what it takes."""
    return module_cluster("trio", inventory("trio", managers=3, workers=0))


def test_worker_leaves_and_its_tasks_move(lab: Lab, pair: Path) -> None:
    plain = pair.read_text()
    lab.write("move.yml", STACK)
    stacks = f"stacks:\n  app: {{file: move.yml, images: [{lab.archive}], resolve_image: never}}\n"
    pair.write_text(plain + stacks)
    lab.run("up", pair).ok()
    manager = lab.guest("pair-manager-1")
    tasks = ("service", "ps", "app_web", "--filter", "desired-state=running")
    running = (*tasks, "--format", "{{.Node}} {{.CurrentState}}")
    assert {line.split()[0] for line in manager.docker(*running).splitlines()} == {"pair-worker-1", "pair-worker-2"}
    before = {name: node.id for name, node in lab.nodes("pair-manager-1").items()}
    others = {name: guest.engine_started() for name, guest in lab.guests("pair").items() if name != "pair-worker-1"}
    address = lab.guest("pair-worker-1").address

    lab.run("rm", "pair-worker-1", "--yes").ok()

    del before["pair-worker-1"]
    assert {name: node.id for name, node in lab.nodes("pair-manager-1").items()} == before
    assert {name: guest.engine_started() for name, guest in lab.guests("pair").items()} == others
    assert pair.read_text() == plain.replace("count: 2", "count: 1") + stacks
    assert not [name for name, guest in lab.guests("pair").items() if f" {address}" in guest.firewall()]
    eventually(lambda: manager.docker(*running).count("pair-worker-2 Running") == 2)
    assert lab.run("up", pair).ok().stdout == "pair: nothing to do\n"

    pair.write_text(plain)
    lab.run("up", pair, "--yes").ok()
    assert sorted(lab.nodes("pair-manager-1")) == ["pair-manager-1", "pair-worker-1", "pair-worker-2"]
    assert manager.docker("service", "ls", "-q") == ""


def test_manager_is_demoted_before_it_leaves(lab: Lab, trio: Path) -> None:
    removed = lab.run("rm", "trio-manager-2", "--yes").ok()
    order = [removed.stderr.index(f"trio-manager-2: {verb} node: done") for verb in ("demote", "drain", "remove")]
    assert order == sorted(order)
    nodes = lab.nodes("trio-manager-1")
    assert sorted(nodes) == ["trio-manager-1", "trio-manager-3"]
    assert {node.manager_status for node in nodes.values()} == {"leader", "reachable"}
    assert "count: 2" in trio.read_text()

    # the number is free again, and nobody is renamed
    lab.run("add-manager", trio).ok()
    assert sorted(lab.nodes("trio-manager-1")) == ["trio-manager-1", "trio-manager-2", "trio-manager-3"]


def test_removal_that_would_break_the_quorum_is_refused(lab: Lab, trio: Path) -> None:
    lab.guest("trio-manager-3").sh("systemctl stop docker.socket docker.service")
    eventually(lambda: lab.nodes("trio-manager-1")["trio-manager-3"].manager_status == "unreachable")
    text, members = trio.read_text(), lab.nodes("trio-manager-1").keys()

    lab.run("rm", "trio-manager-2", "--yes").fails(1, "would break the swarm's quorum", "add-manager")

    assert trio.read_text() == text
    nodes = lab.nodes("trio-manager-1")
    assert nodes.keys() == members
    assert nodes["trio-manager-2"].manager_status in ("leader", "reachable")
    assert nodes["trio-manager-2"].availability == "active"
    assert sorted(lab.guests("trio")) == ["trio-manager-1", "trio-manager-2", "trio-manager-3"]

    # the one that is lost already may go, though its engine cannot take leave
    lab.run("rm", "trio-manager-3", "--yes").ok()
    assert sorted(lab.nodes("trio-manager-1")) == ["trio-manager-1", "trio-manager-2"]
    lab.run("add-manager", trio).ok()


def test_only_manager_is_not_removed(lab: Lab, pair: Path) -> None:
    text = pair.read_text()
    refused = lab.run("rm", "pair-manager-1", "--yes")
    assert refused.status in (1, 2, 3), refused
    assert "error: " in refused.stderr
    assert pair.read_text() == text
    assert lab.nodes("pair-manager-1")["pair-manager-1"].manager_status == "leader"


def test_unknown_machine_is_named_with_a_near_one(lab: Lab, pair: Path) -> None:
    lab.run("rm", "pair-worker-7", "--yes").fails(2, "'pair-worker-7'", "hint: did you mean 'pair-worker-")


def test_nothing_is_removed_without_consent(lab: Lab, pair: Path) -> None:
    text = pair.read_text()
    lab.run("rm", "pair-worker-1").fails(2, "pair-worker-1", "--yes")
    assert pair.read_text() == text
    assert "pair-worker-1" in lab.nodes("pair-manager-1")


def test_lowered_count_asks_and_then_removes_the_last(lab: Lab, pair: Path) -> None:
    text = pair.read_text()
    pair.write_text(text.replace("count: 2", "count: 1"))
    lab.run("up", pair).fails(2, "pair-worker-2", "hint:", "--yes")
    assert sorted(lab.nodes("pair-manager-1")) == ["pair-manager-1", "pair-worker-1", "pair-worker-2"]

    lab.run("up", pair, "--yes").ok()

    assert sorted(lab.nodes("pair-manager-1")) == ["pair-manager-1", "pair-worker-1"]
    assert sorted(lab.guests("pair")) == ["pair-manager-1", "pair-worker-1"]
    pair.write_text(text)
    lab.run("up", pair).ok()


def test_machine_destroyed_by_hand_is_made_anew(lab: Lab, pair: Path) -> None:
    before = lab.nodes("pair-manager-1")["pair-worker-1"].id
    NspawnDriver({}).destroy(lab.guest("pair-worker-1").machine)
    eventually(lambda: not lab.nodes("pair-manager-1")["pair-worker-1"].ready)
    lab.run("up", pair, "--yes").ok()
    nodes = lab.nodes("pair-manager-1")
    assert sorted(nodes) == ["pair-manager-1", "pair-worker-1", "pair-worker-2"]
    assert nodes["pair-worker-1"].ready
    assert nodes["pair-worker-1"].id != before
    assert lab.run("up", pair).ok().stdout == "pair: nothing to do\n"


def test_down_leaves_nothing(lab: Lab, alone: Lab, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: lab.remove("gone"))
    path = alone.write("gone.yml", inventory("gone"))
    ssh_config = lab.home / ".ssh" / "config"
    before = ssh_config.read_bytes() if ssh_config.exists() else None
    alone.run("up", path).ok()
    there = {trace.split()[0] for trace in alone.traces("gone")}
    assert there == {"file", "link", "namespace", "nftables", "control", "process", "mount", "state", "docker"}
    assert str(alone.states) in ssh_config.read_text()

    alone.run("down", path).fails(2, "--yes")
    assert len(lab.nodes("gone-manager-1")) == 2
    ended = alone.run("down", path, "--yes").ok()

    assert ended.stdout == "gone: nothing is left\n"
    assert alone.traces("gone") == []
    assert files_below(alone.root).keys() == {"inventories/gone.yml"}
    assert (ssh_config.read_bytes() if ssh_config.exists() else None) == before
    # a second time there is nothing to be done, and by name there is no such cluster
    alone.run("down", path, "--yes").ok()
    alone.run("down", "-c", "gone", "--yes").fails(2, "there is no cluster 'gone'")


def test_down_needs_no_inventory(lab: Lab, alone: Lab, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: lab.remove("lost"))
    path = alone.write("lost.yml", inventory("lost", workers=0))
    alone.run("up", path).ok()
    path.unlink()
    alone.run("down", "-c", "lost", "--yes").ok()
    assert alone.traces("lost") == []
