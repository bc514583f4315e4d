"""virt-lightning from PyPI, in an environment of its own: `vl up` of a virt-lightning.yaml."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environments import environment
from bench.vm_place import folder_at
from bench.vm_site import CPUS, DISK, MEMORY, USER, Door
from provision_libvirt.connection import open_connection
from provision_libvirt.testing import URI

if TYPE_CHECKING:
    from bench.vm_site import VmContender, VmSite

#: where it keeps disks and, in `upstream`, images; both are fixed in it
_HOME, _POOL = Path("/var/lib/virt-lightning"), "virt-lightning"
#: it makes its seeds with one of them
_MAKERS = ("genisoimage", "mkisofs")


class VirtLightning:
    """As its own documentation has it, but for addresses that are told, so that they are known from outside, and a seed
    that the image finds: in the format NoCloud, and on a disk. The image has the drivers of a CD-ROM as
    modules, which are loaded after cloud-init has looked for a seed.
    """

    name = "virt-lightning"
    interrupted: int | None = None

    def versions(self, environ: Mapping[str, str]) -> str:
        """Its own words. Raises RuntimeError where the program that it makes seeds with is not installed."""
        if not any(shutil.which(maker, path=environ["PATH"]) for maker in _MAKERS):
            raise RuntimeError("virt-lightning needs genisoimage: apt-get install genisoimage")
        said = subprocess.run((_vl(), "--version"), capture_output=True, text=True, check=True)
        return said.stdout.strip()

    @contextmanager
    def installed(self, site: VmSite) -> Iterator[None]:
        """Its folder, with the image in it, as `vl pull` leaves it."""
        folder = site.folder / "virt-lightning"
        images = folder / "pool" / "upstream"
        images.mkdir(parents=True)
        shutil.copyfile(site.image.path, images / f"{site.image.name}.qcow2")
        with folder_at(_HOME, folder):
            yield

    def prepare(self, site: VmSite) -> None:
        """Its list of machines. It is YAML, of which JSON is a part."""
        machines = [
            {
                "name": name,
                "distro": site.image.name,
                "memory": MEMORY,
                "vcpus": CPUS,
                "username": USER,
                "disks": [{"size": DISK}],
                "networks": [{"ipv4": address}],
                "metadata_format": {"provider": "nocloud"},
                "meta_data_media_type": "disk",
            }
            for name, address in _addresses(site)
        ]
        _list(site).write_text(json.dumps(machines, indent=2) + "\n")

    def argv(self, site: VmSite) -> tuple[str, ...]:
        """It returns when every sshd shows its banner."""
        return (_vl(), "up", "--virt-lightning-yaml", str(_list(site)))

    def doors(self, site: VmSite) -> Sequence[Door]:
        """With the options of its own `vl ssh`, which checks no host key."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", f"IdentityFile={site.key}")
        return [Door(name, address, options) for name, address in _addresses(site)]

    def forget(self, site: VmSite) -> None:
        """`vl down`, and the pool, which that leaves."""
        done = subprocess.run((_vl(), "down"), env=dict(site.environ), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"vl down failed ({done.returncode}):\n{done.stderr[-3000:]}")
        _remove_pool()
        left = [path.name for path in (_HOME / "pool").iterdir() if path.name != "upstream"]
        if left:
            raise RuntimeError(f"vl down left behind: {left}")


def _remove_pool() -> None:
    import libvirt

    connection = open_connection(URI)
    try:
        with contextlib.suppress(libvirt.libvirtError):  # it may never have come so far
            pool = connection.storagePoolLookupByName(_POOL)
            pool.destroy()
            pool.undefine()
    finally:
        connection.close()


def _addresses(site: VmSite) -> list[tuple[str, str]]:
    """In the network that it makes by default."""
    return [(f"vl-{number}", f"192.168.123.{10 + number}") for number in range(1, site.machines + 1)]


def _list(site: VmSite) -> Path:
    return site.folder / "virt-lightning.yaml"


def _vl() -> str:
    return str(environment("virt-lightning") / "vl")


if TYPE_CHECKING:
    _conforms: type[VmContender] = VirtLightning
