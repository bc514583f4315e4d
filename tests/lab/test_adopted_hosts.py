"""Hosts that run already become a swarm and are given back as they were: the ssh driver, on hosts that really run."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from lab_support import Guest, Lab, fetch, files_below
from test_trust import Hosts, User, difference, entry, traces, untouched

_KEYS = "/root/.ssh/authorized_keys"
_OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f other"
#: written by hand: spaces where no program puts them, no newline at the end
_DAEMON = '{"log-level":   "warn", "labels": ["rack=7"]}'
_STACK = Path(__file__).parents[2] / "inventories" / "stacks" / "hello.yml"

Trio = tuple[Guest, Guest, Guest]


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    with Hosts(lab, "iron") as made:
        yield made


@pytest.fixture(scope="module")
def trio(hosts: Hosts) -> Trio:
    """Three hosts with a history: an engine that somebody configured, a key file without a newline at its end.

    Each test gives them back as it found them.
    """
    made = (hosts.boot(), hosts.boot(), hosts.boot())
    for host in made:
        host.sh(f"printf '%s' '{_OTHER_KEY}' >>{_KEYS}; printf '%s' '{_DAEMON}' >/etc/docker/daemon.json")
        host.sh("systemctl restart docker")
    return made


@pytest.fixture
def user(lab: Lab, hosts: Hosts) -> Iterator[User]:
    with User(lab) as made:
        yield made


def test_up_forms_a_swarm_and_down_gives_the_hosts_back(lab: Lab, user: User, trio: Trio) -> None:
    before = [traces(host) for host in trio]
    head = (
        "engine: {install: none, daemon: {debug: true, log-driver: local}}\n"
        f"stacks: {{hello: {{file: {_STACK}, images: [{lab.archive}], resolve_image: never}}}}\n"
    )
    inventory = user.write("metal", [entry(trio[0])], [entry(trio[1]), entry(trio[2])], head=head)
    lab.run("up", inventory).ok()
    nodes = lab.nodes(trio[0].name)
    assert {name: (node.role, node.ready) for name, node in nodes.items()} == {
        trio[0].name: ("manager", True),
        trio[1].name: ("worker", True),
        trio[2].name: ("worker", True),
    }
    for host in trio:
        assert host.name in fetch(host.address)
        wanted = {"log-level": "warn", "labels": ["rack=7"], "debug": True, "log-driver": "local"}
        assert json.loads(host.sh("cat /etc/docker/daemon.json")) == wanted
        assert "provision" in host.firewall()
    assert "nothing to do" in lab.run("up", inventory).ok().stdout

    lab.run("down", inventory, "--yes").ok()
    for host, old in zip(trio, before, strict=True):
        assert not difference(old, traces(host)), host.name
        assert host.sh("systemctl is-active docker") == "active"
    assert not lab.state("metal").exists()


def test_named_worker_goes_and_the_others_keep_their_names(lab: Lab, user: User, trio: Trio) -> None:
    manager, first, second = trio
    user.known_hosts.write_text(f"{second.address} {second.machine.host_keys[0]}\n")
    inventory = user.write("grow", [entry(manager)], [entry(first) + "  # the first one"])
    before = traces(first)
    lab.run("up", inventory).ok()
    untouched_first = untouched(first)
    ports = ("/etc/provision/firewall.nft", "/etc/provision/firewall.loaded")

    lab.run("add-worker", inventory, "--host", f"root@{second.address}").ok()
    assert {name for name, node in lab.nodes(manager.name).items() if node.ready} == {host.name for host in trio}
    assert set(difference(untouched_first, untouched(first))) == set(ports)
    assert "# the first one" in inventory.read_text()

    lab.run("rm", "grow-worker-1", "--yes").ok()
    assert set(lab.nodes(manager.name)) == {manager.name, second.name}
    assert not difference(before, traces(first))
    assert first.address not in inventory.read_text()
    assert first.address not in manager.firewall()
    assert lab.run("ls", "-c", "grow", "-q").ok().stdout.split() == ["grow-manager-1", "grow-worker-2"]
    assert "nothing to do" in lab.run("up", inventory).ok().stdout


def test_host_that_never_answers_does_not_keep_the_others(lab: Lab, user: User, trio: Trio) -> None:
    nobody = str(IPv4Address(trio[0].address) + 100)
    head = "ssh: {connect_timeout: 2s}\n"
    inventory = user.write("two", [entry(trio[0])], [entry(trio[0], address=nobody), entry(trio[1])], head=head)
    ran = lab.run("up", inventory).fails(1, "two-worker-1", nobody, "within 2 s", f"provision up {inventory}")
    nodes = lab.nodes(trio[0].name)
    assert {name for name, node in nodes.items() if node.ready} == {trio[0].name, trio[1].name}, ran

    lab.run("down", inventory, "--yes").fails(1, "two-worker-1", "--force")
    assert "provision" not in trio[1].firewall()
    lab.run("down", inventory, "--yes", "--force").ok()
    assert not lab.state("two").exists()


def test_one_host_under_two_names_is_refused(lab: Lab, user: User, trio: Trio) -> None:
    user.config.write_text(f"Host twin\n  HostName {trio[0].address}\n")
    before = untouched(trio[0])
    inventory = user.write("twins", [entry(trio[0])], [entry(trio[0], address="twin")])
    ran = lab.run("up", inventory).fails(1, "twins-manager-1", "twins-worker-1", "nothing was changed")
    assert trio[0].sh("cat /etc/machine-id") in ran.stderr, ran
    assert untouched(trio[0]) == before


def test_host_of_another_cluster_is_refused(lab: Lab, user: User, trio: Trio) -> None:
    lab.run("up", user.write("mine", [entry(trio[0])])).ok()
    before = [untouched(host) for host in trio[:2]]
    inventory = user.write("yours", [entry(trio[1])], [entry(trio[0])])
    lab.run("up", inventory).fails(1, "yours-worker-1", "cluster 'mine'", "provision rm mine-manager-1")
    assert [untouched(host) for host in trio[:2]] == before
    assert not lab.state("yours").exists()


def test_host_in_a_foreign_swarm_is_refused(lab: Lab, user: User, trio: Trio) -> None:
    trio[1].docker("swarm", "init", "--advertise-addr", trio[1].address)
    try:
        before = [untouched(host) for host in trio[:2]]
        node = trio[1].docker("info", "--format", "{{.Swarm.NodeID}} {{.Swarm.LocalNodeState}}")
        inventory = user.write("stranger", [entry(trio[0])], [entry(trio[1])])
        lab.run("up", inventory).fails(1, "stranger-worker-1", "a swarm that is not this cluster's")
        assert trio[1].docker("info", "--format", "{{.Swarm.NodeID}} {{.Swarm.LocalNodeState}}") == node
        assert [untouched(host) for host in trio[:2]] == before
    finally:
        trio[1].docker("swarm", "leave", "--force")


@pytest.fixture
def alias(lab: Lab, user: User, hosts: Hosts) -> Iterator[Guest]:
    """`works` in the user's ssh config: a sudo user on a port other than 22, with a key that is none of the usual."""
    host = hosts.boot(user="alice", port=2222)
    key = lab.home / ".ssh" / "id_work"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)), check=True)
    public = key.with_suffix(".pub")
    host.sh(f"echo '{public.read_text().strip()}' >/home/alice/.ssh/authorized_keys")
    public.unlink()  # else it would be authorized as one of the user's own
    user.config.write_text(
        f"Host works\n  HostName {host.address}\n  User alice\n  Port 2222\n  IdentityFile ~/.ssh/id_work\n"
    )
    user.known_hosts.write_text(f"[{host.address}]:2222 {host.machine.host_keys[0]}\n")
    yield host
    lab.remove("alias")
    key.unlink()


