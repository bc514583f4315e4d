"""GRUB's pieces and how they fit together, as `grub-install` would do it on a disk that is in a machine already.

For a BIOS: boot.img is the first sector and knows where core.img begins; the first sector of core.img knows where the
rest of it lies. For UEFI: one program in the EFI system partition.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import PurePosixPath

from provision.images.gpt import SECTOR

#: The root file system's label: how GRUB, the kernel and fstab find it.
ROOT_LABEL = "provision-root"

#: What the kernel is started with, by GRUB and where a hypervisor starts it directly.
KERNEL_OPTIONS = f"root=LABEL={ROOT_LABEL} ro console=tty0 console=ttyS0,115200"

#: Where GRUB finds its menu in the root file system.
MENU_PATH = "/boot/grub/grub.cfg"

_MODULES = (
    *("part_gpt", "ext2", "search", "search_label", "normal", "configfile", "linux", "test", "echo", "ls", "cat"),
    *("boot", "reboot", "halt"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A platform of GRUB's: its name, the package with its modules, and those that only it needs."""

    platform: str
    package: str
    modules: tuple[str, ...]


BIOS = Target("i386-pc", "grub-pc-bin", ("biosdisk", "serial", "terminal"))
#: by the kernel's name of the architecture: GRUB's platform, and the file that firmware looks for
EFI = {
    "x86_64": (Target("x86_64-efi", "grub-efi-amd64-bin", ("efi_gop", "serial", "terminal")), "BOOTX64.EFI"),
    "aarch64": (Target("arm64-efi", "grub-efi-arm64-bin", ("efi_gop",)), "BOOTAA64.EFI"),
}

#: Runs before there is a menu: finds the root file system and its menu.
EARLY_MENU = f"search --no-floppy --label {ROOT_LABEL} --set root\nconfigfile ($root){MENU_PATH}\n"

#: Debian keeps the links /vmlinuz and /initrd.img on the newest kernel, so that a new one needs no GRUB in the machine.
MENU = f"""\
if serial --unit=0 --speed=115200; then
  terminal_output serial console
fi
set timeout=0
menuentry 'Debian' {{
  linux /vmlinuz {KERNEL_OPTIONS}
  initrd /initrd.img
}}
menuentry 'Debian, the kernel before' {{
  linux /vmlinuz.old {KERNEL_OPTIONS}
  initrd /initrd.img.old
}}
"""


def mkimage(target: Target, *, root: PurePosixPath, config: PurePosixPath, out: PurePosixPath) -> tuple[str, ...]:
    """The command that makes core.img, or the EFI program; `root` is where GRUB's packages are unpacked."""
    return (
        str(root / "usr/bin/grub-mkimage"),
        f"--directory={root / 'usr/lib/grub' / target.platform}",
        f"--format={target.platform}",
        f"--config={config}",
        "--prefix=/boot/grub",
        f"--output={out}",
        *_MODULES,
        *target.modules,
    )


def boot_sector(boot_image: bytes, *, core_start: int) -> bytes:
    """The 440 bytes that a BIOS starts: boot.img, told at which sector core.img begins."""
    code = bytearray(boot_image[:440])
    struct.pack_into("<Q", code, 0x5C, core_start)
    # A BIOS may pass the wrong drive; on a hard disk GRUB's own installer jumps over the test as well.
    code[0x66:0x68] = b"\x90\x90"
    return bytes(code)


def embedded_core(core_image: bytes, *, core_start: int) -> bytes:
    """core.img in whole sectors, its first one told where the others lie: right behind it."""
    sectors = -(-len(core_image) // SECTOR)
    core = bytearray(core_image.ljust(sectors * SECTOR, b"\0"))
    # one entry of the block list, at the end of the first sector: where, how many, to which segment of memory
    struct.pack_into("<QHH", core, SECTOR - 12, core_start + 1, sectors - 1, 0x820)
    return bytes(core)
