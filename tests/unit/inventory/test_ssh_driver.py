"""The ssh driver adopts and changes nothing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from provision.driver import HostEntry, MachineSpec, MachineState, Role
from provision.errors import DriverError
from provision_ssh import SshDriver

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def spec(number: int, host: HostEntry | None) -> MachineSpec:
    return MachineSpec(
        cluster="lab", name=f"lab-w-{number}", group="w", number=number, role=Role.WORKER, driver="ssh", host=host
    )


def test_it_adopts_what_the_host_entry_says():
    host = HostEntry(
        address="10.0.0.1", user="me", port=2222, jump="j", host_key=f"{KEY} box", private_address="10.1.0.1"
    )
    machine = SshDriver({}).create(spec(1, host))
    assert (machine.name, machine.state) == ("lab-w-1", MachineState.RUNNING)
    assert (machine.address, machine.user, machine.port, machine.jump) == ("10.0.0.1", "me", 2222, "j")
    assert (machine.member_address, machine.host_keys) == ("10.1.0.1", (KEY,))
    assert SshDriver({}).create(spec(1, host)) == machine


def test_what_the_entry_leaves_open_is_left_to_the_ssh_config():
    machine = SshDriver({}).create(spec(1, HostEntry(address="a")))
    assert (machine.user, machine.port, machine.host_keys) == (None, None, ())


def test_a_fingerprint_vouches_for_no_key():
    host = HostEntry(address="a", host_key="SHA256:" + "a" * 43)
    assert SshDriver({}).create(spec(1, host)).host_keys == ()


def test_there_is_nothing_to_discover_and_destroying_is_success():
    driver = SshDriver({})
    assert driver.discover("lab") == ()
    driver.destroy(driver.create(spec(1, HostEntry(address="a"))))


def test_check_finds_a_missing_host_and_a_double_one():
    findings = SshDriver({}).check(
        [
            spec(1, HostEntry(address="a")),
            spec(2, None),
            spec(3, HostEntry(address="A", port=22)),
            spec(4, HostEntry(address="a", port=23)),
        ]
    )
    assert [f.summary for f in findings] == [
        "lab-w-2 has no host to adopt",
        "lab-w-1 and lab-w-3 are the same machine, A",
    ]


def test_without_a_host_there_is_nothing_to_create():
    with pytest.raises(DriverError, match="lab-w-1 has no host to adopt"):
        SshDriver({}).create(spec(1, None))


def test_it_has_no_options():
    with pytest.raises(ValidationError):
        SshDriver({"region": "x"})
