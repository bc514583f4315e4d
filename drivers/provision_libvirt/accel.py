"""Whether machines run on KVM here: tried once for each hypervisor with a kernel that really boots, then remembered.

That a hypervisor lists KVM says little: under some nested kinds of it the firmware runs and a stock kernel hangs. So a
small transient domain is started, and must reach its user space, or the panic for want of a root file system, on its
serial console.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import re
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from provision_libvirt.capabilities import Capabilities, read_capabilities
from provision_libvirt.connection import translated
from provision_libvirt.locks import locked
from provision_libvirt.uri import parse

if TYPE_CHECKING:
    import libvirt

Accel = Literal["kvm", "qemu"]

#: a kernel that works prints all the time; one that hangs has printed its last line within a second
_SILENCE = 10.0
_LONGEST = 60.0
#: Debian's initramfs or another's, systemd in it, or the end of a kernel that got so far without one
_LATE = re.compile(
    r"Loading, please wait|Begin: |dracut|systemd\[1\]|Welcome to|Attempted to kill init"
    r"|Unable to mount root fs|No filesystem could mount root|No working init found"
)
#: what keeps KVM from starting at all, in QEMU's and libvirt's words
_REFUSED = re.compile(r"kvm|cpu.*(not supported|incompatible)|monitor", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a trial. `of` names all that it depends on, whose change asks for a new one; `why` is for people."""

    of: str
    accel: Accel
    why: str
    time: str


def decide(
    conn: libvirt.virConnect,
    *,
    wanted: Literal["auto", "kvm", "qemu"],
    folder: Path,
    kernel: Path | None,
    initrd: Path | None,
) -> Accel:
    """`wanted`, or with "auto" what was found out for this hypervisor: remembered in `folder`/accel.json.

    `kernel` and `initrd` are files of the hypervisor to try it with. Without them, this machine's own kernel is taken
    where that is the hypervisor, else what it lists is believed. A trial takes a second where KVM works, and ten where
    it does not; meanwhile other processes and threads wait for its result. Raises DriverError.
    """
    if wanted != "auto":
        return wanted
    with translated("cannot ask the hypervisor what it offers"):
        capabilities = read_capabilities(conn.getCapabilities())
        local = parse(conn.getURI()).local
        of = _depends_on(conn, local=local)
        # where the firmware gives it no id, a hypervisor makes up another one at each start
        hypervisor = platform.node() if local else capabilities.uuid
    if not capabilities.kvm:
        return "qemu"
    if kernel is None and local:
        kernel, initrd = own_kernel(), None
    if kernel is None:
        return "kvm"
    with locked("the trial of KVM", hypervisor, seconds=2 * _LONGEST):
        known = remembered(folder, hypervisor)
        if known is not None and known.of == of:
            return known.accel
        why = try_kvm(conn, capabilities, kernel=kernel, initrd=initrd)
        verdict = Verdict(
            of=of, accel="qemu" if why else "kvm", why=why, time=datetime.now(UTC).isoformat(timespec="seconds")
        )
        _remember(folder, hypervisor, verdict)
        return verdict.accel


