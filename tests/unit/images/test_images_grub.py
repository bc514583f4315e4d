"""GRUB's pieces, told where they lie."""

from __future__ import annotations

import struct
from pathlib import PurePosixPath

from provision.images.grub import BIOS, MENU, ROOT_LABEL, boot_sector, embedded_core, mkimage


def test_boot_sector_says_where_the_core_begins_and_leaves_the_table_alone() -> None:
    code = boot_sector(bytes(range(256)) * 2, core_start=2048)
    assert len(code) == 440
    assert struct.unpack_from("<Q", code, 0x5C) == (2048,)
    assert code[0x66:0x68] == b"\x90\x90"
    assert code[:0x5C] == bytes(range(256))[:0x5C]


def test_core_says_where_the_rest_of_it_lies() -> None:
    core = embedded_core(b"\xaa" * 1300, core_start=2048)
    assert len(core) == 3 * 512
    assert struct.unpack_from("<QHH", core, 500) == (2049, 2, 0x820)
    assert core[512:1300] == b"\xaa" * (1300 - 512)


def test_menu_starts_the_newest_kernel_on_the_root_that_it_was_found_on() -> None:
    assert f"linux /vmlinuz root=LABEL={ROOT_LABEL} " in MENU
    assert "console=ttyS0" in MENU


def test_grub_is_made_with_all_that_it_needs_to_find_its_menu() -> None:
    root = PurePosixPath("/t")
    argv = mkimage(BIOS, root=root, config=root / "early.cfg", out=root / "core.img")
    assert argv[0] == "/t/usr/bin/grub-mkimage"
    assert {"--format=i386-pc", "--directory=/t/usr/lib/grub/i386-pc", "--config=/t/early.cfg"} <= set(argv)
    assert {"biosdisk", "part_gpt", "ext2", "search_label", "configfile", "linux"} <= set(argv)
