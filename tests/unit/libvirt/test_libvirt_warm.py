"""Warm clones, as far as no guest is needed: what they must agree in, what they are told, how their disks come."""

from __future__ import annotations

import base64
import errno
import json
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.cloudinit.seed import Identity, Nic
from provision.driver import HostKeyPair, MachineSpec
from provision.errors import DeadlineError, DriverError
from provision_libvirt import creating
from provision_libvirt.claim import Claim
from provision_libvirt.copying import copy, fill_volume
from provision_libvirt.domain_xml import domain_xml
from provision_libvirt.guest_agent import GuestAgent, wrapped
from provision_libvirt.metadata import from_xml
from provision_libvirt.warm import extra_disks, snapshot_xml
from provision_libvirt.warm_scripts import READY, REST, become, network_file
from provision_libvirt.warm_state import frozen, require_possible, state_key
from provision_libvirt.warm_template import SEED_SIZE, seed_of, template_settings

Claimed = Callable[..., Claim]
KEY = HostKeyPair(private="-----BEGIN OPENSSH PRIVATE KEY-----\nit's\nsecret\n", public="ssh-ed25519 AAAA host")
IDENTITY = Identity(
    name="lab-worker-1",
    instance_id="i-1",
    authorized_keys=("ssh-ed25519 BBBB eve's",),
    host_key=KEY,
    nics=(Nic(mac="52:54:00:00:00:01", addresses=("10.9.8.10/24",), gateway="10.9.8.1", nameservers=("10.9.8.1",)),),
    domain="lab.provision.internal",
)


@pytest.fixture
def claimed(held: Any, spec: Callable[..., MachineSpec], monkeypatch: pytest.MonkeyPatch) -> Claimed:
    """`claimed(2, memory=…)`: a machine as it is defined, before any of its disks is made."""

    def claim(number: int = 1, **changes: Any) -> Claim:
        found: list[Claim] = []
        monkeypatch.setattr(creating, "_boot", found.append)
        wanted = spec(number, **changes)
        creating.create(held, wanted)
        held.lookupByName(wanted.name).undefine()
        return found[0]

    return claim


# --- what a state is good for ---


def test_machines_that_differ_in_their_names_share_a_state(claimed: Claimed) -> None:
    first, second = claimed(1), claimed(2)
    assert first.mark.address != second.mark.address or first.settings.name != second.settings.name
    assert state_key(first) == state_key(second)


@pytest.mark.parametrize(
    "changes",
    [
        {"memory": 2**31},
        {"cpus": 2},
        {"disk": 2**34},
        {"user": "eve"},
        {"port": 2222},
        {"options": {"ephemeral": True}},
    ],
)
def test_a_machine_of_another_make_needs_another_state(claimed: Claimed, changes: dict[str, Any]) -> None:
    assert state_key(claimed(1)) != state_key(claimed(1, **changes))


def test_memory_knows_two_disks_and_no_network_card(claimed: Claimed) -> None:
    claim = claimed(options={"disks": [{"size": "1GiB"}]})
    devices = ET.fromstring(domain_xml(frozen(claim.settings))).find("devices")
    assert devices is not None
    assert devices.findall("interface") == []
    assert [disk.findtext("serial") for disk in devices.findall("disk")] == [None, "seed"]
    balloon = devices.find("memballoon")
    assert balloon is not None and balloon.get("model") == "none"


def test_a_template_is_a_clone_but_for_its_names(claimed: Claimed) -> None:
    claim = claimed()
    theirs, ours = (
        ET.fromstring(domain_xml(each)) for each in (template_settings(claim, "0" * 16), frozen(claim.settings))
    )
    for root in (theirs, ours):
        for tag in ("name", "uuid", "metadata"):
            found = root.find(tag)
            assert found is not None
            root.remove(found)
        for element in (*root.iter("source"), *root.iter("log")):
            element.attrib.pop("file", None)
    assert ET.tostring(theirs) == ET.tostring(ours)


