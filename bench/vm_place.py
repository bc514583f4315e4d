"""A hypervisor for a measurement: a libvirtd, a home and folders of its own, in namespaces that end with the block."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.growth import own_home
from bench.vm_site import VmSite
from provision.images.store import require_disk
from provision_libvirt.testing import own_libvirtd
from provision_nspawn.layout import DEFAULT_DATA
from provision_nspawn.testing import own_namespaces

_IMAGE = "debian-12"
_KVM = Path("/dev/kvm")


@contextmanager
def vm_place(machines: int) -> Iterator[VmSite]:
    """Root only, on the main thread. Nothing is on the hypervisor but what a contender makes there.

    It has no KVM, which is hidden from it: so it offers emulation alone, and everybody gets the same machines from it,
    also where a listed KVM boots no kernel. Raises DriverError where the image is not built, RuntimeError when
    something is left behind.
    """
    image = require_disk(_IMAGE, {**os.environ, "PROVISION_DATA_DIR": str(DEFAULT_DATA)})
    # on the disk that the images are on: a machine's disk may grow, and /tmp may be memory
    data = Path(tempfile.mkdtemp(prefix="bench-vm-", dir=DEFAULT_DATA))
    try:
        (data / "images").mkdir()  # with this image only: the saved state of warm machines is made by the measurement
        (data / "images" / image.path.parent.name).symlink_to(image.path.parent)
        os.environ["PROVISION_DATA_DIR"] = str(data)
        with _terminable(), own_namespaces(), own_home(data), _without_kvm(data / "no-kvm"):
            key = _key(data / "home" / ".ssh")
            with own_libvirtd(data / "libvirtd") as libvirtd:
                yield VmSite(
                    folder=data, machines=machines, image=image, libvirtd=libvirtd, key=key, environ=_environ(data)
                )
                left = libvirtd.leftovers()
        if left:
            raise RuntimeError(f"left behind: {left}")
    finally:
        os.environ.pop("PROVISION_DATA_DIR", None)
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def folder_at(place: Path, folder: Path) -> Iterator[None]:
    """In this process's mounts, the folder lies at that place too, which need not be there otherwise."""
    with contextlib.ExitStack() as ends:
        if not place.exists():
            place.mkdir(parents=True)
            ends.callback(place.rmdir)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(("mount", "--bind", str(folder), str(place)), check=True)
        ends.callback(subprocess.run, ("umount", "--lazy", str(place)), check=True)
        yield


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends it in order: machines that outlive a measurement keep the processors busy."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _without_kvm(beside: Path) -> Iterator[None]:
    """A file that nobody can write lies there instead: one that could be opened would have libvirt ask QEMU anew, at
    every question, whether KVM has come meanwhile."""
    if not _KVM.exists():
        yield
        return
    beside.touch()
    subprocess.run(("mount", "--bind", str(beside), str(_KVM)), check=True)
    try:
        subprocess.run(("mount", "-o", "remount,bind,ro", str(_KVM)), check=True)
        yield
    finally:
        subprocess.run(("umount", str(_KVM)), check=True)


def _key(folder: Path) -> Path:
    """The user's own, whose public half both sides find by themselves."""
    folder.mkdir(mode=0o700)
    key = folder / "id_ed25519"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(key)), check=True)
    return key


def _environ(data: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(data / "home"),
        "XDG_STATE_HOME": str(data / "state"),
        "DOCKER_CONFIG": str(data / "docker"),
        "PROVISION_DATA_DIR": str(data),
    }
