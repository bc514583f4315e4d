"""A partition table (GPT) as bytes: what stands before the partitions of a disk, and what stands behind them."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

SECTOR = 512

#: Types of partitions, as UEFI and systemd's Discoverable Partitions have them.
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX_ROOT_X86_64 = uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
LINUX_ROOT_ARM64 = uuid.UUID("b921b045-1df0-41c3-af44-4c6f280d3fae")

_ENTRIES, _ENTRY_BYTES = 128, 128
#: sectors of one copy of the entries
_ENTRY_SECTORS = _ENTRIES * _ENTRY_BYTES // SECTOR
#: sectors before the first that a partition may have: protective MBR, header, entries
FIRST_USABLE = 2 + _ENTRY_SECTORS
#: sectors behind the last that a partition may have: entries, header
BEHIND = 1 + _ENTRY_SECTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition; `number` from 1 on, `start` and `size` in sectors of 512 bytes."""

    number: int
    kind: uuid.UUID
    id: uuid.UUID
    name: str
    start: int
    size: int


def partition_table(
    partitions: Sequence[Partition], *, sectors: int, disk: uuid.UUID, boot_code: bytes = b""
) -> tuple[bytes, bytes]:
    """The first and the last bytes of a disk of so many sectors. `boot_code` is what a BIOS starts, 440 bytes at most.

    Raises ValueError for partitions that overlap one another or the table.
    """
    _check(partitions, sectors)
    entries = bytearray(_ENTRIES * _ENTRY_BYTES)
    for partition in partitions:
        at = (partition.number - 1) * _ENTRY_BYTES
        entries[at : at + _ENTRY_BYTES] = _entry(partition)
    whole = bytes(entries)
    first = _header(whole, disk, here=1, there=sectors - 1, table=2, sectors=sectors)
    last = _header(whole, disk, here=sectors - 1, there=1, table=sectors - BEHIND, sectors=sectors)
    return _protective(boot_code, sectors) + first + whole, whole + last


def _check(partitions: Sequence[Partition], sectors: int) -> None:
    free = FIRST_USABLE
    for partition in sorted(partitions, key=lambda one: one.start):
        if partition.start < free or partition.size < 1:
            raise ValueError(f"partition {partition.number} overlaps what stands before it")
        free = partition.start + partition.size
    if free > sectors - BEHIND:
        raise ValueError("the last partition overlaps the table's copy at the end of the disk")


def _entry(partition: Partition) -> bytes:
    last = partition.start + partition.size - 1
    name = partition.name.encode("utf-16-le").ljust(72, b"\0")
    return struct.pack("<16s16sQQQ72s", partition.kind.bytes_le, partition.id.bytes_le, partition.start, last, 0, name)


def _header(entries: bytes, disk: uuid.UUID, *, here: int, there: int, table: int, sectors: int) -> bytes:
    usable = (FIRST_USABLE, sectors - BEHIND - 1)

    def packed(checksum: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            *(b"EFI PART", 0x00010000, 92, checksum, 0, here, there, *usable, disk.bytes_le, table),
            *(_ENTRIES, _ENTRY_BYTES, zlib.crc32(entries)),
        )

    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def _protective(boot_code: bytes, sectors: int) -> bytes:
    """An MBR whose one partition spans the disk, so that no old program takes the disk for an empty one."""
    if len(boot_code) > 440:
        raise ValueError("boot code has 440 bytes at most")
    # marked active: some BIOSes start no disk without such a partition
    partition = struct.pack("<B3sB3sII", 0x80, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    return boot_code.ljust(446, b"\0") + partition.ljust(64, b"\0") + b"\x55\xaa"
