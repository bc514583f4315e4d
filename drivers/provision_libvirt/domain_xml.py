"""A machine as libvirt defines it. Pure. Why each choice is made stands beside it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from provision_libvirt.metadata import Mark, NicMark, to_element

#: empty slots for what is plugged in later
_SPARE_PORTS = 10
_PERIOD = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What kind of machine the hypervisor makes: libvirt's domain type, architecture and machine type."""

    kind: str
    arch: str

    @property
    def machine(self) -> str:
        """Empty where the hypervisor knows none, as libvirt's own for tests."""
        if self.kind == "test":
            return ""
        return "q35" if self.arch in ("x86_64", "i686") else "virt"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSettings:
    """A file as a disk. `backing` is the file below it, empty where it stands alone."""

    path: str
    form: str
    backing: str = ""
    backing_form: str = ""
    read_only: bool = False
    serial: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """All that a domain's definition says; sizes are bytes. `cpus` may be a fraction."""

    name: str
    uuid: str
    mark: Mark
    platform: Platform
    cpus: float
    memory: int
    disks: tuple[DiskSettings, ...]
    nics: tuple[NicMark, ...]
    console: str
    title: str = ""
    description: str = ""
    ephemeral: bool = False
    firmware: str = "bios"
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    hugepages: bool = False
    balloon: bool = True


def domain_xml(settings: DomainSettings) -> str:
    """The definition as text."""
    return ET.tostring(domain_element(settings), encoding="unicode")


def domain_element(settings: DomainSettings) -> ET.Element:
    """The definition, for who wants to add to it."""
    root = ET.Element("domain", type=settings.platform.kind)
    for tag in ("name", "uuid", "title", "description"):
        if text := getattr(settings, tag):
            ET.SubElement(root, tag).text = text
    ET.SubElement(root, "metadata").append(to_element(settings.mark))
    ET.SubElement(root, "memory", unit="KiB").text = str(settings.memory // 1024)
    if settings.hugepages:
        ET.SubElement(ET.SubElement(root, "memoryBacking"), "hugepages")
    _processor(root, settings)
    _boot(root, settings)
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    if settings.platform.machine != "virt":
        ET.SubElement(features, "apic")
    _clock(root)
    for event, what in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "restart")):
        ET.SubElement(root, event).text = what
    _devices(ET.SubElement(root, "devices"), settings)
    return root


def _processor(root: ET.Element, settings: DomainSettings) -> None:
    whole = max(1, -int(-settings.cpus // 1))
    ET.SubElement(root, "vcpu").text = str(whole)
    if whole != settings.cpus:
        tune = ET.SubElement(root, "cputune")
        ET.SubElement(tune, "period").text = str(_PERIOD)
        # for each processor
        ET.SubElement(tune, "quota").text = str(int(_PERIOD * settings.cpus / whole))
    mode = {"kvm": "host-passthrough", "qemu": "maximum"}.get(settings.platform.kind)
    if mode:
        ET.SubElement(root, "cpu", mode=mode)


def _boot(root: ET.Element, settings: DomainSettings) -> None:
    platform = settings.platform
    if platform.machine == "q35":
        # Tells cloud-init where to look, also one that would try every cloud's way first.
        system = ET.SubElement(ET.SubElement(root, "sysinfo", type="smbios"), "system")
        ET.SubElement(system, "entry", name="serial").text = "ds=nocloud"
    boot = ET.SubElement(root, "os")
    if settings.firmware == "efi" and platform.machine:
        boot.set("firmware", "efi")
    kind = ET.SubElement(boot, "type", arch=platform.arch)
    kind.text = "hvm"
    if platform.machine:
        kind.set("machine", platform.machine)
    for tag in ("kernel", "initrd", "cmdline"):
        if text := getattr(settings, tag):
            ET.SubElement(boot, tag).text = text
    ET.SubElement(boot, "boot", dev="hd")
    if platform.machine == "q35":
        ET.SubElement(boot, "smbios", mode="sysinfo")


def _clock(root: ET.Element) -> None:
    clock = ET.SubElement(root, "clock", offset="utc")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    ET.SubElement(clock, "timer", name="hpet", present="no")


def _devices(devices: ET.Element, settings: DomainSettings) -> None:
    for index, disk in enumerate(settings.disks):
        _disk(devices, disk, f"vd{chr(ord('a') + index)}", ephemeral=settings.ephemeral)
    ET.SubElement(devices, "controller", type="usb", model="none")
    if settings.platform.machine:
        ET.SubElement(devices, "controller", type="pci", model="pcie-root")
        # disks and cards, and the agent's channel, random numbers and the balloon
        for _ in range(len(settings.disks) + len(settings.nics) + 3 + _SPARE_PORTS):
            ET.SubElement(devices, "controller", type="pci", model="pcie-root-port")
    for nic in settings.nics:
        devices.append(nic_element(nic))
    serial = ET.SubElement(devices, "serial", type="pty")  # for `virsh console`; the log is kept beside
    ET.SubElement(serial, "log", file=settings.console, append="on")
    ET.SubElement(serial, "target", port="0")
    agent = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    # Without it a guest waits for random numbers early in its boot.
    random = ET.SubElement(devices, "rng", model="virtio")
    ET.SubElement(random, "backend", model="random").text = "/dev/urandom"
    if settings.balloon:
        # Memory that the guest has freed goes back to the hypervisor by itself.
        ET.SubElement(devices, "memballoon", model="virtio", freePageReporting="on")
    else:
        ET.SubElement(devices, "memballoon", model="none")


def _disk(devices: ET.Element, disk: DiskSettings, target: str, *, ephemeral: bool) -> None:
    root = ET.SubElement(devices, "disk", type="file", device="disk")
    driver = ET.SubElement(root, "driver", name="qemu", type=disk.form)
    if disk.read_only:
        pass
    elif ephemeral:
        driver.set("cache", "unsafe")
    else:
        driver.set("cache", "none")
        driver.set("io", "native")
    if not disk.read_only:
        # What the guest deletes takes no room any more.
        driver.set("discard", "unmap")
        driver.set("detect_zeroes", "unmap")
    ET.SubElement(root, "source", file=disk.path)
    # Said in full, so that nobody guesses a format from a content that the guest decides.
    if disk.backing:
        below = ET.SubElement(root, "backingStore", type="file")
        ET.SubElement(below, "format", type=disk.backing_form)
        ET.SubElement(below, "source", file=disk.backing)
        ET.SubElement(below, "backingStore")
    else:
        ET.SubElement(root, "backingStore")
    ET.SubElement(root, "target", dev=target, bus="virtio")
    if disk.read_only:
        ET.SubElement(root, "readonly")
    if disk.serial:
        ET.SubElement(root, "serial").text = disk.serial


def nic_element(nic: NicMark) -> ET.Element:
    """A network card."""
    root = ET.Element("interface", type="network" if nic.network else "bridge")
    ET.SubElement(root, "mac", address=nic.mac)
    if nic.network:
        ET.SubElement(root, "source", network=nic.network)
    else:
        ET.SubElement(root, "source", bridge=nic.bridge)
    ET.SubElement(root, "model", type="virtio")
    # Nothing boots from the network, so the firmware need not load what could.
    ET.SubElement(root, "rom", enabled="no")
    return root
