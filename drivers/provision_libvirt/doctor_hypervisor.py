"""What a hypervisor that answers lacks for machines: KVM, its storage pool, its network."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from provision.driver import Finding
from provision_libvirt.capabilities import Capabilities, read_capabilities
from provision_libvirt.folders import Account, may_use
from provision_libvirt.uri import Uri
from provision_libvirt.workplace import Workplace, emulator_package, kept_out

if TYPE_CHECKING:
    import libvirt


def hypervisor_findings(
    settings: Mapping[str, Any], uri: Uri, place: Workplace, connection: libvirt.virConnect
) -> Iterator[Finding]:
    """What the hypervisor itself tells."""
    import libvirt

    try:
        if not uri.test:
            capabilities = read_capabilities(connection.getCapabilities())
            yield from _acceleration(settings, uri, place, capabilities)
        yield from _pool(settings, uri, place, connection)
        yield from _network(settings, uri, place, connection)
    except libvirt.libvirtError as exc:
        yield Finding(summary=f"the hypervisor does not tell what it has: {exc.get_error_message()}")


def _acceleration(
    settings: Mapping[str, Any], uri: Uri, place: Workplace, capabilities: Capabilities
) -> Iterator[Finding]:
    wanted = settings.get("accel") or "auto"
    if not capabilities.types:
        if not uri.local:  # else the missing program has been named
            package = emulator_package(capabilities.arch)
            yield Finding(summary="the hypervisor has no QEMU", fix=f"there: apt-get install {package}")
        return
    if wanted == "qemu":
        return
    problem = _kvm_problem(place) if uri.local else None
    if not capabilities.kvm or problem is not None:
        summary, fix = problem or ("the hypervisor offers no KVM", "enable virtualization in its firmware")
        slow = "" if wanted == "kvm" else "; machines run without it, many times slower"
        yield Finding(summary=f"{summary}{slow}", fix=fix, fatal=wanted == "kvm")


def _kvm_problem(place: Workplace) -> tuple[str, str] | None:
    """What is wrong with this machine's KVM, and what to do; None where all is well."""
    device = place.root / "dev" / "kvm"
    if not device.exists():
        flags = _cpu_flags(place)
        if "vmx" in flags:
            return "there is no /dev/kvm", "modprobe kvm_intel"
        if "svm" in flags:
            return "there is no /dev/kvm", "modprobe kvm_amd"
        return "the processor offers no virtualization", "enable it in the firmware, or nested in the outer hypervisor"
    if place.qemu is not None and not may_use(device, place.qemu):
        if not may_use(device, _member(place.qemu, "kvm")):
            return "/dev/kvm is not open to its group kvm", "chgrp kvm /dev/kvm; chmod 660 /dev/kvm"
        return f"QEMU's user {place.qemu.name} may not use /dev/kvm", f"adduser {place.qemu.name} kvm"
    return None


def _member(account: Account, group: str) -> Account:
    import grp

    try:
        return Account(account.name, account.uid, account.gids | {grp.getgrnam(group).gr_gid})
    except KeyError:
        return account


def _cpu_flags(place: Workplace) -> set[str]:
    try:
        text = (place.root / "proc" / "cpuinfo").read_text()
    except OSError:
        return set()
    return {word for line in text.splitlines() if line.startswith("flags") for word in line.split()}


def _pool(settings: Mapping[str, Any], uri: Uri, place: Workplace, connection: libvirt.virConnect) -> Iterator[Finding]:
    name = settings.get("pool")
    if not name:
        return  # the driver makes its own
    pools = {pool.name(): pool for pool in connection.listAllStoragePools(0)}
    if name not in pools:
        yield Finding(
            summary=f"there is no storage pool {name!r}",
            fix=f"virsh -c {uri.text} pool-create-as {name} dir --target /var/lib/libvirt/{name} --build",
        )
        return
    if not pools[name].isActive():
        yield Finding(
            summary=f"the storage pool {name!r} is not active",
            fix=f"virsh -c {uri.text} pool-start {name}; virsh -c {uri.text} pool-autostart {name}",
        )
    folder = ET.fromstring(pools[name].XMLDesc(0)).findtext("target/path")
    if folder and uri.local and not uri.test:
        yield from kept_out(f"{folder}/disk", place)


def _network(
    settings: Mapping[str, Any], uri: Uri, place: Workplace, connection: libvirt.virConnect
) -> Iterator[Finding]:
    wanted = settings.get("network")
    if not isinstance(wanted, Mapping):
        return  # the driver makes one for each cluster
    if name := wanted.get("name"):
        networks = {network.name(): network for network in connection.listAllNetworks(0)}
        define = "/usr/share/libvirt/networks/default.xml" if name == "default" else "FILE.xml"
        if name not in networks:
            yield Finding(
                summary=f"there is no network {name!r}",
                fix=f"virsh -c {uri.text} net-define {define}; virsh -c {uri.text} net-start {name}",
            )
        elif not networks[name].isActive():
            yield Finding(
                summary=f"the network {name!r} is not active",
                fix=f"virsh -c {uri.text} net-start {name}; virsh -c {uri.text} net-autostart {name}",
            )
    if (bridge := wanted.get("bridge")) and uri.local and not uri.test:
        link = place.root / "sys" / "class" / "net" / str(bridge)
        if not link.exists():
            yield Finding(summary=f"there is no bridge {bridge!r} here", fix=f"ip link add {bridge} type bridge")
        elif not (link / "bridge").exists():
            yield Finding(summary=f"{bridge!r} is no bridge", fix="name a bridge that your network card is in")
