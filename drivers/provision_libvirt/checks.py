"""What would keep machines from being made as they are asked for, and how they will be made. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from provision.cloudinit.seed import check_user_data
from provision.driver import Finding, HostKeyPair, MachineSpec
from provision.errors import ProvisionError
from provision_libvirt.claim import DEFAULT_IMAGE, DEFAULT_MEMORY, Request, direct_boot
from provision_libvirt.metadata import Owned, owned, read
from provision_libvirt.networks import segments_of
from provision_libvirt.objects import find_domain
from provision_libvirt.options import LibvirtOptions
from provision_libvirt.storage import place_of
from provision_libvirt.uri import parse

if TYPE_CHECKING:
    import libvirt

    from provision.images.store import DiskImage

#: below this a Debian with Docker Engine does not get through its boot
_LEAST_MEMORY = 256 * 1024**2


def spec_findings(conn: libvirt.virConnect, uri: str, specs: Sequence[MachineSpec]) -> tuple[Finding, ...]:
    """Each thing once. Raises libvirt's error."""
    ours = owned(conn)
    found = [finding for spec in specs for finding in _name(conn, spec)]
    for spec in _kinds(specs):
        found += _kind(conn, uri, spec, [each for each in ours if each.name != spec.name])
    return (*dict.fromkeys(found), *_memory(conn, specs), *_boots(specs))


def _kinds(specs: Sequence[MachineSpec]) -> Sequence[MachineSpec]:
    """One of those that differ in nothing but their name: in a group, all are alike."""
    return tuple({(spec.group, spec.image, spec.disk, spec.memory, spec.user_data): spec for spec in specs}.values())


def _name(conn: libvirt.virConnect, spec: MachineSpec) -> Iterator[Finding]:
    domain = find_domain(conn, spec.name)
    if domain is not None and ((mark := read(domain)) is None or mark.cluster != spec.cluster):
        yield Finding(
            summary=f"there is a domain {spec.name!r} already, which is not of cluster {spec.cluster!r}",
            fix="give the cluster or the group another name, or remove that domain",
        )


def _kind(conn: libvirt.virConnect, uri: str, spec: MachineSpec, others: Sequence[Owned]) -> Iterator[Finding]:
    try:
        options = LibvirtOptions.model_validate(dict(spec.options))
    except ValueError as error:
        yield Finding(summary=f"{spec.name}: the options of driver libvirt are not valid: {error}")
        return
    if options.uri != uri:
        yield Finding(
            summary=f"group {spec.group!r} has another `uri` than the cluster, which has one hypervisor",
            fix="set `uri` under `drivers.libvirt` only",
        )
        return
    if spec.memory is not None and spec.memory < _LEAST_MEMORY:
        yield Finding(summary=f"{spec.memory // 1024**2} MiB of memory are too few to boot", fix="memory: 512MiB")
    try:
        segments_of(conn, spec.cluster, options, others, local=parse(uri).local)
        _prepare(conn, spec, options)
    except ProvisionError as error:
        summary = f"{error.summary}: {error.detail}" if error.detail else error.summary
        yield Finding(summary=summary, fix=error.hint)
    if spec.user_data is not None and (wrong := check_user_data(spec)) is not None:
        yield wrong


def _prepare(conn: libvirt.virConnect, spec: MachineSpec, options: LibvirtOptions) -> None:
    """Raises DriverError for whatever of a machine can be found wrong before it is made."""
    from provision.images.store import require_disk
    from provision_libvirt.warm_state import require_possible

    image: DiskImage = require_disk(spec.image or DEFAULT_IMAGE)
    request = Request(
        spec=spec,
        options=options,
        image=image,
        place=place_of(conn, options.pool),
        boot=direct_boot(options, image),
        host_key=spec.host_key or HostKeyPair(private="", public=""),
    )
    assert request.size
    if options.boot == "warm":
        require_possible(request)


def _memory(conn: libvirt.virConnect, specs: Sequence[MachineSpec]) -> Iterator[Finding]:
    wanted = sum(spec.memory or DEFAULT_MEMORY for spec in specs)
    there = int(conn.getInfo()[1]) * 1024**2
    if wanted > there:
        yield Finding(
            summary=f"{len(specs)} machines want {wanted / 1024**3:.1f} GiB of memory, and the hypervisor has "
            f"{there / 1024**3:.1f}",
            fix="lower `memory:`",
            fatal=False,
        )


def _boots(specs: Sequence[MachineSpec]) -> Iterator[Finding]:
    """How each is made stands in the plan."""
    ways: dict[tuple[str, str], list[str]] = {}
    for spec in specs:
        way = (str(dict(spec.options).get("boot") or "cold"), spec.image or DEFAULT_IMAGE)
        ways.setdefault(way, []).append(spec.name)
    for (boot, image), names in ways.items():
        one = len(names) == 1
        who = names[0] if one else f"{len(names)} machines"
        cold = f"{'boots' if one else 'boot'} cold from image {image}"
        warm = f"{'is' if one else 'are'} cloned from a booted machine of image {image}"
        yield Finding(summary=f"{who} {cold if boot == 'cold' else warm}", fatal=False)
