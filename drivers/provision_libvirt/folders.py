"""Which folder above a file keeps a user out: QEMU runs as one that may search few of them."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

#: what Debian and Fedora have QEMU run as
_USERS = ("libvirt-qemu", "qemu")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with all groups that count."""

    name: str
    uid: int
    gids: frozenset[int]


def unsearchable(path: Path, account: Account, *, root: Path = Path("/")) -> Path | None:
    """The topmost folder from `root` on the way to `path` (itself not) that the account cannot search, if any."""
    if account.uid == 0:
        return None
    for folder in reversed(path.parents):
        if not folder.is_relative_to(root):
            continue
        try:
            found = folder.stat()
        except OSError:
            return None  # it is yet to be made, or not for us to see
        if not _may(found.st_mode, found.st_uid, found.st_gid, account, stat.S_IXOTH):
            return folder
    return None


def _may(mode: int, uid: int, gid: int, account: Account, bit: int) -> bool:
    """Whether the mode gives the account the right that `bit` is for others."""
    if account.uid in (0, uid):
        return account.uid == 0 or bool(mode & bit << 6)
    return bool(mode & (bit << 3 if gid in account.gids else bit))


def may_use(path: Path, account: Account) -> bool:
    """Whether the account may read and write this file. Raises OSError where it is not there."""
    found = path.stat()
    return all(_may(found.st_mode, found.st_uid, found.st_gid, account, bit) for bit in (stat.S_IROTH, stat.S_IWOTH))


def qemu_account(config: Path = Path("/etc/libvirt/qemu.conf")) -> Account | None:
    """Whom libvirt's system daemon runs QEMU as: by its configuration where that may be read, else the distribution's
    usual; None where there is no such user."""
    try:
        text = config.read_text(errors="replace")
    except OSError:
        text = ""
    named = re.search(r'^\s*user\s*=\s*"\+?([^"]+)"', text, re.MULTILINE)
    return next((found for name in ((named[1],) if named else _USERS) if (found := account_of(name))), None)


def account_of(name: str) -> Account | None:
    """The account of this name or number; None where there is none."""
    import pwd

    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))
