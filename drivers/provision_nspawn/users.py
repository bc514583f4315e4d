"""A login user in a tree that nobody has booted yet: edits of passwd, shadow and group as text, pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.errors import DriverError

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_FIRST_ID = 1000


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in, with ids and home as the guest's passwd has them."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """The text of the guest's account files."""

    passwd: str
    shadow: str
    group: str


def find_login(accounts: Accounts, name: str) -> Login | None:
    """The user of this name, if there is one."""
    for line in accounts.passwd.splitlines():
        words = line.split(":")
        if len(words) == 7 and words[0] == name:
            return Login(name, int(words[2]), int(words[3]), words[5])
    return None


def add_login(accounts: Accounts, name: str) -> tuple[Accounts, Login]:
    """The accounts with a user of this name added: no password, a group of its own, /home/NAME, bash."""
    if not _NAME.fullmatch(name):
        raise DriverError(
            f"{name!r} is not a user name that Debian takes",
            hint="lower-case letters, digits, hyphen and underscore, a letter first, at most 32",
        )
    taken = {int(line.split(":")[2]) for line in (accounts.passwd + accounts.group).splitlines() if line}
    number = next(number for number in range(_FIRST_ID, 60000) if number not in taken)
    login = Login(name, number, number, f"/home/{name}")
    return (
        Accounts(
            passwd=f"{accounts.passwd}{name}:x:{number}:{number}::{login.home}:/bin/bash\n",
            # '*' is no password, yet not a locked account: keys are taken.
            shadow=f"{accounts.shadow}{name}:*:19700:0:99999:7:::\n",
            group=f"{accounts.group}{name}:x:{number}:\n",
        ),
        login,
    )
