"""What must change on a host, area by area: target and facts in, names and causes out."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders_of_plans import as_desired, facts

from provision.hosts import release
from provision.hosts.changes import due
from provision.hosts.changes.access import changes as access
from provision.hosts.changes.daemon import activate, write
from provision.hosts.changes.firewall import rules
from provision.hosts.desired import HostDesired
from provision.hosts.facts import EngineFacts, FirewallFacts, HostFacts
from provision.hosts.fragments import compose

HOST = facts("lab-manager-1")
BARE = replace(HOST, engine=EngineFacts(), firewall=FirewallFacts())


def desired(**fields: Any) -> HostDesired:
    plain = HostDesired(
        cluster="lab",
        machine="lab-manager-1",
        manager=True,
        authorized_keys=("ssh-ed25519 AAAAone provision",),
        members=("10.0.1.1", "10.0.2.1"),
    )
    return replace(plain, **fields)


def told(target: HostDesired, host: HostFacts) -> list[tuple[str, str]]:
    return [(change.fragment.name, change.cause) for change in due(target, host)]


def test_a_bare_host_needs_everything_in_this_order() -> None:
    assert told(desired(daemon={"debug": True}), BARE) == [
        ("mark as ours", "the host bears no mark of this cluster"),
        ("authorize keys", "1 SSH key is not authorized"),
        ("write daemon.json", "daemon.json differs: debug is missing"),
        ("install packages", "docker not found, nft not found"),
        ("write firewall", "the swarm's ports are open to everybody"),
    ]


def test_ports_only_leaves_all_but_the_ports() -> None:
    changes = due(desired(daemon={"debug": True}), BARE, ports_only=True)
    assert [change.fragment.name for change in changes] == ["write firewall"]


@pytest.mark.parametrize(
    "target",
    [
        desired(),
        desired(manager=False),
        desired(daemon={"debug": True, "log-opts": {"max-size": "1m"}}),
        desired(members=("fd00::2", "10.0.0.9", "10.0.0.10"), data_path_port=9999),
    ],
)
@pytest.mark.parametrize("host", [HOST, BARE])
def test_nothing_is_due_once_it_is_done(target: HostDesired, host: HostFacts) -> None:
    assert due(target, as_desired(host, target)) == ()


# --- keys ---


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ((), 2),
        (("ssh-ed25519 AAAAone",), 1),
        (("ssh-ed25519 AAAAone other comment", "ssh-rsa AAAAtwo"), 0),
        (('from="10.0.0.0/8",command="echo AAAA no" ssh-ed25519 AAAAone x',), 2),
        (("restrict ssh-ed25519 AAAAone", "ssh-rsa AAAAtwo"), 0),
        (("# ssh-ed25519 AAAAone", "#ssh-rsa AAAAtwo"), 2),
        (("ssh-ed25519 AAAAonemore", "not a key"), 2),
    ],
)
def test_keys_are_compared_by_what_makes_them(present: tuple[str, ...], missing: int) -> None:
    target = desired(authorized_keys=("ssh-ed25519 AAAAone a@b", "ssh-rsa AAAAtwo c@d"))
    causes = [change.cause for change in access(target, replace(HOST, authorized_keys=present))]
    words = {0: [], 1: ["1 SSH key is not authorized"], 2: ["2 SSH keys are not authorized"]}
    assert causes == words[missing]


def test_a_key_that_is_asked_for_twice_is_added_once() -> None:
    target = desired(authorized_keys=("ssh-ed25519 AAAAone a", "ssh-ed25519 AAAAone a", "ssh-ed25519 AAAAone b"))
    (change,) = access(target, HOST)
    assert change.cause == "1 SSH key is not authorized"


# --- daemon.json ---


@pytest.mark.parametrize(
    ("current", "before", "wanted", "cause", "verb"),
    [
        (None, None, {}, None, None),
        ("{}", None, {}, None, None),
        ('{"debug": true}', None, {}, None, None),
        ('{ "debug" : true }', "", {"debug": True}, None, None),
        (None, None, {"debug": True}, "debug is missing", "reload engine"),
        ('{"debug": false}', None, {"debug": True}, "debug is false, not true", "reload engine"),
        ('{"debug": true}', "", {}, "debug is not wanted", "restart engine"),
        # what the host had before us stays
        ('{"dns": ["1.1.1.1"]}', None, {"debug": True}, "debug is missing", "reload engine"),
        ('{"dns": ["1.1.1.1"], "debug": true}', '{"dns": ["1.1.1.1"]}', {"debug": True}, None, None),
        ('{"debug": true}', '{"dns": ["1.1.1.1"]}', {"debug": True}, "dns is missing", "restart engine"),
        # mappings merge, lists are replaced
        (
            '{"log-opts": {"max-file": "3"}}',
            None,
            {"log-opts": {"max-size": "1m"}},
            'log-opts is {"max-file": "3"}, not {"max-file": "3", "max-size": "1m"}',
            "restart engine",
        ),
        ('{"labels": ["a"]}', None, {"labels": ["b"]}, 'labels is ["a"], not ["b"]', "reload engine"),
        (None, None, {"debug": True, "mtu": 1400}, "debug is missing, mtu is missing", "restart engine"),
        # not JSON: dockerd would not start with it
        ("{oops", None, {"debug": True}, "debug is missing", "reload engine"),
        ("[]", None, {"debug": True}, "debug is missing", "reload engine"),
    ],
)
def test_daemon_json_is_compared_as_json(
    current: str | None, before: str | None, wanted: dict[str, Any], cause: str | None, verb: str | None
) -> None:
    host = replace(HOST, engine=replace(HOST.engine, daemon_json=current, daemon_json_before=before))
    target = desired(daemon=wanted)
    assert [change.cause for change in write(target, host)] == ([f"daemon.json differs: {cause}"] if cause else [])
    assert [change.fragment.name for change in activate(target, host)] == ([verb] if verb else [])


def test_only_a_restart_disrupts() -> None:
    (reload,) = activate(desired(daemon={"debug": True}), HOST)
    (restart,) = activate(desired(daemon={"debug": True, "mtu": 1400}), HOST)
    assert (reload.disrupts, restart.disrupts) == (False, True)
    assert restart.cause == "changed, and not reloadable: mtu"


@pytest.mark.parametrize(("daemon", "verb"), [({}, "start"), ({"debug": True}, "restart")])
def test_an_engine_that_is_down_is_started(daemon: dict[str, Any], verb: str) -> None:
    host = replace(HOST, engine=replace(HOST.engine, version=None))
    (change,) = activate(desired(daemon=daemon), host)
    assert (change.fragment.name, change.cause) == ("start engine", "the engine does not answer")
    assert f"systemctl {verb} docker.service" in change.fragment.body


def test_an_engine_that_is_not_there_is_started_by_its_package() -> None:
    assert activate(desired(daemon={"debug": True}), BARE) == ()


def test_what_stood_in_daemon_json_first_is_kept_once() -> None:
    target = desired(daemon={"debug": True})
    (first,) = write(target, HOST)
    touched = replace(HOST, engine=replace(HOST.engine, daemon_json="{}", daemon_json_before=""))
    (second,) = write(target, touched)
    assert "daemon.json.before" in first.fragment.body
    assert "daemon.json.before" not in second.fragment.body


# --- packages ---


@pytest.mark.parametrize(
    ("install", "firewall", "cause"),
    [
        (True, True, "docker not found, nft not found"),
        (True, False, "docker not found"),
        (False, True, "nft not found"),
        (False, False, None),
    ],
)
def test_only_what_is_needed_is_installed(install: bool, firewall: bool, cause: str | None) -> None:
    found = dict(told(desired(install=install, firewall=firewall), BARE))
    assert found.get("install packages") == cause


# --- firewall ---

RULES = """\
# made by provision for cluster lab; changes are overwritten
table inet provision
delete table inet provision
table inet provision {
    set members4 { type ipv4_addr; elements = { 10.0.0.9, 10.0.0.10 } }
    set members6 { type ipv6_addr; elements = { fd00::2 } }
    chain input {
        type filter hook input priority filter - 10; policy accept;
        iif "lo" accept
        ip saddr @members4 accept
        ip6 saddr @members6 accept
        tcp dport { 2377, 7946 } drop
        udp dport { 4789, 7946 } drop
    }
}
"""


def test_the_rules_are_these() -> None:
    assert rules(desired(members=("10.0.0.10", "fd00::2", "10.0.0.9", "10.0.0.9"))) == RULES


@pytest.mark.parametrize(
    ("fields", "tcp", "udp"),
    [
        ({"manager": True}, "2377, 7946", "4789, 7946"),
        ({"manager": False}, "7946", "4789, 7946"),
        ({"manager": False, "data_path_port": 9999}, "7946", "7946, 9999"),
    ],
)
def test_the_ports_belong_to_the_role(fields: dict[str, Any], tcp: str, udp: str) -> None:
    text = rules(desired(**fields))
    assert f"tcp dport {{ {tcp} }} drop" in text
    assert f"udp dport {{ {udp} }} drop" in text


@pytest.mark.parametrize("members", [(), ("10.0.0.1",), ("fd00::1",), ("10.0.0.1", "fd00::1", "192.168.1.1")])
def test_nft_accepts_the_rules(members: tuple[str, ...]) -> None:
    """Checked in a network namespace of its own, so that not even a check touches this machine's tables."""
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare"):
        if os.environ.get("CI"):
            pytest.fail("root, nft and unshare are needed")
        pytest.skip("root, nft and unshare are needed")
    script = "nft -c -f /dev/stdin && nft list ruleset"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script],
        input=rules(desired(members=members)).encode(),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"rules": None}, "the swarm's ports are open to everybody"),
        ({"intact": False}, "the loaded table is not ours"),
        ({"enabled": False}, "the table is not loaded at boot"),
        ({"rules": rules(desired(members=("10.0.1.1",)))}, "new members: 10.0.2.1"),
        ({"rules": rules(desired(members=("10.0.1.1", "10.0.2.1", "10.0.2.2")))}, "members have left"),
        ({"rules": rules(desired(members=("10.0.1.11", "10.0.2.1")))}, "new members: 10.0.1.1"),
        ({"rules": rules(desired(manager=False))}, "the rules differ"),
    ],
)
def test_firewall_drift_is_told_by_its_cause(change: dict[str, Any], cause: str) -> None:
    target = desired()
    host = as_desired(HOST, target)
    host = replace(host, firewall=replace(host.firewall, **change))
    assert told(target, host) == [("write firewall", cause)]


