"""Making a machine: first it is claimed, then made.

To claim is to define its domain, whose mark names all that will be made for it, and to see to what machines share.
That is done under the hypervisor's lock; uploads and starts are not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from provision.cloudinit.seed import nocloud_iso, render
from provision.driver import HostKeyPair, MachineSpec
from provision.errors import DriverError
from provision.images.places import data_folder
from provision.images.store import require_disk
from provision_libvirt.accel import decide
from provision_libvirt.capabilities import Capabilities, read_capabilities
from provision_libvirt.claim import (
    DEFAULT_IMAGE,
    Claim,
    DirectBoot,
    Request,
    claim_of,
    direct_boot,
    kernel_of,
    on,
)
from provision_libvirt.connection import translated
from provision_libvirt.domain_xml import Platform, domain_xml
from provision_libvirt.locks import hypervisor
from provision_libvirt.makers import this_process
from provision_libvirt.metadata import Mark, Owned, owned, read, write
from provision_libvirt.names import console_volume
from provision_libvirt.networks import (
    SubnetTakenError,
    add_entries,
    ensure_networks,
    ensure_own_network,
    remove_entries,
    segments_of,
)
from provision_libvirt.objects import find_domain
from provision_libvirt.options import LibvirtOptions
from provision_libvirt.removing import clear, release
from provision_libvirt.storage import (
    ensure_base,
    ensure_pool,
    foreign_volumes,
    make_file,
    make_volume,
    place_of,
)
from provision_libvirt.uri import parse

if TYPE_CHECKING:
    import libvirt


def create(conn: libvirt.virConnect, spec: MachineSpec) -> None:
    """Make the machine and start it; returns before it answers. One that is there is left as it is; one that is
    half-made is made again from nothing, at the same address. Raises DriverError.
    """
    try:
        options = LibvirtOptions.model_validate(dict(spec.options))
    except ValueError as exc:  # pydantic's is one
        raise DriverError(f"{spec.name}: the options of driver libvirt are not valid", detail=str(exc)) from exc
    image = require_disk(spec.image or DEFAULT_IMAGE)
    with translated(f"{spec.name} cannot be made"):
        request = Request(
            spec=spec,
            options=options,
            image=image,
            place=place_of(conn, options.pool),
            boot=direct_boot(options, image),
            host_key=spec.host_key or _new_host_key(),
        )
        try:
            claim = _claimed(conn, request)
            if claim is not None:
                _make(claim)
        except BaseException:
            _leave(conn, spec)
            raise


# --- to claim: name, addresses, what is shared ---


def _claimed(conn: libvirt.virConnect, request: Request) -> Claim | None:
    """Define the domain, and make sure of pool and network. None where the machine is there and made."""
    spec = request.spec
    with hypervisor(conn.getURI()):
        domain = find_domain(conn, spec.name)
        before = read(domain) if domain is not None else None
        if domain is not None and (before is None or before.cluster != spec.cluster):
            raise DriverError(
                f"there is a domain {spec.name!r} already, which is not of cluster {spec.cluster!r}",
                hint="give the cluster or the group another name, or remove that domain",
            )
        if before is not None and before.made:
            return None
        if domain is not None and before is not None:
            clear(conn, domain, before)
            remove_entries(conn, spec.name, before.nics)
        else:
            _require_free(conn, request)
        others = [each for each in owned(conn) if each.name != spec.name]
        claim = _define(conn, request, others, before)
        if before is not None:
            release(conn, before, [claim.mark, *(other.mark for other in others)])
        return claim


def _define(conn: libvirt.virConnect, request: Request, others: Sequence[Owned], before: Mark | None) -> Claim:
    """Try subnets until the hypervisor takes one: a remote one's routes are seen only then."""
    spec, options = request.spec, request.options
    local = parse(conn.getURI()).local
    capabilities = read_capabilities(conn.getCapabilities())
    avoid: list[IPv4Network] = []
    while True:
        segments = segments_of(conn, spec.cluster, options, others, local=local, avoid=avoid)
        claim = claim_of(
            request,
            segments,
            _platform(capabilities, options),
            conn=conn,
            trial=_trial(capabilities, request),
            maker=this_process(),
            before=before,
        )
        conn.defineXML(domain_xml(claim.settings))
        ensure_pool(conn, request.place)
        try:
            _ensure_network(claim)
        except SubnetTakenError as taken:
            if options.subnet is not None:
                raise
            avoid.append(taken.subnet)
            continue
        add_entries(conn, spec.name, claim.mark.nics)
        return claim


