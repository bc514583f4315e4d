"""What a machine's firmware starts from a disk: made by GRUB's and mtools' own packages, unpacked inside the tree.

So the system that builds needs neither, and their version is that of the image's Debian.
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from provision.images import grub
from provision.images.gpt import SECTOR
from provision.local.commands import Commands

#: The folder in the tree where packages are unpacked; it is gone before the tree is used.
_FOLDER = PurePosixPath("/provision-build")
_ROOT = _FOLDER / "root"


@dataclass(frozen=True, slots=True)
class BootPieces:
    """boot.img and core.img as GRUB has them (empty where there is no BIOS), and the EFI system partition."""

    boot_image: bytes
    core_image: bytes
    esp: bytes


def download_hook() -> str:
    """The hook for mmdebstrap that brings the packages into the tree, without installing them."""
    packages = ["grub-common", "mtools", *(target.package for target in _targets())]
    folder = f'"$1"{_FOLDER}'
    return f'mkdir {folder} && cd {folder} && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -q -y download ' + " ".join(
        packages
    )


def boot_pieces(tree: Path, commands: Commands, *, esp_sectors: int) -> BootPieces:
    """Make them from the packages that `download_hook` has brought, and remove those."""
    folder = tree / str(_FOLDER).lstrip("/")

    def inside(*argv: str, **environ: str) -> None:
        commands.run("chroot", str(tree), *argv, seconds=120, environ=environ)

    for package in sorted(folder.glob("*.deb")):
        inside("dpkg-deb", "--extract", str(_FOLDER / package.name), str(_ROOT))
    (folder / "early.cfg").write_text(grub.EARLY_MENU)
    for target in _targets():
        out = _FOLDER / target.platform
        inside(*grub.mkimage(target, root=_ROOT, config=_FOLDER / "early.cfg", out=out))
    efi, file = grub.EFI[platform.machine()]
    esp = str(_FOLDER / "esp")
    mtools = str(_ROOT / "usr/bin/mtools")
    for words in (
        ("mformat", "-C", "-i", esp, "-T", str(esp_sectors), "-h", "16", "-s", "32", "-v", "EFI", "::"),
        ("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"),
        ("mcopy", "-i", esp, str(_FOLDER / efi.platform), f"::/EFI/BOOT/{file}"),
    ):
        inside(mtools, "-c", *words)
    bios = _has_bios()
    pieces = BootPieces(
        boot_image=_image(folder, "boot.img") if bios else b"",
        core_image=(folder / grub.BIOS.platform).read_bytes() if bios else b"",
        esp=(folder / "esp").read_bytes(),
    )
    assert len(pieces.esp) == esp_sectors * SECTOR
    shutil.rmtree(folder)
    return pieces


def _image(folder: Path, name: str) -> bytes:
    return (folder / "root/usr/lib/grub" / grub.BIOS.platform / name).read_bytes()


def _targets() -> tuple[grub.Target, ...]:
    efi, _ = grub.EFI[platform.machine()]
    return (grub.BIOS, efi) if _has_bios() else (efi,)


def _has_bios() -> bool:
    return platform.machine() == "x86_64"
