"""The root file system of a disk: how large it is made, and making it from a tree without mounting anything."""

from __future__ import annotations

import os
from pathlib import Path

from provision.images.grub import ROOT_LABEL
from provision.local.commands import Commands

MIB = 1024**2
_BLOCK = 4096
#: bytes that a file or folder takes besides its content: inode, directory entry, its share of tables
_PER_FILE = 512
#: what a machine may write before its disk has grown; a smaller file system would do for the content of all recipes
_SLACK = 384 * MIB
_LEAST = 2560 * MIB

#: mke2fs's settings, so that the host's own do not decide what a guest's kernel and GRUB must understand. Neither the
#: tables of inodes nor the journal are left to be zeroed by the first boot of every machine.
_MKE2FS = """\
[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
lazy_itable_init = 0

[fs_types]
ext4 = {
  features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
"""


def root_bytes(tree: Path) -> int:
    """How large the file system for a tree shall be, in whole MiB: its content and some slack."""
    content = int(_content(tree) * 1.1) + _SLACK
    return max(-(-content // MIB) * MIB, _LEAST)


def make_filesystem(tree: Path, disk: Path, *, start: int, size: int, commands: Commands) -> None:
    """Write an ext4 file system with the tree's content into a file, at a byte. The file is there already."""
    config = disk.with_name("mke2fs.conf")
    config.write_text(_MKE2FS)
    try:
        commands.run(
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-d", str(tree)),
            *("-E", f"offset={start},lazy_itable_init=0,lazy_journal_init=0", "-m", "1"),
            *(str(disk), f"{size // 1024}k"),
            seconds=600,
            environ={"MKE2FS_CONFIG": str(config)},
        )
    finally:
        config.unlink()


def _content(tree: Path) -> int:
    total = 0
    seen: set[int] = set()
    for folder, folders, files in os.walk(tree):
        total += _BLOCK
        for name in (*folders, *files):
            status = Path(folder, name).lstat()
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += -(-status.st_size // _BLOCK) * _BLOCK + _PER_FILE
    return total
