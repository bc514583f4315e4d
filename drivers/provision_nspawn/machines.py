"""What is done to machines, as root: create, destroy, start, stop, kill. Each holds the machine's lock throughout."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace

from provision.driver import HostKeyPair
from provision.errors import DriverError, ProvisionError
from provision.images.recipes import recipe
from provision.local.commands import Commands
from provision_nspawn.boot import Subject, end, shut_down, start
from provision_nspawn.cgroups import hierarchies
from provision_nspawn.guest import Overlay, write_identity, write_ssh
from provision_nspawn.image import build_image
from provision_nspawn.kernel import raise_limits
from provision_nspawn.layout import Layout, MachinePaths
from provision_nspawn.names import resolv_conf
from provision_nspawn.network import has_default_route, make_namespace, remove_namespace
from provision_nspawn.processes import is_alive
from provision_nspawn.records import MachineRecord, read_machine, read_process, write_record
from provision_nspawn.registry import claim, connect, forget, hold, sweep_if_needed
from provision_nspawn.requests import CreateRequest


def create(layout: Layout, request: CreateRequest) -> MachineRecord:
    """Make and boot the machine, or return the one that exists; one that is half-made is made again from nothing."""
    made_of = recipe(request.image, docker=request.docker, mirror=request.mirror)
    tree = build_image(made_of, layout)
    with claim(layout, request, made_of.digest) as (held, found):
        if found.made:
            return found
        commands = Commands((held,))
        subject = Subject.of(layout, request.cluster, request.name)
        _clear(subject, commands)
        key = request.host_key or _new_host_key()
        record = replace(
            found,
            leaving=False,
            digest=made_of.digest,
            image=request.image,
            user=request.user,
            port=request.port,
            host_keys=(key.public.strip(),),
            memory=request.memory,
            cpus=request.cpus,
            binds=request.binds,
            notes=(*raise_limits(commands), *_unenforced(request, subject)),
        )
        make_disk(subject.paths)
        guest = Overlay(tree, subject.paths.upper)
        servers = resolv_conf(way_out=has_default_route(commands))
        write_identity(guest, name=record.name, resolv_conf=servers)
        keys = request.authorized_keys
        write_ssh(guest, user=record.user, port=record.port, host_key=key, authorized_keys=keys)
        _boot(subject, record, layout, commands)
        made = replace(record, made=True)
        write_record(subject.paths.record, made)
        return made


def destroy(layout: Layout, cluster: str, name: str) -> None:
    """Remove the machine and all that was made for it, however much of that is there. Gone already is fine."""
    try:
        with hold(layout, cluster, name) as held:
            commands = Commands((held,))
            subject = Subject.of(layout, cluster, name)
            _mark_unmade(subject.paths)
            _clear(subject, commands)
            forget(layout, cluster, name)
    except FileNotFoundError:
        sweep_if_needed(layout)


def start_machine(layout: Layout, cluster: str, name: str) -> MachineRecord:
    """Boot a machine that is down; its network is made anew, it may have gone with a reboot of this host."""
    with _existing(layout, cluster, name) as (held, record):
        subject = Subject.of(layout, cluster, name)
        if not is_alive(read_process(subject.paths)):
            commands = Commands((held,))
            raise_limits(commands)
            end(subject, commands)
            _boot(subject, record, layout, commands)
        return record


def stop_machine(layout: Layout, cluster: str, name: str) -> None:
    """Ask it to shut down in order, then end it."""
    with _existing(layout, cluster, name) as (held, _):
        subject = Subject.of(layout, cluster, name)
        shut_down(subject)
        end(subject, Commands((held,)))


def kill_machine(layout: Layout, cluster: str, name: str) -> None:
    """End it at once."""
    with _existing(layout, cluster, name) as (held, _):
        end(Subject.of(layout, cluster, name), Commands((held,)))


@contextlib.contextmanager
def _existing(layout: Layout, cluster: str, name: str) -> Iterator[tuple[int, MachineRecord]]:
    hint = "see `provision ls`"
    try:
        with hold(layout, cluster, name) as held:
            record = read_machine(layout.machine(cluster, name))
            if record is None or not record.made:
                raise DriverError(f"{name} is only half made", hint="run `provision up` again, or remove it")
            yield held, record
    except FileNotFoundError as exc:
        raise DriverError(f"there is no machine {name!r} in cluster {cluster!r}", hint=hint) from exc


def _clear(subject: Subject, commands: Commands) -> None:
    """Everything of the machine but its record."""
    end(subject, commands)
    remove_namespace(subject.names, commands)
    if subject.paths.disk.exists():
        shutil.rmtree(subject.paths.disk)
    for path in (subject.paths.console, subject.paths.launch):
        path.unlink(missing_ok=True)


def _boot(subject: Subject, record: MachineRecord, layout: Layout, commands: Commands) -> None:
    cluster = connect(layout, record.cluster)
    make_namespace(subject.names, cluster, record, commands)
    start(subject, record, layout, commands)


def make_disk(paths: MachinePaths) -> None:
    """The folders of the overlay and of the engine's data. Guests' files keep their owners: only root may walk in."""
    paths.disk.mkdir(mode=0o700)
    for name in ("upper", "work", "root", "docker", "containerd"):
        (paths.disk / name).mkdir(mode=0o755)


def _mark_unmade(paths: MachinePaths) -> None:
    """From here on a crash leaves what `discover` calls half-made. A damaged record needs no mark."""
    with contextlib.suppress(ProvisionError):
        record = read_machine(paths)
        if record is not None and record.made:
            write_record(paths.record, replace(record, made=False, leaving=True))


def _unenforced(request: CreateRequest, subject: Subject) -> tuple[str, ...]:
    if subject.systemd:
        return ()
    where = hierarchies()
    asked = {"memory": request.memory, "cpu": request.cpus}
    return tuple(
        f"{name} is not limited: this kernel offers no {name} control group"
        for name, value in asked.items()
        if value is not None and not where.can_limit(name)
    )


def _new_host_key() -> HostKeyPair:
    # Imported here: callers normally bring the key, and this import costs more than all else.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return HostKeyPair(private=private.decode(), public=public.decode())
