"""What a disk file is, by its first bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from provision.errors import DriverError
from provision.images.headers import DiskHeader, disk_header


def qcow2(*, backing: int = 0) -> bytes:
    return struct.pack(">4sIQIIQ", b"QFI\xfb", 3, backing, 0, 16, 3 * 1024**3).ljust(512, b"\0")


def raw() -> bytes:
    return bytes(510) + b"\x55\xaa" + bytes(1024)


@pytest.mark.parametrize(
    ("content", "header"), [(qcow2(), DiskHeader("qcow2", 3 * 1024**3)), (raw(), DiskHeader("raw", 1536))]
)
def test_disk_tells_its_format_and_size(content: bytes, header: DiskHeader, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(content)
    assert disk_header(path) == header


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (qcow2(backing=512), "only the difference to another disk"),
        (b"\xfd7zXZ\x00 and more", r"compressed \(xz\)"),
        (b"KDMV", "a VMware disk"),
        (b"<html>not found</html>", "no bootable disk"),
        (b"", "no bootable disk"),
    ],
)
def test_what_no_machine_can_start_from_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(content)
    with pytest.raises(DriverError, match=words):
        disk_header(path)


def test_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="cannot be read: No such file"):
        disk_header(tmp_path / "none")