def test_our_table_goes_when_it_is_not_wanted() -> None:
    host = as_desired(HOST, desired())
    assert told(desired(firewall=False), host) == [("remove firewall", "firewall: none")]
    assert told(desired(firewall=False), replace(host, firewall=FirewallFacts())) == []


# --- what is run ---


@pytest.mark.parametrize("shell", [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)])
def test_every_script_is_what_shells_parse(shell: str) -> None:
    target = desired(daemon={"x": "it's $HOME `id` \\"}, authorized_keys=("ssh-ed25519 AAAAone it's",))
    down = replace(HOST, engine=replace(HOST.engine, version=None))
    scripts = [
        *(compose([change.fragment for change in due(target, host)], mark="m") for host in (BARE, HOST, down)),
        compose([change.fragment for change in due(desired(firewall=False), as_desired(HOST, target))], mark="m"),
        *(
            compose(release.fragments(user="it's", member=member, purge=purge), mark="m")
            for member in (True, False)
            for purge in (True, False)
        ),
    ]
    for script in scripts:
        done = subprocess.run([shell, "-n"], input=script.encode(), capture_output=True, timeout=20, check=False)
        assert (done.returncode, done.stderr) == (0, b""), script


# --- taking it back ---


def test_release_takes_everything_back_and_the_keys_last() -> None:
    names = [fragment.name for fragment in release.fragments(user="root", member=True, purge=False)]
    assert names[0] == "leave swarm"
    assert {"remove images", "restore daemon.json", "remove firewall"} < set(names)
    assert names[-2:] == ["remove keys", "remove mark"]


