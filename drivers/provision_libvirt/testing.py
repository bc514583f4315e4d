"""For tests and measurements with real virtual machines: a libvirtd of one's own, and a look at what is left behind.

    with own_namespaces(), own_libvirtd(folder) as libvirtd:
        ...  # this process and its children find it at qemu:///system, as they would a system's
        assert not libvirtd.leftovers()

It is apart from the system's: it has its own sockets, configuration, disks, bridges and dnsmasq, and sees no D-Bus.
`own_namespaces` is the nspawn driver's (provision_nspawn.testing); any namespaces for mounts and network will do.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import DeadlineError, DriverError, ProvisionError
from provision.local.commands import SEARCH_PATH
from provision_libvirt.connection import open_connection

if TYPE_CHECKING:
    import libvirt

URI = "qemu:///system"

#: seconds until a daemon answers (it asks QEMU for all that it can first), and until one has ended
_UP, _DOWN = 60.0, 20.0
_PLACES = {"lib": Path("/var/lib/libvirt"), "log": Path("/var/log/libvirt"), "cache": Path("/var/cache/libvirt")}
_ETC = Path("/etc/libvirt")
_RUN = Path("/run")
#: Machines run as root, since there is nobody to keep out, and without control groups or mounts of their own.
_CONFIGURATION = {
    "libvirtd.conf": 'auth_unix_ro = "none"\nauth_unix_rw = "none"\nlog_outputs = "3:stderr"\n',
    "virtlogd.conf": 'log_outputs = "3:stderr"\n',
    "qemu.conf": """\
security_driver = "none"
user = "root"
group = "root"
namespaces = []
cgroup_controllers = []
""",
}
_GUESTS = ("qemu-system", "dnsmasq")


@dataclass(frozen=True, slots=True)
class OwnLibvirtd:
    """A libvirtd that runs. `folder` holds its disks and logs; `before` is what there was when it had just begun."""

    folder: Path
    before: frozenset[str]

    @property
    def log(self) -> Path:
        """What the daemon said; machines' own logs of QEMU are in `log/qemu/` of the folder."""
        return self.folder / "libvirtd.log"

    def leftovers(self) -> Sequence[str]:
        """What it has now and had not at first: domains, networks, pools, volumes, files, links, processes."""
        return sorted(_inventory() - self.before)


@contextmanager
def own_libvirtd(folder: Path) -> Iterator[OwnLibvirtd]:
    """Start libvirtd and virtlogd in the caller's namespaces; yields when it answers, and ends all that came of it.

    Root only, inside mount and network namespaces of one's own, on the thread that is in them. `folder` is new or
    empty, with room for the machines' disks, and the caller's to remove afterwards. Raises DriverError with the
    daemon's last words.
    """
    with contextlib.suppress(PermissionError):  # in some containers, root may not ask that of init
        if _mounts_of("thread-self") == _mounts_of("1"):
            raise DriverError("a libvirtd of one's own needs a mount namespace of one's own")
    with contextlib.ExitStack() as ends:
        _lay_out(folder, ends)
        ends.callback(_kill_guests)
        virtlogd = ends.enter_context(_daemon("virtlogd", folder))
        libvirtd = ends.enter_context(_daemon("libvirtd", folder))
        links = _links()
        _wait(folder, (virtlogd, libvirtd))
        ends.callback(_remove_links, links)
        ends.callback(_destroy_all)
        yield OwnLibvirtd(folder, frozenset(_inventory()))


def _lay_out(folder: Path, ends: contextlib.ExitStack) -> None:
    """Mount the daemons' places over the system's. /run is empty: no D-Bus, so machines register at no machined."""
    etc = folder / "etc"
    etc.mkdir(parents=True)
    for name, text in _CONFIGURATION.items():
        (etc / name).write_text(text)
    for name, place in {**_PLACES, "etc": _ETC}.items():
        (folder / name).mkdir(exist_ok=True)
        if not place.exists():
            place.mkdir(parents=True)
            ends.callback(place.rmdir)
        _mount(ends, "--bind", folder / name, place)
    _mount(ends, "-t", "tmpfs", "-o", "mode=0755", "none", _RUN)
    (_RUN / "lock").mkdir()


