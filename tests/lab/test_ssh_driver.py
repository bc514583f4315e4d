"""Hosts that run already become a swarm, and are given back as they were: the ssh driver, on hosts that really run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_support import Guest, Lab, eventually, fetch
from test_trust import Hosts, User, difference, entry, traces, untouched

_KEYS = "/root/.ssh/authorized_keys"
#: how somebody wrote it by hand: no newline at the end, spaces where json.dumps has none
_DAEMON = '{"log-level":   "warn", "labels": ["rack=7"]}'
_STACK = "stacks:\n  hello: {{file: {file}, images: [{archive}], resolve_image: never}}\n"


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    with Hosts(lab, "metal") as made:
        yield made


@pytest.fixture(scope="module")
def trio(hosts: Hosts) -> tuple[Guest, Guest, Guest]:
    """Three hosts with a history: an engine that somebody configured, a key file without a newline at its end."""
    made = (hosts.boot(), hosts.boot(), hosts.boot())
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f other"
    for host in made:
        host.sh(f"printf '%s' '{other}' >>{_KEYS}; printf '%s' '{_DAEMON}' >/etc/docker/daemon.json")
        host.sh("systemctl restart docker")
    return made


@pytest.fixture
def user(lab: Lab, hosts: Hosts) -> Iterator[User]:
    with User(lab) as made:
        yield made


def test_up_forms_a_swarm_and_down_gives_the_hosts_back(
    lab: Lab, user: User, trio: tuple[Guest, Guest, Guest]
) -> None:
    before = [traces(host) for host in trio]
    stack = Path(__file__).parents[2] / "inventories" / "stacks" / "hello.yml"
    head = "engine: {install: none, daemon: {debug: true, log-driver: local}}\n"
    head += _STACK.format(file=stack, archive=lab.archive)
    inventory = user.write("metal", [entry(trio[0])], [entry(trio[1]), entry(trio[2])], head=head)
    lab.run("up", inventory).ok()

    assert {node.role for node in lab_nodes(trio[0]).values()} == {"manager", "worker"}
    assert all(node.ready for node in lab_nodes(trio[0]).values())
    for host in trio:
        assert "metal" in fetch(host.address) or fetch(host.address)
        daemon = json.loads(host.sh("cat /etc/docker/daemon.json"))
        assert daemon == {"log-level": "warn", "labels": ["rack=7"], "debug": True, "log-driver": "local"}
        assert "provision/hello" in host.sh("docker image ls")
        assert "tcp dport" in host.firewall()

    again = lab.run("up", inventory).ok()
    assert "nothing to do" in again.stdout, again

    lab.run("down", inventory, "--yes").ok()
    for host, old in zip(trio, before, strict=True):
        assert not difference(old, traces(host))
        assert host.sh("systemctl is-active docker") == "active"
        assert "provision" not in host.sh("find /etc -name '*provision*'; nft list tables; systemctl list-unit-files")
    assert not lab.state("metal").exists()
