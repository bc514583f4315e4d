"""Virtual machines in the measurement: what each side is told, and when a machine has answered; without any."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import vm_site
from bench.contenders.provision_vm import ProvisionVm
from bench.contenders.virt_lightning import VirtLightning
from bench.vm_site import Door, VmSite, first_answers
from provision.images.store import DiskImage
from provision.inventory.load import load
from provision_libvirt.testing import OwnLibvirtd


@pytest.fixture
def site(tmp_path: Path) -> VmSite:
    """Three machines, and nothing that could run them."""
    return VmSite(
        folder=tmp_path,
        machines=3,
        image=DiskImage(name="debian-12", path=tmp_path / "disk", digest="d", format="qcow2", virtual_size=1),
        libvirtd=OwnLibvirtd(tmp_path, frozenset()),
        key=tmp_path / "id_ed25519",
        environ={"HOME": str(tmp_path), "PATH": ""},
    )


class Ready:
    """A contender whose machines have their addresses one after the other."""

    name = "ready"
    interrupted: int | None = None

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors = doors
        self.asked = 0

    def versions(self, environ: Mapping[str, str]) -> str:
        raise NotImplementedError

    def prepare(self, site: VmSite) -> None:
        raise NotImplementedError

    def argv(self, site: VmSite) -> tuple[str, ...]:
        raise NotImplementedError

    def doors(self, site: VmSite) -> Sequence[Door]:
        """One more at each question."""
        self.asked += 1
        return self._doors[: self.asked]

    def forget(self, site: VmSite) -> None:
        raise NotImplementedError


@pytest.fixture
def sshd(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Something that shows a banner, and what ssh prints then, one answer after the other; the last one stays."""
    answers: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    connect = socket.create_connection

    def serve() -> None:
        try:
            while True:
                client, _ = server.accept()
                with client:
                    client.sendall(b"SSH-2.0-test\r\n")
        except OSError:
            return

    def run(argv: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        return subprocess.CompletedProcess(argv, 255 if said == "refused" else 0, said + "\n", said)

    monkeypatch.setattr("bench.vm_site.socket.create_connection", lambda to, timeout: connect((to[0], port), timeout))
    monkeypatch.setattr("bench.vm_site.subprocess.run", run)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield answers
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def test_a_machine_has_answered_when_it_gives_its_own_name(site: VmSite, sshd: list[str]) -> None:
    sshd += ["refused", "localhost", "one"]
    contender = Ready([Door("one", "127.0.0.1", ())] * 3)
    assert first_answers(site, contender, going=lambda: None, seconds=10.0) > 0
    assert sshd == ["one"]
    assert contender.asked == 3


@pytest.mark.parametrize(("said", "why"), [("refused", "refused"), ("other", "it is called 'other'")])
def test_a_machine_that_never_answers_is_named_with_the_last_cause(
    site: VmSite, sshd: list[str], said: str, why: str
) -> None:
    sshd.append(said)
    contender = Ready([Door("one", "127.0.0.1", ())] * 3)
    contender.asked = 3
    with pytest.raises(RuntimeError, match=f"one does not answer: {why}"):
        first_answers(site, contender, going=lambda: None, seconds=0.2)


def test_an_end_that_is_asked_for_does_not_wait_for_machines(site: VmSite, sshd: list[str]) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    sshd.append("refused")
    contender = Ready([Door("one", "127.0.0.1", ())] * 3)
    contender.asked = 3
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            first_answers(site, contender, going=lambda: None, seconds=60.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 10


def test_machines_that_get_no_address_are_counted(site: VmSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_site, "_EVERY", 0.001)
    with pytest.raises(RuntimeError, match="ready: 1 of 3 machines have an address"):
        first_answers(site, Ready([Door("one", "127.0.0.1", ())]), going=lambda: None, seconds=0.05)


def test_a_command_that_has_failed_ends_the_waiting(site: VmSite) -> None:
    def going() -> None:
        raise RuntimeError("it failed")

    with pytest.raises(RuntimeError, match="it failed"):
        first_answers(site, Ready([]), going=going, seconds=60.0)


@pytest.mark.parametrize("boot", ["cold", "warm"])
def test_both_sides_make_as_many_machines_of_the_same_size(site: VmSite, boot: Any) -> None:
    theirs, ours = VirtLightning(), ProvisionVm(boot)
    theirs.prepare(site)
    ours.prepare(site)
    listed = json.loads((site.folder / "virt-lightning.yaml").read_text())
    cluster = load(site.folder / f"{boot}.yml", environ=site.environ)
    specs = [group for group in cluster.groups for _ in range(group.count)]
    assert len(listed) == len(specs) == 3
    for machine, group in zip(listed, specs, strict=True):
        assert machine["distro"] == group.image == "debian-12"
        assert machine["memory"] * 2**20 == group.memory
        assert machine["disks"][0]["size"] * 2**30 == group.disk
        assert machine["vcpus"] == group.cpus
    assert boot in str(cluster)


def test_the_addresses_that_virt_lightning_is_told_are_those_that_are_asked(site: VmSite) -> None:
    theirs = VirtLightning()
    theirs.prepare(site)
    listed = json.loads((site.folder / "virt-lightning.yaml").read_text())
    told = [(machine["name"], machine["networks"][0]["ipv4"]) for machine in listed]
    assert [(door.name, door.address) for door in theirs.doors(site)] == told


def test_virt_lightning_gives_a_seed_that_the_image_finds(site: VmSite) -> None:
    VirtLightning().prepare(site)
    for machine in json.loads((site.folder / "virt-lightning.yaml").read_text()):
        assert machine["metadata_format"] == {"provider": "nocloud"}
        assert machine["meta_data_media_type"] == "disk"


def test_without_a_program_that_makes_its_seeds_virt_lightning_is_not_begun_with(site: VmSite) -> None:
    with pytest.raises(RuntimeError, match="apt-get install genisoimage"):
        VirtLightning().versions(site.environ)
