"""Two clusters on one host: each has its network and its swarm, and neither is in the other's way."""

from __future__ import annotations

import json
from pathlib import Path

from lab_support import Lab, Shared


def test_clusters_have_networks_of_their_own(lab: Lab, shared: Shared, pair: Path) -> None:
    networks = {
        name: {guest.address.rpartition(".")[0] for guest in lab.guests(name).values()} for name in ("lab", "pair")
    }
    assert len(networks["lab"]) == len(networks["pair"]) == 1
    assert networks["lab"] != networks["pair"]


def test_machines_know_the_names_of_their_own_cluster_only(lab: Lab, shared: Shared, pair: Path) -> None:
    guest = lab.guest("pair-worker-1")
    assert guest.sh("getent hosts pair-manager-1").split()[0] == lab.guest("pair-manager-1").address
    assert guest.run("getent hosts lab-manager-1").status != 0


def test_swarms_do_not_mix(lab: Lab, shared: Shared, pair: Path) -> None:
    assert all(name.startswith("pair-") for name in lab.nodes("pair-manager-1"))
    assert all(name.startswith("lab-") for name in lab.nodes("lab-manager-1"))


def test_ls_shows_the_machines_of_both(lab: Lab, shared: Shared, pair: Path) -> None:
    rows = [json.loads(line) for line in lab.run("ls", "-o", "json").ok().stdout.splitlines()]
    found = {(row["cluster"], row["name"]) for row in rows if row["cluster"] in ("lab", "pair")}
    assert found == {(name, guest) for name in ("lab", "pair") for guest in lab.guests(name)}


def test_ssh_finds_the_cluster_by_the_machine(lab: Lab, shared: Shared, pair: Path) -> None:
    for name in ("lab-worker-1", "pair-worker-1"):
        assert lab.run("ssh", name, "hostname").ok().stdout.strip() == name


def test_command_without_a_cluster_asks_which(lab: Lab, shared: Shared, pair: Path) -> None:
    lab.run("status").fails(2, "there are several", "lab", "pair")
    assert lab.run("status", environ={"PROVISION_CLUSTER": "pair"}).stdout.startswith("pair: ")
