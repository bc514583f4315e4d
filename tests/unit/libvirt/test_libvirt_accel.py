"""The trial of KVM: what is tried, what counts as having worked, and what is remembered."""

from __future__ import annotations

import platform
import queue
import threading
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from provision.errors import DriverError
from provision_libvirt import accel
from provision_libvirt.accel import decide, own_kernel, probe_xml, reached_user_space, remembered
from provision_libvirt.capabilities import read_capabilities

libvirt = pytest.importorskip("libvirt")

CAPABILITIES = """
<capabilities>
  <host><uuid>{uuid}</uuid><cpu><arch>x86_64</arch></cpu></host>
  <guest><arch name='i686'><domain type='qemu'/></arch></guest>
  <guest><arch name='x86_64'><emulator>/usr/bin/qemu</emulator><domain type='qemu'/>{kvm}</arch></guest>
</capabilities>
"""
BOOTED = b"[    0.000000] Linux version 6.1\r\n[    1.2] Run /init as init process\r\nLoading, please wait...\r\n"
HUNG = b"[    0.000000] Linux version 6.1\r\n[    0.1] x86/fpu: xstate\r\n"


class Stream:
    """A console that prints these pieces, then ends or, with `hangs`, is silent until its domain is destroyed."""

    def __init__(self, pieces: Sequence[bytes], *, hangs: bool) -> None:
        self._pieces = list(pieces)
        self._hangs = hangs
        self.over = threading.Event()

    def recv(self, _size: int) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._hangs:
            self.over.wait(20)
        return b""


class Hypervisor:
    """A connection that boots what it is given in a pretended way, and counts how often."""

    def __init__(self, *pieces: bytes, hangs: bool = False, kvm: bool = True, refuses: str = "") -> None:
        self.stream = Stream(pieces, hangs=hangs)
        self.refuses = refuses
        self.kvm = kvm
        self.qemu = 7002022
        self.tried: list[tuple[str, int]] = []
        self.events: list[str] = []

    def getURI(self) -> str:  # noqa: N802 # libvirt's names
        return "qemu:///system"

    def getCapabilities(self) -> str:  # noqa: N802
        return CAPABILITIES.format(uuid="1-2-3", kvm="<domain type='kvm'/>" if self.kvm else "")

    def getLibVersion(self) -> int:  # noqa: N802
        return 9000000

    def getVersion(self) -> int:  # noqa: N802
        return self.qemu

    def newStream(self, _flags: int) -> Stream:  # noqa: N802
        return self.stream

    def createXML(self, xml: str, flags: int) -> Hypervisor:  # noqa: N802
        self.tried.append((xml, flags))
        if self.refuses:
            error = libvirt.libvirtError("refused")
            error.err = (38, 10, self.refuses, 2, "", None, None, -1, -1)
            raise error
        return self

    def openConsole(self, _device: None, _stream: Stream, _flags: int) -> None:  # noqa: N802
        self.events.append("listen")

    def resume(self) -> None:
        self.events.append("resume")

    def destroy(self) -> None:
        self.events.append("destroy")
        self.stream.over.set()


def ask(hypervisor: Any, folder: Path, wanted: Any = "auto") -> str:
    return decide(
        hypervisor, wanted=wanted, folder=folder, kernel=Path("/images/vmlinuz"), initrd=Path("/images/initrd")
    )


@pytest.mark.parametrize("wanted", ["kvm", "qemu"])
def test_stated_kind_is_taken_without_a_trial(tmp_path: Path, wanted: str) -> None:
    assert ask(None, tmp_path, wanted) == wanted


def test_hypervisor_without_kvm_emulates(tmp_path: Path) -> None:
    hypervisor = Hypervisor(kvm=False)
    assert ask(hypervisor, tmp_path) == "qemu"
    assert hypervisor.tried == []


def test_kernel_that_reaches_user_space_decides_for_kvm_once(tmp_path: Path) -> None:
    hypervisor = Hypervisor(BOOTED[:40], BOOTED[40:])
    assert ask(hypervisor, tmp_path / "data") == "kvm"
    assert ask(hypervisor, tmp_path / "data") == "kvm"
    assert len(hypervisor.tried) == 1
    assert hypervisor.events == ["listen", "resume", "destroy"]  # nothing printed is missed, nothing left


