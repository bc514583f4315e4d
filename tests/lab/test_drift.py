"""What somebody changed by hand, or in the inventory, is put right by `up`, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_support import Lab, Up, eventually, inventory

NAMES = ("pair-manager-1", "pair-worker-1", "pair-worker-2")


def _heals(lab: Lab, inventory: Path, *causes: str) -> None:
    """The plan gives these causes, `up` mends them, and then there is nothing to do."""
    planned = lab.run("plan", inventory, "--detailed-exitcode")
    assert planned.status == 10, planned
    missing = [cause for cause in causes if cause not in planned.stdout]
    assert not missing, planned
    lab.run("up", inventory).ok()
    assert lab.run("up", inventory).ok().stdout == "pair: nothing to do\n"


def test_role_availability_and_label_are_put_right(lab: Lab, pair: Path) -> None:
    manager = lab.guest("pair-manager-1")
    manager.docker("node", "promote", "pair-worker-1")
    manager.docker("node", "update", "--availability", "drain", "--label-add", "tier=db", "pair-worker-2")
    _heals(lab, pair, "role is manager, not worker", "availability is drain, not active", "label tier is db, not web")
    nodes = lab.nodes("pair-manager-1")
    assert (nodes["pair-worker-1"].role, nodes["pair-worker-1"].manager_status) == ("worker", "")
    assert (nodes["pair-worker-2"].availability, nodes["pair-worker-2"].labels["tier"]) == ("active", "web")


def test_label_set_by_hand_survives_and_one_that_left_the_inventory_goes(lab: Lab, pair: Path) -> None:
    manager, text = lab.guest("pair-manager-1"), pair.read_text()
    manager.docker("node", "update", "--label-add", "owner=me", "pair-worker-1")
    pair.write_text(text.replace("    labels: {tier: web}\n", "    labels: {zone: b}\n"))
    _heals(lab, pair, "label zone: b is missing", "label tier is not wanted")
    labels = lab.nodes("pair-manager-1")["pair-worker-1"].labels
    assert (labels.get("owner"), labels.get("zone"), labels.get("tier")) == ("me", "b", None)
    manager.docker("node", "update", "--label-rm", "owner", "pair-worker-1")


def test_availability_of_the_inventory_is_set(lab: Lab, pair: Path) -> None:
    text = pair.read_text()
    pair.write_text(text.replace("    count: 2\n", "    count: 2\n    overrides: {2: {availability: pause}}\n"))
    _heals(lab, pair, "availability is active, not pause")
    assert [lab.nodes("pair-manager-1")[name].availability for name in NAMES] == ["active", "active", "pause"]


def test_node_that_left_by_hand_joins_again(lab: Lab, pair: Path) -> None:
    before = lab.nodes("pair-manager-1")["pair-worker-1"].id
    lab.guest("pair-worker-1").docker("swarm", "leave")
    lab.guest("pair-manager-1").docker("node", "rm", "--force", before)
    _heals(lab, pair, "is no member of the swarm")
    node = lab.nodes("pair-manager-1")["pair-worker-1"]
    assert node.ready
    assert node.id != before
    assert node.labels["tier"] == "web"


def test_node_removed_by_hand_is_told_or_joined_again(lab: Lab, pair: Path) -> None:
    """Removed at the manager only: the machine still believes to be a member of this swarm."""
    before = lab.nodes("pair-manager-1")["pair-worker-2"].id
    lab.guest("pair-manager-1").docker("node", "rm", "--force", before)
    _heals(lab, pair)
    assert lab.nodes("pair-manager-1")["pair-worker-2"].ready


def test_flushed_firewall_is_loaded_again(lab: Lab, pair: Path) -> None:
    worker = lab.guest("pair-worker-1")
    before = worker.sh("nft list table inet provision")
    worker.sh("nft flush ruleset")
    _heals(lab, pair, "the loaded table is not ours")
    assert worker.sh("nft list table inet provision") == before


def test_engine_stopped_by_hand_is_started(lab: Lab, pair: Path) -> None:
    worker = lab.guest("pair-worker-2")
    others = {name: lab.guest(name).engine_started() for name in NAMES[:2]}
    worker.sh("systemctl stop docker.socket docker.service")
    _heals(lab, pair, "the engine does not answer")
    assert worker.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "active"
    eventually(lambda: lab.nodes("pair-manager-1")["pair-worker-2"].ready)
    assert {name: lab.guest(name).engine_started() for name in others} == others


def test_stopped_machine_is_started(lab: Lab, pair: Path) -> None:
    lab.command("kill", "-KILL", str(lab.guest("pair-worker-1").pid)).ok()
    eventually(lambda: lab.power("pair-worker-1") == "Stopped")
    lab.run("up", pair).ok()
    assert lab.nodes("pair-manager-1")["pair-worker-1"].ready


def test_reloadable_engine_option_restarts_nothing(lab: Lab, pair: Path) -> None:
    text = pair.read_text()
    before = {name: lab.guest(name).engine_started() for name in NAMES}
    for value in ("true", "false"):
        pair.write_text(text.replace("machines:", f"engine: {{daemon: {{debug: {value}}}}}\nmachines:"))
        _heals(lab, pair, "daemon.json differs: debug is")
        for name in NAMES:
            assert lab.guest(name).docker("info", "--format", "{{.Debug}}") == value
            assert json.loads(lab.guest(name).sh("cat /etc/docker/daemon.json"))["debug"] is (value == "true")
    assert {name: lab.guest(name).engine_started() for name in NAMES} == before


def test_engine_option_that_is_taken_away_is_gone(lab: Lab, pair: Path) -> None:
    text = pair.read_text()
    pair.write_text(text.replace("    count: 2\n", "    count: 2\n    engine: {daemon: {debug: true}}\n"))
    lab.run("up", pair).ok()
    assert lab.guest("pair-worker-1").docker("info", "--format", "{{.Debug}}") == "true"
    pair.write_text(text)
    _heals(lab, pair, "debug is not wanted")
    assert lab.guest("pair-worker-1").docker("info", "--format", "{{.Debug}}") == "false"


def test_other_engine_option_restarts_only_the_engines_that_get_it(lab: Lab, pair: Path) -> None:
    text = pair.read_text()
    before = {name: lab.guest(name).engine_started() for name in NAMES}
    driver = "    overrides: {2: {engine: {daemon: {log-driver: local}}}}\n"
    pair.write_text(text.replace("    count: 2\n", f"    count: 2\n{driver}"))
    _heals(lab, pair, "log-driver")
    after = {name: lab.guest(name).engine_started() for name in NAMES}
    assert {name for name in NAMES if after[name] != before[name]} == {"pair-worker-2"}
    assert lab.guest("pair-worker-2").docker("info", "--format", "{{.LoggingDriver}}") == "local"
    assert all(node.ready for node in lab.nodes("pair-manager-1").values())


@pytest.mark.images("debian-13")
def test_engine_option_that_the_engine_refuses_leaves_it_running(lab: Lab, cluster: Up) -> None:
    """Debian 13's engine can validate a configuration; 20.10 of Debian 12 cannot."""
    plain = inventory("valid", workers=0, manager="image: debian-13")
    path = cluster("valid", plain)
    manager = lab.guest("valid-manager-1")
    before, config = manager.engine_started(), manager.run("cat /etc/docker/daemon.json").stdout
    path.write_text(f"{plain}engine: {{daemon: {{no-such-option: 1}}}}\n")
    lab.run("up", path).fails(1, "no-such-option", "valid-manager-1")
    assert manager.engine_started() == before
    assert manager.run("cat /etc/docker/daemon.json").stdout == config
    path.write_text(plain)
    assert lab.run("up", path).ok().stdout == "valid: nothing to do\n"
