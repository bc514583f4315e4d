"""Which hypervisor a URI means, and which URIs are refused."""

from __future__ import annotations

import pytest

from provision.errors import DriverError
from provision_libvirt.uri import login_command, parse


def test_the_system_of_this_machine() -> None:
    uri = parse("qemu:///system")
    assert (uri.local, uri.test, uri.jump, uri.to_open) == (True, False, None, "qemu:///system")


def test_pretended_hypervisor() -> None:
    uri = parse("test:///default")
    assert (uri.local, uri.test) == (True, True)


@pytest.mark.parametrize(
    ("text", "jump"),
    [
        ("qemu+ssh://hv/system", "hv"),
        ("qemu+ssh://root@hv.example.org/system", "root@hv.example.org"),
        ("qemu+ssh://ops@192.0.2.7:2222/system", "ops@192.0.2.7:2222"),
        ("qemu+ssh://ops@[2001:db8::7]:22/system", "ops@[2001:db8::7]:22"),
        ("qemu+ssh://Cellar/system", "Cellar"),  # an alias of ~/.ssh/config
    ],
)
def test_machines_are_reached_through_the_hypervisor(text: str, jump: str) -> None:
    uri = parse(text)
    assert uri.jump == jump
    assert not uri.local


def test_over_ssh_nobody_is_asked_about_a_key() -> None:
    assert parse("qemu+ssh://hv/system").to_open == "qemu+ssh://hv/system?no_tty=1"
    assert parse("qemu+ssh://hv/system?socket=/x").to_open == "qemu+ssh://hv/system?socket=%2Fx&no_tty=1"


@pytest.mark.parametrize("query", ["no_verify=1", "no_verify=0", "no_verify", "known_hosts_verify=ignore"])
def test_blind_trust_is_refused(query: str) -> None:
    with pytest.raises(DriverError, match="would trust any host key") as caught:
        parse(f"qemu+ssh://ops@hv:2222/system?{query}")
    assert caught.value.hint.endswith("ssh -p 2222 ops@hv true")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("qemu:///session", "does not name the system's hypervisor"),
        ("qemu+tcp://hv/system", "does not lead to its machines"),
        ("qemu+tls://hv/system", "does not lead to its machines"),
        ("qemu://hv/system", "does not lead to its machines"),
        ("qemu+ssh:///system", "does not lead to its machines"),
        ("lxc:///", "no URI of a QEMU hypervisor"),
        ("system", "no URI of a QEMU hypervisor"),
        ("qemu+ssh://hv:port/system", "no libvirt URI"),
    ],
)
def test_what_leads_nowhere_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(DriverError, match=words) as caught:
        parse(text)
    assert "qemu" in caught.value.hint


def test_login_command_is_what_a_person_types() -> None:
    assert login_command(parse("qemu:///system"), "true") == "true"
    assert login_command(parse("qemu+ssh://ops@hv:2222/system"), "true") == "ssh -p 2222 ops@hv true"