def test_domain_of_the_trial_goes_with_a_killed_process(tmp_path: Path) -> None:
    hypervisor = Hypervisor(BOOTED)
    ask(hypervisor, tmp_path)
    flags = hypervisor.tried[0][1]
    assert flags & libvirt.VIR_DOMAIN_START_AUTODESTROY


def test_kernel_that_hangs_decides_for_emulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "try_kvm", lambda *words, **more: _try(*words, **more, silence=0.05))
    hypervisor = Hypervisor(HUNG, hangs=True)
    assert ask(hypervisor, tmp_path) == "qemu"
    verdict = remembered(tmp_path, platform.node())
    assert verdict is not None
    assert verdict.why == "a kernel hangs on it; its last words: [    0.1] x86/fpu: xstate"
    assert hypervisor.events[-1] == "destroy"


_try = accel.try_kvm


def test_qemu_that_dies_decides_for_emulation(tmp_path: Path) -> None:
    assert ask(Hypervisor(HUNG), tmp_path) == "qemu"
    verdict = remembered(tmp_path, platform.node())
    assert verdict is not None
    assert "ends early" in verdict.why


def test_refusal_because_of_kvm_decides_for_emulation(tmp_path: Path) -> None:
    assert ask(Hypervisor(refuses="failed to initialize kvm: Permission denied"), tmp_path) == "qemu"


def test_refusal_for_another_reason_is_an_error_and_not_remembered(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="cannot try whether KVM works: no space"):
        ask(Hypervisor(refuses="no space left on device"), tmp_path)
    assert remembered(tmp_path, platform.node()) is None


def test_another_qemu_is_tried_anew(tmp_path: Path) -> None:
    assert ask(Hypervisor(HUNG), tmp_path) == "qemu"
    newer = Hypervisor(BOOTED)
    newer.qemu += 1
    assert ask(newer, tmp_path) == "kvm"


def test_many_at_once_try_once(tmp_path: Path) -> None:
    hypervisor = Hypervisor(BOOTED)
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: answers.put(ask(hypervisor, tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [answers.get(timeout=1) for _ in threads] == ["kvm"] * 8
    assert len(hypervisor.tried) == 1


def test_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "accel.json").write_text("[]")
    assert ask(Hypervisor(BOOTED), tmp_path) == "kvm"


@pytest.mark.parametrize(
    "line",
    [
        "Loading, please wait...",
        "[    2.1] systemd[1]: Detected virtualization kvm.",
        "[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    ],
)
def test_late_lines_are_late(line: str) -> None:
    assert reached_user_space(f"SeaBIOS\n{line}\n")


def test_early_lines_are_not() -> None:
    assert not reached_user_space(HUNG.decode())


def test_probe_is_a_machine_like_the_real_ones_that_ends_by_itself() -> None:
    capabilities = read_capabilities(CAPABILITIES.format(uuid="u", kvm="<domain type='kvm'/>"))
    root = ET.fromstring(probe_xml("p", capabilities, kernel=Path("/k"), initrd=None))
    assert root.get("type") == "kvm"
    assert root.findtext("os/kernel") == "/k"
    assert root.find("os/initrd") is None
    cpu, machine = root.find("cpu"), root.find("os/type")
    assert cpu is not None
    assert machine is not None
    assert (cpu.get("mode"), machine.get("machine")) == ("host-passthrough", "q35")
    assert root.findtext("on_reboot") == "destroy"
    assert "panic=-1" in (root.findtext("os/cmdline") or "")


def test_own_kernel_is_one_that_may_be_read(tmp_path: Path) -> None:
    assert own_kernel(tmp_path) is None
    (tmp_path / "boot").mkdir()
    for name, mode in (("vmlinuz-1", 0o644), ("vmlinuz-2", 0o600)):
        (tmp_path / "boot" / name).touch()
        (tmp_path / "boot" / name).chmod(mode)
    assert own_kernel(tmp_path) == tmp_path / "boot" / "vmlinuz-1"
