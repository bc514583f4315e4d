"""The partition table, read back as firmware reads it."""

from __future__ import annotations

import struct
import uuid
import zlib

import pytest

from provision.images.gpt import BEHIND, BIOS_BOOT, FIRST_USABLE, LINUX_ROOT_X86_64, SECTOR, Partition, partition_table

SECTORS = 20480
DISK = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


def partition(number: int, start: int, size: int, kind: uuid.UUID = BIOS_BOOT) -> Partition:
    return Partition(number=number, kind=kind, id=uuid.uuid4(), name=f"p{number}", start=start, size=size)


def header(sector: bytes) -> dict[str, int]:
    """A header's fields, its checksum found right."""
    names = ("revision", "size", "crc", "zero", "here", "there", "first", "last")
    signature, *values = struct.unpack_from("<8sIIIIQQQQ", sector)
    assert signature == b"EFI PART"
    found = dict(zip(names, values, strict=True))
    assert zlib.crc32(sector[:16] + b"\0\0\0\0" + sector[20:92]) == found["crc"]
    assert uuid.UUID(bytes_le=sector[56:72]) == DISK
    found["table"], found["count"], found["entry"], found["entries_crc"] = struct.unpack_from("<QIII", sector, 72)
    return found


def test_both_copies_name_the_partitions_and_each_other() -> None:
    root = partition(1, 8192, 4096, LINUX_ROOT_X86_64)
    first, last = partition_table([partition(14, 2048, 2048), root], sectors=SECTORS, disk=DISK)
    assert (len(first), len(last)) == (FIRST_USABLE * SECTOR, BEHIND * SECTOR)
    front, back = header(first[SECTOR : 2 * SECTOR]), header(last[-SECTOR:])
    assert (front["here"], front["there"], front["table"]) == (1, SECTORS - 1, 2)
    assert (back["here"], back["there"], back["table"]) == (SECTORS - 1, 1, SECTORS - BEHIND)
    assert (front["first"], front["last"]) == (FIRST_USABLE, SECTORS - BEHIND - 1)
    entries = first[2 * SECTOR :]
    assert entries == last[:-SECTOR]
    assert zlib.crc32(entries) == front["entries_crc"] == back["entries_crc"]
    kind, own, start, end = struct.unpack_from("<16s16sQQ", entries)
    assert (uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=own)) == (LINUX_ROOT_X86_64, root.id)
    assert (start, end) == (8192, 8192 + 4096 - 1)
    assert entries[13 * 128 + 56 :][:6] == "p14".encode("utf-16-le")
    assert not any(entries[128 : 13 * 128])


def test_boot_code_stands_before_a_protective_partition_of_the_whole_disk() -> None:
    first, _ = partition_table([partition(1, 2048, 100)], sectors=SECTORS, disk=DISK, boot_code=b"\xeb\x63")
    assert first[:2] == b"\xeb\x63"
    assert first[510:512] == b"\x55\xaa"
    active, kind, start, size = struct.unpack_from("<B3xB3xII", first, 446)
    assert (active, kind, start, size) == (0x80, 0xEE, 1, SECTORS - 1)


@pytest.mark.parametrize(
    "partitions",
    [
        [partition(1, FIRST_USABLE - 1, 10)],
        [partition(1, 2048, 2048), partition(2, 4095, 10)],
        [partition(1, 2048, SECTORS - BEHIND - 2048 + 1)],
        [partition(1, 2048, 0)],
    ],
)
def test_partitions_that_do_not_fit_are_refused(partitions: list[Partition]) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        partition_table(partitions, sectors=SECTORS, disk=DISK)


def test_boot_code_that_would_reach_into_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="440"):
        partition_table([], sectors=SECTORS, disk=DISK, boot_code=bytes(441))
