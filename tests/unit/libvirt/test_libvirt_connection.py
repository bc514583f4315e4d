"""Opening a connection, and what becomes of libvirt's errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.errors import DriverError
from provision_libvirt.connection import checks_no_key, hint_for, open_connection, translated
from provision_libvirt.uri import parse

libvirt = pytest.importorskip("libvirt")


def test_connection_of_the_pretended_hypervisor_works() -> None:
    connection = open_connection("test:///default")
    assert connection.getURI() == "test:///default"
    assert connection.close() == 0


def test_error_is_ours_and_says_what_was_tried(capfd: pytest.CaptureFixture[str]) -> None:
    connection = open_connection("test:///default")
    with pytest.raises(DriverError, match=r"^cannot find it: Domain not found") as caught, translated("cannot find it"):
        connection.lookupByName("nobody")
    assert isinstance(caught.value.__cause__, libvirt.libvirtError)
    assert capfd.readouterr().err == ""  # libvirt prints errors itself, unless it is told not to


def test_hint_of_the_caller_goes_first() -> None:
    connection = open_connection("test:///default")
    with pytest.raises(DriverError) as caught, translated("x", hint="do this"):
        connection.networkLookupByName("nobody")
    assert caught.value.hint == "do this"


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translated("x"):
        raise KeyError


def test_missing_daemon_is_explained() -> None:
    with pytest.raises(DriverError, match="cannot connect to qemu") as caught:
        open_connection("qemu:///system?socket=/nonexistent/libvirt-sock")
    assert caught.value.hint == "provision doctor libvirt says what is missing here"


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied", "adduser $USER libvirt"),
        ("authentication unavailable: no polkit agent available", "adduser $USER libvirt"),
        ("internal error: Network is already in use by interface virbr0", "subnet"),
        ("Requested operation is not valid: network 'lan' is not active", "virsh -c qemu:///system net-start"),
        ("Cannot access storage file '/root/x.qcow2' (as uid:64055, gid:106): Permission denied", "chmod o+x"),
        ("something new", ""),
    ],
)
def test_hints_of_this_machine(message: str, hint: str) -> None:
    found = hint_for(message)
    assert hint in found
    assert bool(hint) == bool(found)


@pytest.mark.parametrize(
    "message",
    [
        "Cannot recv data: Host key verification failed.: Connection reset by peer",
        "Cannot recv data: ops@hv: Permission denied (publickey).: Connection reset by peer",
    ],
)
def test_hints_of_another_machine_are_an_ssh_to_type(message: str) -> None:
    assert hint_for(message, parse("qemu+ssh://ops@hv:2222/system")).endswith("ssh -p 2222 ops@hv true")


@pytest.mark.parametrize(("value", "blind"), [("ask", False), ("true", False), ("accept-new", False), ("false", True)])
def test_ssh_s_own_options_tell_whether_keys_are_checked(value: str, blind: bool) -> None:
    assert checks_no_key(f"host hv\nstricthostkeychecking {value}\nuserknownhostsfile\n") is blind


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pretended ssh, first on PATH, that says `-G` options from a file beside it and is refused otherwise."""
    program = tmp_path / "ssh"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -G ] && {{ echo "$@" >>{tmp_path}/asked; cat {tmp_path}/options; exit; }}\n'
        f'echo "$@" >>{tmp_path}/called\necho "Host key verification failed." >&2; exit 255\n'
    )
    program.chmod(0o755)
    (tmp_path / "options").write_text("stricthostkeychecking ask\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_unknown_key_of_a_hypervisor_is_an_error_with_the_way_to_learn_it(ssh: Path) -> None:
    with pytest.raises(DriverError, match="Host key verification failed") as caught:
        open_connection("qemu+ssh://ops@hv:2222/system")
    assert caught.value.hint == "look at the hypervisor's key and accept it once: ssh -p 2222 ops@hv true"
    called = (ssh / "called").read_text()
    assert "BatchMode=yes" in called
    assert "StrictHostKeyChecking=no" not in called


def test_ssh_config_that_accepts_any_key_is_refused(ssh: Path) -> None:
    (ssh / "options").write_text("stricthostkeychecking false\n")
    with pytest.raises(DriverError, match="accept any key of hv") as caught:
        open_connection("qemu+ssh://hv/system")
    assert "StrictHostKeyChecking yes" in caught.value.hint
    assert not (ssh / "called").exists()