def test_alias_of_the_users_ssh_config_is_a_host(lab: Lab, user: User, alias: Guest) -> None:
    before = traces(alias)
    inventory = user.write("alias", ["works"])
    lab.run("up", inventory).ok()
    assert lab.nodes(alias.name)[alias.name].manager_status == "leader"
    assert lab.run("ssh", "alias-manager-1", "id", "-un").ok().stdout == "alice\n"
    assert lab.run("exec", "-c", "alias", "--", "id", "-un").ok().stdout == "alias-manager-1 | alice\n"
    assert "nothing to do" in lab.run("up", inventory).ok().stdout
    lab.run("down", inventory, "--yes").ok()
    assert not difference(before, traces(alias))


def test_docker_context_works_where_the_login_is_a_sudo_users(lab: Lab, user: User, alias: Guest) -> None:
    lab.run("up", user.write("alias", ["works"])).ok()
    assert alias.name in lab.command("docker", "--context", "alias", "node", "ls").ok().stdout


def test_user_without_sudo_is_told_what_is_missing(lab: Lab, user: User, hosts: Hosts) -> None:
    host = hosts.boot(user="bob")
    host.sh("rm /etc/sudoers.d/90-bob")
    before = untouched(host)
    inventory = user.write("mortal", [entry(host, user="bob")])
    ran = lab.run("up", inventory).fails(1, "mortal-manager-1", "password-free sudo", "NOPASSWD")
    assert untouched(host) == before, ran


