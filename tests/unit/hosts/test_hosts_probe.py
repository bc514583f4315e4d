"""The probe: its script is POSIX shell, its parser reads what real hosts said."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from provision.errors import ProvisionError
from provision.hosts import probe
from provision.hosts.facts import EngineFacts, FirewallFacts, NodeFacts

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


def many(key: str, text: str) -> str:
    """A fact of several lines, as the script prints an answer."""
    return "\n".join(f"+{key} {line}" for line in text.removesuffix("\n").split("\n"))


BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'
ADDRESSES = (
    "2: host0    inet 10.89.0.11/24 brd 10.89.0.255 scope global host0\\       valid_lft forever\n"
    "2: host0    inet6 fd00::11/64 scope global \\       valid_lft forever\n"
    "3: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\       valid_lft forever\n"
)
INFO = {
    "version": "20.10.24+dfsg1",
    "state": "active",
    "node_id": "k0n1",
    "manager": True,
    "error": "",
    "cluster_id": "c1",
    "errors": None,
}
CHAINS = """\
table inet provision {
	chain input {
		type filter hook input priority filter - 10; policy accept;
	}
}
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
	}
}
"""

BARE = f"""\
user admin
hostname web1
kernel 6.1.0-18-amd64
architecture x86_64
cpus 4
clock 1753000000.123456789
{many("machine_id", "0123456789abcdef0123456789abcdef" + chr(10))}
{many("os_release", UBUNTU)}
memory 16384
systemd yes
end yes
"""

MANAGER = f"""\
user root
hostname lab-manager-1
kernel 6.1.0-18-amd64
architecture x86_64
cpus 2
clock 1753000000.5
{many("machine_id", "aa" * 16)}
{many("os_release", BOOKWORM)}
memory 2048
{many("addresses", ADDRESSES)}
{many("owner", '{"cluster": "lab", "machine": "lab-manager-1"}')}
{many("authorized_keys", "ssh-ed25519 AAAAone a@b" + chr(10) + chr(10) + "  # a comment" + chr(10))}
systemd yes
ipvs yes
nft yes
{many("rules", "table inet provision" + chr(10))}
{many("chains", CHAINS)}
intact yes
rules_enabled yes
{many("daemon_json", '{"debug": true}')}
daemon_json_before @/etc/provision/daemon.json.before
engine yes
{many("info", json.dumps(INFO))}
{many("images", "sha256:1" + chr(10) + "sha256:2" + chr(10))}
end yes
"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("images", [True, False])
def test_the_script_is_what_every_shell_parses(shell: str, images: bool) -> None:
    script = probe.script(images=images)
    done = subprocess.run([shell, "-n"], input=script.encode(), capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_script_only_reads() -> None:
    """No redirection into a file, and no word that changes anything."""
    script = probe.script(images=True)
    assert not [line for line in script.splitlines() if ">" in line.replace(">/dev/null", "").replace("2>", "")]
    words = set(script.replace("$(", " ").split())
    assert not words & {"rm", "mv", "cp", "touch", "mkdir", "install", "tee", "systemctl", "apt-get"}


def test_this_host_can_be_probed() -> None:
    if not shutil.which("ip"):
        pytest.fail("iproute2 is needed")
    done = subprocess.run(["sh", "-s"], input=probe.script().encode(), capture_output=True, timeout=60, check=True)
    facts = probe.parse("here", done.stdout.decode())
    assert facts.machine == "here"
    assert facts.cpus > 0
    assert facts.memory > 1 << 20
    assert facts.clock > 1.7e9
    assert facts.kernel
    assert facts.engine.images == frozenset()


def test_a_manager_of_a_swarm_is_understood() -> None:
    facts = probe.parse("lab-manager-1", MANAGER)
    assert (facts.os_id, facts.os_version, facts.debian) == ("debian", "12", True)
    assert (facts.cpus, facts.memory, facts.user) == (2, 2048 * 1024, "root")
    assert facts.machine_id == "aa" * 16
    assert facts.addresses == {"host0": ("10.89.0.11", "fd00::11"), "docker0": ("172.17.0.1",)}
    assert facts.owner == {"cluster": "lab", "machine": "lab-manager-1"}
    assert facts.authorized_keys == ("ssh-ed25519 AAAAone a@b", "# a comment")
    assert (facts.ipvs, facts.vxlan, facts.systemd) == (True, False, True)
    assert facts.firewall == FirewallFacts(
        available=True, rules="table inet provision\n", intact=True, enabled=True, dropping=("ip filter",)
    )
    assert facts.engine == EngineFacts(
        installed=True,
        version="20.10.24+dfsg1",
        daemon_json='{"debug": true}\n',
        daemon_json_before="",
        node=NodeFacts(state="active", node_id="k0n1", cluster_id="c1", manager=True),
        images=frozenset({"sha256:1", "sha256:2"}),
    )
    assert facts.engine.running
    assert facts.node.member


def test_a_bare_host_is_understood_by_what_is_missing() -> None:
    facts = probe.parse("web1", BARE)
    assert facts.engine == EngineFacts()
    assert facts.firewall == FirewallFacts()
    assert not facts.engine.running
    assert not facts.node.member
    assert facts.owner is None
    assert facts.authorized_keys == ()
    assert facts.addresses == {}
    assert (facts.os_id, facts.debian) == ("ubuntu", True)


def test_an_engine_that_does_not_answer_is_installed_and_not_running() -> None:
    facts = probe.parse("web1", BARE.replace("end yes", "engine yes\nend yes"))
    assert facts.engine.installed
    assert not facts.engine.running


@pytest.mark.parametrize(
    ("info", "node"),
    [
        ({}, NodeFacts()),
        ({"state": "inactive"}, NodeFacts()),
        ({"state": "locked", "node_id": ""}, NodeFacts(state="locked")),
        ({"state": "pending", "node_id": "n"}, NodeFacts(state="pending", node_id="n")),
        ({"state": "error", "node_id": "n", "error": "boom"}, NodeFacts(state="error", node_id="n", error="boom")),
        ({"state": "active", "node_id": "n", "manager": None}, NodeFacts(state="active", node_id="n")),
    ],
)
def test_membership_is_the_engines_own_word(info: dict[str, object], node: NodeFacts) -> None:
    line = f"engine yes\n+info {json.dumps(info)}\nend yes"
    assert probe.parse("web1", BARE.replace("end yes", line)).node == node


@pytest.mark.parametrize("text", ["null", "[]", "{", "", "1"])
def test_a_mark_that_is_no_mapping_is_no_mark(text: str) -> None:
    assert probe.parse("web1", BARE.replace("systemd yes", f"+owner {text}")).owner is None


def test_a_file_is_told_line_by_line_behind_its_path() -> None:
    path = "/home/joe/.ssh/authorized_keys"
    told = f"authorized_keys @{path}\n/etc/docker/daemon.json:end yes\n"
    told += f"{path}:ssh-ed25519 AAAAone a:b\n{path}:+owner {{}}\n"
    facts = probe.parse("web1", BARE.replace("end yes", f"{told}end yes"))
    assert facts.authorized_keys == ("ssh-ed25519 AAAAone a:b", "+owner {}")
    assert facts.owner is None


def test_what_a_login_shell_says_first_is_passed_by() -> None:
    noise = "Welcome to web1!\nuser of the month: bob\nend of message\n\n"
    assert probe.parse("web1", noise + BARE) == probe.parse("web1", BARE)


@pytest.mark.parametrize(
    "output",
    [
        "",
        "sh: 1: Syntax error\n",
        "end of the world\n",
        "end yes\n",
        BARE.removesuffix("end yes\n"),
        BARE.replace("user admin", "Welcome!user admin"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error_of_the_machine(output: str) -> None:
    with pytest.raises(ProvisionError, match="web1: the probe's answer is not whole"):
        probe.parse("web1", output)


def test_hosts_that_have_a_text_alike_share_it() -> None:
    one, other = (probe.parse(name, MANAGER) for name in ("a", "b"))
    assert one.firewall.rules
    assert one.firewall.rules is other.firewall.rules
    assert one.engine.daemon_json is other.engine.daemon_json
