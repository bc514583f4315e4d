"""Who holds a lock, as text for people and as the lock file's JSON."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a lock: `command` as it was typed, `since` in UTC."""

    user: str
    host: str
    pid: int
    command: str
    since: datetime

    def __str__(self) -> str:
        """`alice@host pid 123 "provision up", since 12:30:01`, this machine's time, dated if not today."""
        local = self.since.astimezone()
        today = local.date() == datetime.now(local.tzinfo).date()
        when = f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M:%S}"
        return f'{self.user}@{self.host} pid {self.pid} "{self.command}", since {when}'


def this_process(command: tuple[str, ...]) -> Owner:
    """This process as an owner; `command` is the command line's words, and must hold no secret."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        user = str(os.getuid())
    return Owner(
        user=user,
        host=socket.gethostname(),
        pid=os.getpid(),
        command=shlex.join(command),
        since=datetime.now(UTC).replace(microsecond=0),
    )


def serialize(owner: Owner) -> bytes:
    """What a lock file holds: one line of JSON."""
    return json.dumps({**asdict(owner), "since": owner.since.isoformat()}).encode() + b"\n"


def parse(data: bytes) -> Owner | None:
    """The owner that a lock file names; None for a file that is empty or damaged."""
    try:
        raw = json.loads(data)
        return Owner(
            user=str(raw["user"]),
            host=str(raw["host"]),
            pid=int(raw["pid"]),
            command=str(raw["command"]),
            since=datetime.fromisoformat(raw["since"]),
        )
    except (ValueError, TypeError, KeyError):
        return None