def test_password_opens_a_host_once(lab: Lab, user: User, hosts: Hosts) -> None:
    host = hosts.boot()
    word = "correct horse 7%$"
    host.sh(f"echo 'root:{word}' | chpasswd && rm -r /root/.ssh")
    host.sh("printf 'PasswordAuthentication yes\\nPermitRootLogin yes\\n' >/etc/ssh/sshd_config.d/05-password.conf")
    host.sh("systemctl restart ssh")
    before = traces(host)
    inventory = user.write("opened", [entry(host)])
    lab.run("up", inventory).fails(1, "refuses the login", "--ask-pass")
    lab.run("up", inventory, environ={"PROVISION_SSH_PASSWORD": word}).ok()
    assert "nothing to do" in lab.run("up", inventory).ok().stdout  # by key now
    ssh = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    assert lab.command(*ssh, f"root@{host.address}", "id", "-un").ok().stdout == "root\n"  # by the user's own key
    for folder in (lab.states, lab.docker_config, lab.inventories):
        assert not [name for name, content in files_below(folder).items() if word.encode() in content]
    lab.run("down", inventory, "--yes").ok()
    assert not difference(before, traces(host))


@pytest.fixture(scope="module")
def behind(lab: Lab, hosts: Hosts) -> tuple[Guest, Guest]:
    """A jump host, and a host on a wire to it and to nothing else, where it is 10.99.0.2."""
    jump, target = hosts.boot(), hosts.boot()
    here, there = jump.machine.provider_id, target.machine.provider_id
    for command in (
        f"ip link add wire netns {here} type veth peer name wire netns {there}",
        f"ip -netns {here} address add 10.99.0.1/30 dev wire",
        f"ip -netns {here} link set wire up",
        f"ip -netns {there} address add 10.99.0.2/30 dev wire",
        f"ip -netns {there} link set wire up",
        f"ip -netns {there} address flush dev eth0",
        f"ip -netns {there} link set eth0 down",
    ):
        lab.command(*command.split()).ok()
    return jump, target


@pytest.mark.parametrize("said_in", ["inventory", "ssh config"])
def test_host_behind_a_jump_host(said_in: str, lab: Lab, user: User, behind: tuple[Guest, Guest]) -> None:
    jump, target = behind
    with pytest.raises(OSError, match=r"unreachable|timed out"):
        socket.create_connection(("10.99.0.2", 22), timeout=1)
    user.known_hosts.write_text(f"{jump.address} {jump.machine.host_keys[0]}\n")
    if said_in == "inventory":
        host = entry(target, address="10.99.0.2", jump=f"root@{jump.address}")
    else:
        user.config.write_text(
            f"Host door\n  HostName {jump.address}\n  User root\n"
            "Host vault\n  HostName 10.99.0.2\n  User root\n  ProxyJump door\n"
        )
        host = entry(target, address="vault", user=None)
    before, before_jump = traces(target), untouched(jump)
    inventory = user.write("hidden", [host])
    lab.run("up", inventory).ok()
    assert lab.nodes(target.name)[target.name].manager_status == "leader"
    assert target.name in lab.run("docker", "-c", "hidden", "node", "ls").ok().stdout
    assert "nothing to do" in lab.run("up", inventory).ok().stdout
    lab.run("down", inventory, "--yes").ok()
    assert not difference(before, traces(target))
    assert untouched(jump) == before_jump


def test_jump_host_whose_key_is_unknown_stops(lab: Lab, user: User, behind: tuple[Guest, Guest]) -> None:
    jump, target = behind
    inventory = user.write("hidden", [entry(target, address="10.99.0.2", jump=f"root@{jump.address}")])
    lab.run("up", inventory).fails(1, f"jump host {jump.address}: its SSH host key is not known")