def _mount(ends: contextlib.ExitStack, *words: str | Path) -> None:
    subprocess.run(("mount", *words), check=True, capture_output=True)
    # what still has a file open there must not keep the others mounted
    ends.callback(subprocess.run, ("umount", "--lazy", words[-1]), check=True)


@contextmanager
def _daemon(name: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which(name, path=SEARCH_PATH)
    if program is None:
        raise DriverError(f"{name!r} is not installed", hint="apt-get install libvirt-daemon-system")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("LISTEN_", "NOTIFY_", "DBUS_"))}
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            (program,),
            env={**environ, "PATH": SEARCH_PATH, "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_DOWN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(folder: Path, daemons: Iterable[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _UP
    while True:
        for process in daemons:
            if process.poll() is not None:
                name = Path(str(process.args[0])).name  # type: ignore[index] # a tuple, see _daemon
                words = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines()[-8:]
                raise DriverError(f"{name} ended with status {process.returncode}", detail="\n".join(words))
        try:
            connection = open_connection(URI)
            connection.getCapabilities()  # the first time, every QEMU here is asked what it can: seconds
            connection.close()
        except ProvisionError as not_yet:
            if time.monotonic() > deadline:
                raise DeadlineError("the start of libvirtd", _UP, not_yet.summary) from not_yet
            time.sleep(0.05)
        else:
            return


def _inventory() -> set[str]:
    connection = open_connection(URI)
    try:
        found = {f"domain {domain.name()}" for domain in connection.listAllDomains(0)}
        found |= {f"network {network.name()}" for network in connection.listAllNetworks(0)}
        for pool in connection.listAllStoragePools(0):
            found.add(f"pool {pool.name()}")
            found |= {f"volume {pool.name()}/{volume}" for volume in _volumes(pool)}
    finally:
        connection.close()
    found |= {f"file {path}" for path in _files(_PLACES["lib"], _RUN / "libvirt", _ETC)}
    found |= {f"link {name}" for name in _links()}
    return found | {f"process {pid} {program}" for pid, program in _guests().items()}


def _volumes(pool: libvirt.virStoragePool) -> list[str]:
    if not pool.isActive():
        return []
    pool.refresh(0)
    return [volume.name() for volume in pool.listAllVolumes(0)]


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_symlink() or (not path.is_dir() and not _stale(path)))


def _stale(path: Path) -> bool:
    """A process id that dnsmasq, no longer root, could not remove when its network ended; nor does libvirt 9."""
    return path.parent == _RUN / "libvirt" / "network" and path.suffix == ".pid"


def _links() -> set[str]:
    done = subprocess.run(("ip", "-json", "link", "show"), capture_output=True, check=True)
    return {link["ifname"] for link in json.loads(done.stdout)}


def _remove_links(known: set[str]) -> None:
    for name in _links() - known:
        subprocess.run(("ip", "link", "delete", name), capture_output=True, check=False)


def _guests() -> dict[int, str]:
    """The programs that libvirtd has started in this mount namespace, by process id."""
    ours = _mounts_of("thread-self")
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = Path(path.joinpath("cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")).name
            if program.startswith(_GUESTS) and _mounts_of(path.name) == ours:
                found[int(path.name)] = program
    return found


def _mounts_of(process: str) -> Path:
    """Which mount namespace it is in, as the kernel names it."""
    return Path(f"/proc/{process}/ns/mnt").readlink()


def _destroy_all() -> None:
    """End what runs, while there is a libvirtd to ask."""
    import libvirt

    with contextlib.suppress(ProvisionError, libvirt.libvirtError):
        connection = open_connection(URI)
        active = [*connection.listAllDomains(0), *connection.listAllNetworks(0)]
        for thing in active:
            with contextlib.suppress(libvirt.libvirtError):
                thing.destroy()
        connection.close()


def _kill_guests() -> None:
    """End what outlived its libvirtd, by its id."""
    for pid in _guests():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DOWN
    while left := _guests():
        if time.monotonic() > deadline:
            raise DeadlineError(f"killing {left}", _DOWN, "they do not end")
        time.sleep(0.05)
