"""What keeps machines from being made through libvirt, each with the command that mends it. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from provision.driver import Finding
from provision.errors import DriverError
from provision_libvirt.connection import INSTALL, open_connection
from provision_libvirt.doctor_hypervisor import hypervisor_findings
from provision_libvirt.folders import may_use
from provision_libvirt.names import OWN_FOLDER
from provision_libvirt.uri import DEFAULT, Uri, parse
from provision_libvirt.workplace import Workplace, kept_out

_MODULES = {"libvirt": "libvirt's Python module is not installed", "pycdlib": "the module pycdlib is not installed"}


def findings(settings: Mapping[str, Any], place: Workplace | None = None) -> Sequence[Finding]:
    """What is missing for `drivers.libvirt` set like this: modules, daemon, permissions, KVM, folders, network.

    A remote hypervisor is asked through libvirt alone; what only its own files tell stays untold.
    """
    try:
        uri = parse(str(settings.get("uri") or DEFAULT))
    except DriverError as error:
        return (Finding(summary=error.summary, fix=error.hint),)
    return tuple(_findings(settings, uri, place or Workplace()))


def _findings(settings: Mapping[str, Any], uri: Uri, place: Workplace) -> Iterator[Finding]:
    missing = [text for name, text in _MODULES.items() if find_spec(name) is None]
    yield from (Finding(summary=text, fix=INSTALL) for text in missing)
    local = uri.local and not uri.test
    closed = tuple(_daemon(place)) if local else ()
    yield from closed
    if local:
        yield from _programs(settings, place)
        yield from _folders(settings, place)
    if missing or closed:
        return  # it cannot be asked
    try:
        connection = open_connection(uri.text)
    except DriverError as error:
        yield Finding(summary=error.summary, fix=error.hint)
        return
    try:
        yield from hypervisor_findings(settings, uri, place, connection)
    finally:
        connection.close()


def _daemon(place: Workplace) -> Iterator[Finding]:
    """libvirt's daemon, of the one kind or of the newer kind that is several, and its socket."""
    folder = place.root / "run" / "libvirt"
    sockets = {name: folder / f"{name}-sock" for name in ("libvirt", "virtqemud", "virtnetworkd", "virtstoraged")}
    wanted: tuple[str, ...] = ("libvirt",)
    if sockets["libvirt"].exists():
        pass
    elif place.has("virtqemud") and not place.has("libvirtd"):
        wanted = ("virtqemud", "virtnetworkd", "virtstoraged")
    elif not place.has("libvirtd"):
        yield Finding(
            summary="libvirt is not installed",
            fix=f"apt-get install libvirt-daemon-system {place.emulator} qemu-utils dnsmasq-base",
        )
        return
    for name in wanted:
        daemon = "libvirtd" if name == "libvirt" else name
        if not sockets[name].exists():
            yield Finding(summary=f"libvirt's daemon {daemon} does not run", fix=_start(daemon, place))
        elif not may_use(sockets[name], place.me):
            yield Finding(
                summary=f"no permission on {sockets[name]}",
                fix=f"adduser {place.me.name} libvirt, then log in again",
            )


def _start(daemon: str, place: Workplace) -> str:
    if not (place.root / "run" / "systemd" / "system").exists():
        return f"{daemon} --daemon (and virtlogd --daemon before it)"
    return f"systemctl enable --now {daemon if daemon == 'libvirtd' else f'{daemon}.socket'}"


def _programs(settings: Mapping[str, Any], place: Workplace) -> Iterator[Finding]:
    needed = {f"qemu-system-{place.arch}": place.emulator, "qemu-img": "qemu-utils"}
    if settings.get("network") is None:
        needed |= {"dnsmasq": "dnsmasq-base", "iptables": "iptables"}
    for program, package in needed.items():
        if not place.has(program) and not (program == "iptables" and place.has("nft")):
            yield Finding(summary=f"the program {program!r} is missing", fix=f"apt-get install {package}")


def _folders(settings: Mapping[str, Any], place: Workplace) -> Iterator[Finding]:
    """The driver's own pool; one that the settings name is asked for its folder."""
    if not settings.get("pool"):
        yield from kept_out(f"{OWN_FOLDER}/disk", place)