def remembered(folder: Path, hypervisor: str) -> Verdict | None:
    """What came of the last trial there; None when there was none, or it cannot be read.

    A hypervisor is known by its id, this machine by its name.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return Verdict(**json.loads((folder / "accel.json").read_text())[hypervisor])
    return None


def own_kernel(root: Path = Path("/")) -> Path | None:
    """A kernel of this machine that anybody may read: the newest in /boot."""
    found = [path for path in root.glob("boot/vmlinuz-*") if path.stat().st_mode & 0o004]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def try_kvm(
    conn: libvirt.virConnect,
    capabilities: Capabilities,
    *,
    kernel: Path,
    initrd: Path | None,
    silence: float = _SILENCE,
) -> str:
    """Boot the kernel on KVM; why that failed, or "" where it did not.

    The domain is gone afterwards, also when this process is killed meanwhile. Raises DriverError where the trial itself
    could not be made.
    """
    import libvirt

    xml = probe_xml(f"provision-probe-{uuid.uuid4().hex[:12]}", capabilities, kernel=kernel, initrd=initrd)
    flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
    try:
        domain = conn.createXML(xml, flags)
    except libvirt.libvirtError as refused:
        words = refused.get_error_message() or ""
        if _REFUSED.search(words):
            return words
        with translated("cannot try whether KVM works"):
            raise
    try:
        with translated("cannot try whether KVM works"):
            stream = conn.newStream(0)
            domain.openConsole(None, stream, 0)
            domain.resume()
        return _judged(_printed(stream), silence)
    finally:
        with contextlib.suppress(libvirt.libvirtError):  # it may have ended by itself
            domain.destroy()


def probe_xml(name: str, capabilities: Capabilities, *, kernel: Path, initrd: Path | None) -> str:
    """A small domain that boots the kernel, with the processor that machines get, and ends when it panics."""
    intel = capabilities.arch in ("x86_64", "i686")
    console = "ttyS0" if intel else "ttyAMA0"
    domain = ET.Element("domain", type="kvm")
    ET.SubElement(domain, "name").text = name
    ET.SubElement(domain, "memory", unit="MiB").text = "512"
    ET.SubElement(domain, "vcpu").text = "1"
    system = ET.SubElement(domain, "os")
    ET.SubElement(system, "type", arch=capabilities.arch, machine="q35" if intel else "virt").text = "hvm"
    ET.SubElement(system, "kernel").text = str(kernel)
    if initrd is not None:
        ET.SubElement(system, "initrd").text = str(initrd)
    ET.SubElement(system, "cmdline").text = f"console={console} panic=-1"
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(domain, "cpu", mode="host-passthrough")
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        ET.SubElement(domain, event).text = "destroy"
    devices = ET.SubElement(domain, "devices")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="none")
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "target", port="0")
    return ET.tostring(domain, encoding="unicode")


def reached_user_space(text: str) -> bool:
    """Whether a kernel that printed this got as far as a kernel gets."""
    return _LATE.search(text) is not None


def _printed(stream: libvirt.virStream) -> queue.SimpleQueue[bytes]:
    """What the console prints, as it comes; an empty piece is its end. Ends with its domain."""
    import libvirt

    pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        with contextlib.suppress(libvirt.libvirtError):
            while piece := stream.recv(4096):
                pieces.put(piece)
        pieces.put(b"")

    threading.Thread(target=listen, name="kvm probe", daemon=True).start()
    return pieces


def _judged(pieces: queue.SimpleQueue[bytes], silence: float) -> str:
    text = ""
    deadline = time.monotonic() + _LONGEST
    while not reached_user_space(text):
        left = deadline - time.monotonic()
        try:
            piece = pieces.get(timeout=max(0.0, min(silence, left)))
        except queue.Empty:
            return f"a kernel hangs on it; {_last(text)}"
        if not piece:
            return f"a kernel ends early on it; {_last(text)}"
        text += piece.decode(errors="replace")
    return ""


def _last(text: str) -> str:
    lines = text.split()
    return f"its last words: {text.strip().splitlines()[-1].strip()}" if lines else "it printed nothing"


def _depends_on(conn: libvirt.virConnect, *, local: bool) -> str:
    """All whose change may change the verdict; a remote hypervisor does not tell its kernel's release."""
    release = platform.release() if local else "-"
    return f"kernel {release}, libvirt {conn.getLibVersion()}, qemu {conn.getVersion()}"


def _remember(folder: Path, hypervisor: str, verdict: Verdict) -> None:
    path = folder / "accel.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    whole = {**(known if isinstance(known, dict) else {}), hypervisor: asdict(verdict)}
    beside = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):  # then it is tried again next time
        folder.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(whole, indent=2) + "\n")
        beside.rename(path)
