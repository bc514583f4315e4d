"""What kind of disk a file is, by its first bytes, and how large the disk is that a machine sees."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from provision.errors import DriverError
from provision.images.gpt import SECTOR

#: Files that are disks or hold one, but none that a machine can start from as they are: first bytes, what they are.
_OTHERS = {
    b"KDMV": "a VMware disk",
    b"conectix": "a Hyper-V disk",
    b"vhdxfile": "a Hyper-V disk",
    b"\xfd7zXZ\x00": "compressed (xz)",
    b"\x1f\x8b": "compressed (gzip)",
    b"BZh": "compressed (bzip2)",
    b"\x28\xb5\x2f\xfd": "compressed (zstd)",
    b"PK\x03\x04": "a zip archive",
}


@dataclass(frozen=True, slots=True)
class DiskHeader:
    """`qcow2` or `raw`, and bytes."""

    format: str
    virtual_size: int


def disk_header(path: Path) -> DiskHeader:
    """Read it. Raises DriverError for what is no disk, or one that needs another file beside it."""
    try:
        with path.open("rb") as stream:
            head = stream.read(SECTOR)
        size = path.stat().st_size
    except OSError as exc:
        raise DriverError(f"the disk {path} cannot be read: {exc.strerror}") from exc
    if head.startswith(b"QFI\xfb"):
        return _qcow2(path, head)
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise DriverError(
                f"{path} is no disk that can be used: it is {what}",
                hint="unpack it, or turn it into qcow2 with `qemu-img convert -O qcow2`",
            )
    if head[510:] != b"\x55\xaa":
        raise DriverError(f"{path} is no bootable disk", detail="it is neither qcow2 nor has it a boot sector")
    return DiskHeader("raw", size)


def _qcow2(path: Path, head: bytes) -> DiskHeader:
    backing: int
    virtual_size: int
    _, _, backing, _, _, virtual_size = struct.unpack_from(">4sIQIIQ", head)
    if backing:
        raise DriverError(
            f"{path} is only the difference to another disk", hint="make it whole: qemu-img convert -O qcow2 FROM TO"
        )
    return DiskHeader("qcow2", virtual_size)