def test_a_template_belongs_to_the_cluster_and_names_all_that_is_made_for_it(claimed: Claimed) -> None:
    mark = template_settings(claimed(), "0123456789abcdef").mark
    assert (mark.cluster, mark.boot, mark.made, mark.nics) == ("lab", "template", False, ())
    assert mark.volumes == ("lab-warm-01234567.qcow2", "lab-warm-01234567-seed.iso")


def test_the_snapshot_is_of_the_clone(claimed: Claimed) -> None:
    claim = claimed()
    root = ET.fromstring(snapshot_xml(claim.settings))
    assert root.findtext("domain/uuid") == claim.settings.uuid
    metadata = root.find("domain/metadata")
    assert metadata is not None
    assert from_xml(ET.tostring(metadata[0], encoding="unicode")) == claim.mark
    assert {disk.get("name"): disk.get("snapshot") for disk in root.iterfind("disks/disk")} == {
        "vda": "internal",
        "vdb": "no",
    }


def test_further_disks_are_plugged_in_behind_the_templates_two(claimed: Claimed) -> None:
    claim = claimed(options={"disks": [{"size": "1GiB"}, {"size": "2GiB", "format": "raw"}]})
    found = {disk.findtext("serial"): disk.find("target") for disk in extra_disks(claim.settings)}
    assert {serial: target.get("dev") for serial, target in found.items() if target is not None} == {
        "disk1": "vdc",
        "disk2": "vdd",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"user_data": "#cloud-config\n{}"}, "`user_data` is obeyed"), ({"options": {"firmware": "efi"}}, "firmware efi")],
)
def test_what_cannot_be_cloned_is_refused(claimed: Claimed, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DriverError, match=said) as caught:
        require_possible(claimed(**changes).request)
    assert "`boot: cold`" in caught.value.hint


def test_seeds_are_all_of_one_length() -> None:
    assert len(seed_of(IDENTITY)) == SEED_SIZE == len(seed_of(Identity(name="x", instance_id="y")))


# --- what a clone is told ---


