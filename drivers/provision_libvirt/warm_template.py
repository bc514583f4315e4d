"""The template: a machine that is booted cold, saved with its memory, fetched into the image store, and removed.

It has no network card, so it needs no address and meets nobody; all that is done in it goes through its guest agent.
Its domain bears the mark of the cluster that it is made for, so what a crash leaves of it goes with that cluster.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from provision.cloudinit.seed import Identity, nocloud_iso, render
from provision.errors import DriverError, ProvisionError
from provision.images.recipes import Kind
from provision.images.records import ImageRecord, write_record
from provision.images.store import clear, own_store
from provision.local.locks import locked_made
from provision_libvirt import console
from provision_libvirt.copying import fetch_volume
from provision_libvirt.domain_xml import domain_xml
from provision_libvirt.guest_agent import GuestAgent
from provision_libvirt.locks import hypervisor, locked
from provision_libvirt.makers import this_process
from provision_libvirt.metadata import TEMPLATE, Mark
from provision_libvirt.names import console_volume, disk_volume, domain_uuid, seed_volume
from provision_libvirt.objects import find_domain, find_pool, find_volume
from provision_libvirt.removing import destroy
from provision_libvirt.storage import make_file, make_volume
from provision_libvirt.warm_scripts import READY, REST
from provision_libvirt.warm_state import FILE, SNAPSHOT, State, find_state, frozen

if TYPE_CHECKING:
    from pathlib import Path

    import libvirt

    from provision_libvirt.claim import Claim
    from provision_libvirt.domain_xml import DomainSettings

#: seconds until the guest's agent answers, for cloud-init and Docker to be ready, to come to rest, and for all of it
_AGENT_SECONDS = 600.0
_READY_SECONDS = 900.0
_REST_SECONDS = 300.0
_ALL_SECONDS = 2400.0
#: bytes that every seed is long: a disk keeps its size while a machine is restored
SEED_SIZE = 1024**2


def ensure_state(claim: Claim, key: str) -> State:
    """The state under this key, made if it was not yet: by whoever comes first, while all others wait.

    Takes as long as a cold boot. Raises DriverError, with the end of the template's console.
    """
    found = find_state(key)
    if found is not None:
        return found
    with locked("the template of warm machines", claim.conn.getURI(), key, seconds=_ALL_SECONDS):
        return find_state(key) or _make(claim, key)


def seed_of(identity: Identity) -> bytes:
    """A seed of the length that all have. Raises DriverError where it is longer."""
    content = nocloud_iso(render(identity, None))
    if len(content) > SEED_SIZE:
        raise DriverError(f"{identity.name}: its seed is longer than {SEED_SIZE} bytes", hint="fewer authorized keys")
    return content.ljust(SEED_SIZE, b"\0")


def _make(claim: Claim, key: str) -> State:
    store = own_store()
    half = store.half(key)
    try:
        with locked_made(half, seconds=_ALL_SECONDS, mode=0o700):
            clear(half)
            try:
                with _template(claim, key) as domain:
                    _save(domain, claim)
                    _fetch(claim, domain, half / FILE)
                write_record(half, _record(claim, key, half / FILE))
                half.rename(store.folder(key))
            except BaseException:
                clear(half)
                half.rmdir()
                raise
    except OSError as exc:
        raise DriverError(
            f"nothing can be kept in {store.root}: {exc.strerror}", hint="make room there, or set PROVISION_DATA_DIR"
        ) from exc
    return State(key, store.folder(key) / FILE)


@contextmanager
def _template(claim: Claim, key: str) -> Iterator[libvirt.virDomain]:
    """The template's domain, booting; gone afterwards, in any case. What a crash left of it is made anew."""
    conn, cluster = claim.conn, claim.request.spec.cluster
    settings = template_settings(claim, key)
    destroy(conn, cluster, settings.name)
    try:
        with hypervisor(conn.getURI()):
            if find_domain(conn, settings.name) is not None:
                raise DriverError(f"there is a domain {settings.name!r} already, which is not ours")
            domain = conn.defineXML(domain_xml(settings))
        _volumes(claim, settings)
        domain.create()
        yield domain
    finally:
        destroy(conn, cluster, settings.name)


def template_settings(claim: Claim, key: str) -> DomainSettings:
    """The claimed machine without what makes it that machine."""
    spec, place = claim.request.spec, claim.request.place
    name = f"{spec.cluster}-warm-{key[:8]}"
    first, seed = disk_volume(name), seed_volume(name)
    mark = Mark(
        cluster=spec.cluster,
        image=claim.request.image.name,
        boot=TEMPLATE,
        pool=place.pool,
        volumes=(first, seed),
        bases=claim.mark.bases,
        maker=this_process(),
    )
    settings = frozen(claim.settings)
    disk, cdrom = settings.disks
    return replace(
        settings,
        name=name,
        uuid=domain_uuid(spec.cluster, name),
        mark=mark,
        disks=(replace(disk, path=place.path(first)), replace(cdrom, path=place.path(seed))),
        console=place.path(console_volume(name)),
    )


def _volumes(claim: Claim, settings: DomainSettings) -> None:
    conn, request = claim.conn, claim.request
    first, seed = settings.mark.volumes
    make_volume(
        *(conn, request.place, first),
        size=request.size,
        form="qcow2",
        backing=request.disk.name,
        backing_form=request.image.format,
    )
    identity = Identity(
        name="provision-warm",
        instance_id=f"warm-{secrets.token_hex(8)}",
        user=claim.identity.user,
        port=claim.identity.port,
    )
    make_file(conn, request.place, seed, seed_of(identity))


def _save(domain: libvirt.virDomain, claim: Claim) -> None:
    """Wait until it is ready, have it come to rest, and save it; it is off afterwards."""
    agent = GuestAgent(domain)
    try:
        agent.wait(seconds=_AGENT_SECONDS)
        agent.run(READY, what="getting ready", seconds=_READY_SECONDS)
        agent.run(REST, what="coming to rest", seconds=_REST_SECONDS)
    except ProvisionError as problem:
        raise DriverError(
            f"no template of image {claim.request.image.name} could be made: {problem.summary}",
            detail="\n".join(part for part in (problem.detail, _console_tail(claim, domain)) if part),
            hint=problem.hint or "`boot: cold` needs none",
        ) from problem
    domain.suspend()  # what it did after it was saved would be in the disk
    domain.snapshotCreateXML(f"<domainsnapshot><name>{SNAPSHOT}</name></domainsnapshot>")
    domain.destroy()


def _console_tail(claim: Claim, domain: libvirt.virDomain) -> str:
    try:
        lines = console.read(claim.conn, domain).splitlines()[-15:]
    except ProvisionError:
        return ""
    return "\n".join(("its console's last lines:", *(f"    {line}" for line in lines))) if lines else ""


def _fetch(claim: Claim, domain: libvirt.virDomain, target: Path) -> None:
    pool = find_pool(claim.conn, claim.request.place.pool)
    volume = find_volume(pool, disk_volume(domain.name())) if pool is not None else None
    if volume is None:
        raise DriverError(f"the disk of {domain.name()} was removed while it was saved", hint="run the command again")
    fetch_volume(claim.conn, claim.request.place, volume, target)


def _record(claim: Claim, key: str, disk: Path) -> ImageRecord:
    image = claim.request.image
    return ImageRecord(
        name=image.name,
        kind=Kind.WARM,
        digest=key,
        source=image.digest,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        size=disk.stat().st_blocks * 512,
        docker=image.docker,
        format="qcow2",
        virtual_size=claim.request.size,
        file=FILE,
    )