def test_a_host_that_is_no_member_leaves_no_swarm() -> None:
    names = [fragment.name for fragment in release.fragments(user="root", member=False, purge=True)]
    assert "leave swarm" not in names
    assert "purge packages" in names
    assert "restore daemon.json" not in names


@pytest.mark.parametrize(
    "before", [None, "", "ssh-rsa AAAAold me", "ssh-rsa AAAAold me\n", "# mine\n\nssh-rsa AAAAx\n"]
)
def test_keys_go_as_they_came(tmp_path: Path, before: str | None) -> None:
    """Both fragments run for real, with the home and our folder moved into a temporary one."""
    home, ours = tmp_path / "home", tmp_path / "etc"
    home.mkdir()
    file = home / ".ssh" / "authorized_keys"
    if before is not None:
        file.parent.mkdir()
        file.write_text(before)
    target = desired(authorized_keys=("ssh-ed25519 AAAAone it's", "ssh-rsa AAAAtwo"))
    lines = tuple((before or "").splitlines())
    (add,) = access(target, replace(HOST, authorized_keys=tuple(line for line in lines if line)))
    remove = next(f for f in release.fragments(user="root", member=False, purge=False) if f.name == "remove keys")

    def run(body: str) -> None:
        text = f"getent() {{ echo root:x:0:0:root:{home}:/bin/sh; }}\nset -eu\n" + body.replace(
            "/etc/provision", str(ours)
        )
        done = subprocess.run(["sh", "-s"], input=text.encode(), capture_output=True, timeout=20, check=False)
        assert (done.returncode, done.stderr.decode()) == (0, "")

    ours.mkdir()
    run(add.fragment.body)
    assert file.read_text().splitlines() == [*lines, "ssh-ed25519 AAAAone it's", "ssh-rsa AAAAtwo"]
    assert file.stat().st_mode & 0o777 in ((0o600,) if before is None else (0o644, 0o600))
    run(remove.body)
    assert (file.read_text() if file.exists() else None) in ((before,) if before is not None else (None, ""))