@pytest.mark.parametrize(
    "script",
    [READY, REST, become(IDENTITY, now=1.5, machine_id="0" * 32, randomness=b"r")],
    ids=["ready", "rest", "become"],
)
def test_scripts_are_good_shell(script: str) -> None:
    done = subprocess.run(("sh", "-n"), input=wrapped(script), text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_randomness_and_the_clock_come_before_any_key_is_made() -> None:
    script = become(IDENTITY, now=1700000000.25, machine_id="0" * 32, randomness=b"random")
    order = ["date -s @1700000000.250", base64.b64encode(b"random").decode(), "ssh_host_ed25519_key", "systemctl start"]
    assert sorted(order, key=script.index) == order


def test_a_clone_gets_what_cloud_init_would_have_written(tmp_path: Path) -> None:
    """Its files are written below a folder here, by the very script; what needs a machine is left out."""
    script, _, _ = become(IDENTITY, now=1.0, machine_id="ab" * 16, randomness=b"r").partition("read -r units")
    for folder in ("etc/ssh", "run", "home"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 provision-warm\n")
    lines = [
        line.replace("/etc/", f"{tmp_path}/etc/").replace("/run/", f"{tmp_path}/run/")
        for line in script.replace("$(getent passwd root | cut -d: -f6)", f"{tmp_path}/home").splitlines()
        if not line.startswith(("date ", "networkctl ", "perl ", "chown "))
        and "/dev/urandom" not in line
        and "/proc/" not in line
    ]
    subprocess.run(("sh",), input=wrapped("\n".join(lines)), text=True, check=True)
    key = tmp_path / "etc/ssh/ssh_host_ed25519_key"
    assert key.read_text() == KEY.private
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/hostname").read_text() == "lab-worker-1\n"
    assert (tmp_path / "etc/machine-id").read_text() == "ab" * 16 + "\n"
    assert (tmp_path / "etc/hosts").read_text().splitlines() == [
        "127.0.0.1 localhost",
        "127.0.1.1 lab-worker-1.lab.provision.internal lab-worker-1",
    ]
    assert (tmp_path / "home/.ssh/authorized_keys").read_text() == "ssh-ed25519 BBBB eve's\n"
    assert "Address=10.9.8.10/24" in (tmp_path / "run/systemd/network/05-provision-0.network").read_text()


def test_a_card_without_an_address_asks_by_its_mac() -> None:
    text = network_file(Nic(mac="52:54:00:00:00:02", optional=True), "lab.provision.internal")
    assert "DHCP=ipv4" in text and "ClientIdentifier=mac" in text and "RequiredForOnline=no" in text
    assert "Domains=" not in text and "Gateway=" not in text


# --- the guest agent ---


class FakeDomain:
    """A domain whose agent answers what it is told to, one answer a call."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.active = True

    def name(self) -> str:
        return "lab-worker-1"

    def isActive(self) -> bool:  # noqa: N802 # libvirt's
        return self.active


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[GuestAgent, FakeDomain]]:
    libvirt = pytest.importorskip("libvirt")

    def command(domain: FakeDomain, text: str, seconds: int, flags: int) -> str:
        domain.asked.append(json.loads(text))
        answer = domain.answers.pop(0) if len(domain.answers) > 1 else domain.answers[0]
        if isinstance(answer, str):
            raise libvirt.libvirtError(answer)
        return json.dumps({"return": answer})

    monkeypatch.setattr("libvirt_qemu.qemuAgentCommand", command)

    def make(*answers: object) -> tuple[GuestAgent, FakeDomain]:
        domain = FakeDomain(*answers)
        return GuestAgent(domain), domain  # type: ignore[arg-type]

    return make


def test_a_script_goes_in_over_the_channel_and_its_output_comes_back(agent: Callable[..., Any]) -> None:
    told = base64.b64encode(b"hello\n").decode()
    guest, domain = agent({"pid": 7}, {"exited": False}, {"exited": True, "exitcode": 0, "out-data": told})
    assert guest.run("echo secret", what="talking", seconds=10) == "hello\n"
    execution = domain.asked[0]["arguments"]
    assert "arg" not in execution
    assert "echo secret" in base64.b64decode(execution["input-data"]).decode()


def test_a_script_that_fails_tells_its_last_words(agent: Callable[..., Any]) -> None:
    told = base64.b64encode(b"no such unit\n").decode()
    guest, _ = agent({"pid": 7}, {"exited": True, "exitcode": 3, "err-data": told})
    with pytest.raises(DriverError, match="lab-worker-1: talking failed with status 3") as caught:
        guest.run("false", what="talking", seconds=10)
    assert "no such unit" in caught.value.detail


def test_an_agent_is_waited_for(agent: Callable[..., Any]) -> None:
    guest, domain = agent("not connected", "not connected", {})
    guest.wait(seconds=10)
    assert len(domain.asked) == 3
    silent, _ = agent("not connected")
    with pytest.raises(DeadlineError, match="guest agent") as caught:
        silent.wait(seconds=0)
    assert "not connected" in caught.value.detail


def test_a_machine_that_stopped_is_not_waited_for(agent: Callable[..., Any]) -> None:
    guest, domain = agent("not connected")
    domain.active = False
    with pytest.raises(DriverError, match="stopped while it was waited for"):
        guest.wait(seconds=60)


def test_no_command_reads_the_rest_of_its_script() -> None:
    done = subprocess.run(("sh",), input=wrapped("cat\necho end"), text=True, capture_output=True, check=True)
    assert done.stdout == "end\n"


# --- disks ---


def test_a_copy_keeps_content_and_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.write(os.urandom(300_000))
        file.seek(40 * 2**20)
        file.write(os.urandom(5_000))
        file.truncate(48 * 2**20)
    with source.open("rb") as content, target.open("wb") as file:
        copy(content, file)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 2**22


def test_a_disk_that_is_full_is_told_in_words(
    claimed: Claimed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    claim = claimed()
    place = replace(claim.request.place, folder=str(tmp_path))
    monkeypatch.setattr("provision_libvirt.copying.copy", full)
    monkeypatch.setattr("provision_libvirt.copying.make_volume", lambda *_, **__: None)
    (tmp_path / "state").write_bytes(b"state")
    (tmp_path / "disk").write_bytes(b"")
    with pytest.raises(DriverError, match="disk cannot be written: No space left on device"):
        fill_volume(claim.conn, place, "disk", tmp_path / "state")
