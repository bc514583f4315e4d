"""From a recipe to a disk: tree, partition table, boot loaders, root file system, qcow2. Nothing is mounted.

Partitions: 1 the root file system, the last on the disk so that it can grow; 14 GRUB for a BIOS; 15 the EFI system
partition. Whoever calls is root, of the machine or of a user namespace.
"""

from __future__ import annotations

import platform
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from provision.errors import DriverError
from provision.images import grub
from provision.images.boot import BootPieces, boot_pieces, download_hook
from provision.images.filesystem import MIB, make_filesystem, root_bytes
from provision.images.gpt import (
    BEHIND,
    BIOS_BOOT,
    EFI_SYSTEM,
    LINUX_ROOT_ARM64,
    LINUX_ROOT_X86_64,
    SECTOR,
    Partition,
    partition_table,
)
from provision.images.recipes import Recipe
from provision.images.tree import make_tree
from provision.local.commands import Commands

#: Names of the files that come of a disk's building.
DISK, KERNEL, INITRD = "disk.qcow2", "vmlinuz", "initrd.img"

#: Where a disk keeps archives of container images until its engine has loaded them; the recipe's unit reads it.
_ARCHIVES = "var/lib/provision-images"

# in sectors
_MIB = MIB // SECTOR
_CORE_START, _CORE_SIZE = _MIB, _MIB
_ESP_START, _ESP_SIZE = 2 * _MIB, 8 * _MIB
_ROOT_START = 10 * _MIB

_ROOT_KIND = {"x86_64": LINUX_ROOT_X86_64, "aarch64": LINUX_ROOT_ARM64}


def make_disk(made_of: Recipe, folder: Path, commands: Commands, *, say: Callable[[str], None]) -> None:
    """Build the recipe's disk with its kernel and initial RAM disk into a folder. Raises DriverError."""
    tree, raw = folder / "tree", folder / "disk.raw"
    say("installing packages")
    units = f'chroot "$1" systemctl --quiet enable {" ".join(made_of.units)}'
    make_tree(made_of, tree, commands, hooks=(download_hook(), units))
    _finish(made_of, tree)
    say("writing the disk")
    pieces = boot_pieces(tree, commands, esp_sectors=_ESP_SIZE)
    for name in (KERNEL, INITRD):
        shutil.copyfile(_kernel_file(tree, name), folder / name)
    size = root_bytes(tree)
    _lay_out(raw, pieces, root_sectors=size // SECTOR)
    make_filesystem(tree, raw, start=_ROOT_START * SECTOR, size=size, commands=commands)
    commands.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(folder / DISK), seconds=600)
    raw.unlink()
    shutil.rmtree(tree)


def _finish(made_of: Recipe, tree: Path) -> None:
    """What a tree lacks to be a disk's, and what would only cost it time."""
    _disable_profiles(tree / "etc/apparmor.d")
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    menu = tree / grub.MENU_PATH.lstrip("/")
    menu.parent.mkdir(exist_ok=True)
    menu.write_text(grub.MENU)
    if made_of.archives:
        (tree / _ARCHIVES).mkdir()
    for archive in made_of.archives:
        shutil.copyfile(archive.path, tree / _ARCHIVES / f"{archive.sha256[:16]}.tar")


def _disable_profiles(folder: Path) -> None:
    """AppArmor compiles its profiles at a machine's first boot, which takes longer than the kernel. Docker brings its
    own; what Debian adds is for programs that no host of containers has."""
    for profile in folder.glob("*"):
        if profile.is_file():
            (folder / "disable" / profile.name).symlink_to(f"/etc/apparmor.d/{profile.name}")


def _kernel_file(tree: Path, link: str) -> Path:
    """Where one of Debian's links to the newest kernel leads, looked at from outside of the tree."""
    try:
        return tree / str((tree / link).readlink()).lstrip("/")
    except OSError as exc:
        raise DriverError(f"the kernel's package has made no /{link}") from exc


def _lay_out(disk: Path, pieces: BootPieces, *, root_sectors: int) -> None:
    """Write everything but the root file system."""
    # the table's copy ends the disk, which is whole MiB
    sectors = -(-(_ROOT_START + root_sectors + BEHIND) // _MIB) * _MIB
    code = grub.boot_sector(pieces.boot_image, core_start=_CORE_START) if pieces.boot_image else b""
    core = grub.embedded_core(pieces.core_image, core_start=_CORE_START) if pieces.core_image else b""
    if len(core) > _CORE_SIZE * SECTOR:
        raise DriverError(f"GRUB takes {len(core)} bytes and has {_CORE_SIZE * SECTOR}")
    partitions = list(_partitions(root_sectors))
    first, last = partition_table(partitions, sectors=sectors, disk=uuid.uuid4(), boot_code=code)
    with disk.open("wb") as out:
        out.truncate(sectors * SECTOR)
        for start, content in ((0, first), (_CORE_START, core), (_ESP_START, pieces.esp), (sectors - BEHIND, last)):
            out.seek(start * SECTOR)
            out.write(content)


def _partitions(root_sectors: int) -> Iterator[Partition]:
    kind = _ROOT_KIND[platform.machine()]
    yield Partition(number=14, kind=BIOS_BOOT, id=uuid.uuid4(), name="bios", start=_CORE_START, size=_CORE_SIZE)
    yield Partition(number=15, kind=EFI_SYSTEM, id=uuid.uuid4(), name="efi", start=_ESP_START, size=_ESP_SIZE)
    yield Partition(number=1, kind=kind, id=uuid.uuid4(), name="root", start=_ROOT_START, size=root_sectors)