def _ensure_network(claim: Claim) -> None:
    conn, mark = claim.conn, claim.mark
    if claim.request.options.network is None:
        ensure_own_network(conn, mark.cluster, IPv4Interface(mark.nics[0].address).network)
    ensure_networks(conn, mark)


def _require_free(conn: libvirt.virConnect, request: Request) -> None:
    """In a pool of others no file is taken for ours that is not."""
    names = (*request.volumes, console_volume(request.spec.name))
    taken = foreign_volumes(conn, request.place, names)
    if taken:
        raise DriverError(
            f"storage pool {request.place.pool!r} has {', '.join(taken)} already, which no machine of ours has made",
            hint=f"remove it: virsh vol-delete {taken[0]} {request.place.pool}",
        )


def _platform(capabilities: Capabilities, options: LibvirtOptions) -> Platform:
    """With `accel: auto` it is settled once a kernel is there to try."""
    if "test" in capabilities.types:
        return Platform(kind="test", arch=capabilities.arch)
    kind = "kvm" if options.accel == "kvm" else "qemu"
    return Platform(kind=kind, arch=capabilities.arch)


def _trial(capabilities: Capabilities, request: Request) -> DirectBoot | None:
    """The kernel to try KVM with: the machine's own, else its image's."""
    if request.options.accel != "auto" or not capabilities.kvm:
        return None
    return request.boot or kernel_of(request.image)


# --- to make ---


def _make(claim: Claim) -> None:
    conn, request = claim.conn, claim.request
    for base in claim.bases:
        ensure_base(conn, request.place, base)
    claim = _accelerated(claim)
    if request.options.boot == "warm":
        from provision_libvirt.warm import clone

        clone(claim)
    else:
        _boot(claim)
    domain = find_domain(conn, request.spec.name)
    if domain is None:
        raise DriverError(f"{request.spec.name} was removed while it was made")
    if request.options.autostart:
        domain.setAutostart(1)
    write(domain, replace(claim.mark, made=True, maker=""))


def _accelerated(claim: Claim) -> Claim:
    """The same, on KVM where that works; its definition follows."""
    conn, request, platform = claim.conn, claim.request, claim.settings.platform
    if platform.kind == "test" or request.options.accel != "auto":
        return claim
    trial = _trial(read_capabilities(conn.getCapabilities()), request)
    place = request.place
    kind = decide(
        conn,
        wanted="auto",
        folder=data_folder(os.environ) / "libvirt",
        kernel=Path(place.path(trial.kernel.name)) if trial else None,
        initrd=Path(place.path(trial.initrd.name)) if trial and trial.initrd else None,
    )
    if kind == platform.kind:
        return claim
    settled = on(claim, replace(platform, kind=kind))
    conn.defineXML(domain_xml(settled.settings))
    return settled


def _boot(claim: Claim) -> None:
    """Disks, the seed, and power."""
    conn, request = claim.conn, claim.request
    seed = nocloud_iso(render(claim.identity, request.spec.user_data))
    first, *extras, last = request.volumes
    backing = request.disk.name
    make_volume(
        *(conn, request.place, first),
        size=request.size,
        form="qcow2",
        backing=backing,
        backing_form=request.image.format,
    )
    for name, disk in zip(extras, request.options.disks, strict=True):
        make_volume(conn, request.place, name, size=disk.size, form=disk.format)
    make_file(conn, request.place, last, seed)
    domain = find_domain(conn, request.spec.name)
    if domain is None:
        raise DriverError(f"{request.spec.name} was removed while it was made")
    domain.create()


def _leave(conn: libvirt.virConnect, spec: MachineSpec) -> None:
    """Nobody works on it any more: what there is of it is half-made, and says so."""
    import libvirt

    with contextlib.suppress(libvirt.libvirtError):  # what failed before is what is told
        domain = find_domain(conn, spec.name)
        mark = read(domain) if domain is not None else None
        if mark is not None and (mark.cluster, mark.maker) == (spec.cluster, this_process()):
            write(domain, replace(mark, maker=""))


def _new_host_key() -> HostKeyPair:
    # Imported here: callers normally bring the key.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return HostKeyPair(private=private.decode(), public=public.decode())
