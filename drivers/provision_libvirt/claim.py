"""All that is decided of a machine before anything of it is made. Pure: it asks nobody."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.cloudinit.seed import Identity, Nic
from provision.driver import HostKeyPair, MachineSpec
from provision.errors import DriverError
from provision_libvirt.addresses import Segment, choose_address, is_served
from provision_libvirt.domain_xml import DiskSettings, DomainSettings, Platform
from provision_libvirt.metadata import Mark, NicMark
from provision_libvirt.names import (
    base_volume,
    console_volume,
    disk_volume,
    dns_domain,
    domain_uuid,
    extra_volume,
    mac_address,
    seed_volume,
)
from provision_libvirt.storage import Base, Place

if TYPE_CHECKING:
    from provision.images.store import DiskImage
    from provision_libvirt.options import LibvirtOptions

_GIB = 1024**3
DEFAULT_IMAGE = "debian-12"
DEFAULT_CPUS = 1.0
DEFAULT_MEMORY = _GIB
DEFAULT_DISK = 10 * _GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A machine that is asked for, and what it is made of; `boot` is None where firmware boots its disk."""

    spec: MachineSpec
    options: LibvirtOptions
    image: DiskImage
    place: Place
    boot: DirectBoot | None
    host_key: HostKeyPair = field(repr=False)
    instance_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def disk(self) -> Base:
        """What the machine's disk is a layer over."""
        return Base(base_volume(self.image.digest, self.image.format), self.image.path)

    @property
    def size(self) -> int:
        """Bytes of the machine's disk. Raises DriverError where its image does not fit on it."""
        least = self.image.virtual_size
        if self.spec.disk is not None and self.spec.disk < least:
            raise DriverError(
                f"{self.spec.name}: a disk of {self.spec.disk / _GIB:.1f} GiB is too small for image "
                f"{self.image.name}, which takes {least / _GIB:.1f} GiB",
                hint=f"disk: {-(-least // _GIB)}GiB, or more",
            )
        return self.spec.disk or max(DEFAULT_DISK, least)

    @property
    def volumes(self) -> tuple[str, ...]:
        """The names of the volumes that are the machine's alone."""
        name = self.spec.name
        extras = (extra_volume(name, number, disk.format) for number, disk in enumerate(self.options.disks, start=1))
        return (disk_volume(name), *extras, seed_volume(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectBoot:
    """A kernel that QEMU starts itself, files of this machine, and their names at the hypervisor."""

    kernel: Base
    initrd: Base | None
    cmdline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A machine as it is defined at the hypervisor, its name and addresses taken: what is left is to make it.

    `bases` are to be in the pool before it starts; those that `settings` does not name serve to try KVM with.
    """

    conn: Any = field(repr=False)
    request: Request
    settings: DomainSettings
    identity: Identity = field(repr=False)
    bases: tuple[Base, ...]

    @property
    def mark(self) -> Mark:
        """What the domain's metadata say."""
        return self.settings.mark


def direct_boot(options: LibvirtOptions, image: DiskImage) -> DirectBoot | None:
    """The kernel to start a machine with; None where its firmware boots the disk.

    Raises DriverError where a direct boot is asked for and the image has no kernel beside it.
    """
    if options.kernel is not None:
        kernel = _file(options.kernel, "vmlinuz")
        initrd = _file(options.initrd, "initrd") if options.initrd else None
        return DirectBoot(kernel=kernel, initrd=initrd, cmdline=options.cmdline or image.cmdline or "")
    wanted = options.ephemeral if options.direct_boot is None else options.direct_boot
    if not wanted:
        return None
    found = kernel_of(image, options.cmdline)
    if found is None and options.direct_boot:
        raise DriverError(
            f"image {image.name} has no kernel beside it to boot directly",
            hint="name one with `kernel:`, leave out `direct_boot`, or build the image here: provision image build",
        )
    return found


def kernel_of(image: DiskImage, cmdline: str | None = None) -> DirectBoot | None:
    """The image's own kernel; None where there is none beside it."""
    line = cmdline or image.cmdline
    if image.kernel is None or not line:
        return None
    initrd = Base(base_volume(image.digest, "initrd"), image.initrd) if image.initrd else None
    return DirectBoot(kernel=Base(base_volume(image.digest, "vmlinuz"), image.kernel), initrd=initrd, cmdline=line)


def claim_of(
    request: Request,
    segments: Sequence[Segment],
    platform: Platform,
    *,
    conn: Any,
    trial: DirectBoot | None,
    maker: str,
    before: Mark | None,
) -> Claim:
    """Choose addresses, and put together what the machine is. `before`: what a crash left of it; it keeps its address.

    `trial` is a kernel to find out with whether KVM works, where that is not known yet.
    """
    spec, options, place = request.spec, request.options, request.place
    marks = _nics(request, segments, before)
    kernels = [boot for boot in (request.boot, trial) if boot is not None]
    files = [base for boot in kernels for base in (boot.kernel, boot.initrd) if base is not None]
    bases = tuple(dict.fromkeys((request.disk, *files)))
    mark = Mark(
        cluster=spec.cluster,
        group=spec.group,
        number=spec.number,
        role=str(spec.role),
        user=spec.user,
        port=spec.port,
        host_key=" ".join(request.host_key.public.split()[:2]),
        image=request.image.name,
        boot=options.boot,
        first_boot="cloud-init" if options.boot == "cold" else "",
        pool=place.pool,
        volumes=request.volumes,
        bases=tuple(base.name for base in bases),
        nics=marks,
        maker=maker,
    )
    boot = request.boot
    settings = DomainSettings(
        name=spec.name,
        uuid=domain_uuid(spec.cluster, spec.name),
        mark=mark,
        platform=platform,
        cpus=spec.cpus or DEFAULT_CPUS,
        memory=spec.memory or DEFAULT_MEMORY,
        disks=_disks(request),
        nics=marks,
        console=place.path(console_volume(spec.name)),
        title=f"{spec.cluster}: {spec.role} {spec.name}",
        description=f"made by provision, and removed by: provision rm {spec.name} -c {spec.cluster}",
        ephemeral=options.ephemeral,
        firmware=options.firmware,
        kernel=place.path(boot.kernel.name) if boot else "",
        initrd=place.path(boot.initrd.name) if boot and boot.initrd else "",
        cmdline=boot.cmdline if boot else "",
        hugepages=options.hugepages,
    )
    identity = Identity(
        name=spec.name,
        instance_id=f"{spec.name}-{request.instance_id}",
        user=spec.user,
        port=spec.port,
        authorized_keys=spec.authorized_keys,
        host_key=request.host_key,
        nics=tuple(
            _card(mark, segment, index) for index, (mark, segment) in enumerate(zip(marks, segments, strict=True))
        ),
        domain=dns_domain(spec.cluster) if options.network is None else None,
    )
    return Claim(conn=conn, request=request, settings=settings, identity=identity, bases=bases)


def on(claim: Claim, platform: Platform) -> Claim:
    """The same on another kind of machine."""
    return replace(claim, settings=replace(claim.settings, platform=platform))


def _nics(request: Request, segments: Sequence[Segment], before: Mark | None) -> tuple[NicMark, ...]:
    """A card in each; two in one network differ."""
    marks: list[NicMark] = []
    for index, segment in enumerate(segments):
        same = (nic for nic in marks if (nic.network, nic.bridge) == (segment.network, segment.bridge) and nic.address)
        own = frozenset(IPv4Interface(nic.address).ip for nic in same)
        marks.append(_nic(request, index, replace(segment, taken=segment.taken | own), before))
    return tuple(marks)


def _nic(request: Request, index: int, segment: Segment, before: Mark | None) -> NicMark:
    where = (segment.network, segment.bridge)
    if segment.range is None:
        mac = mac_address(*where, request.spec.cluster, request.spec.name, str(index))
        return NicMark(mac=mac, network=segment.network, bridge=segment.bridge)
    kept = before.nics[index] if before is not None and index < len(before.nics) else None
    keep = IPv4Interface(kept.address).ip if kept and kept.address and (kept.network, kept.bridge) == where else None
    address = choose_address(segment, keep)
    return NicMark(
        mac=mac_address(*where, str(address)),
        network=segment.network,
        bridge=segment.bridge,
        address=f"{address}/{segment.range.prefix}",
        reserved=segment.network != "" and is_served(segment, address),
    )


def _card(mark: NicMark, segment: Segment, index: int) -> Nic:
    """As the guest sees it; only the first leads out."""
    first = index == 0
    return Nic(
        mac=mark.mac,
        addresses=(mark.address,) if mark.address else (),
        gateway=str(segment.gateway) if first and segment.gateway else None,
        nameservers=segment.nameservers if first else (),
        optional=not first,
    )


def _disks(request: Request) -> tuple[DiskSettings, ...]:
    """The first disk, the further ones, and last the seed: so that the second disk is the guest's /dev/vdb."""
    place = request.place
    first, *extras, seed = request.volumes
    return (
        DiskSettings(
            path=place.path(first),
            form="qcow2",
            backing=place.path(request.disk.name),
            backing_form=request.image.format,
        ),
        *(
            DiskSettings(path=place.path(name), form=disk.format, serial=f"disk{number}")
            for number, (name, disk) in enumerate(zip(extras, request.options.disks, strict=True), start=1)
        ),
        DiskSettings(path=place.path(seed), form="raw", read_only=True, serial="seed"),
    )


def _file(path: str, kind: str) -> Base:
    """A file of the user's, named after its content."""
    import hashlib

    file = Path(path)
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise DriverError(f"{path} cannot be read: {exc.strerror}", hint="look at `kernel:` and `initrd:`") from exc
    return Base(base_volume(digest, kind), file)
