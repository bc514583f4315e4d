"""One command at a time on a cluster.

The lock is flock on the cluster's lock file, so a killed owner frees it by dying; the owner's record in the file only
says who it is. Where the file is on a file system that several hosts share, flock may not reach across them, so there
another host's record counts as a held lock.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from provision.errors import LockedError, ProvisionError
from provision.state.errors import StateError
from provision.state.mounts import is_shared
from provision.state.paths import ClusterPaths

_PAUSE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a lock: `command` as it was typed, `since` in UTC."""

    user: str
    host: str
    pid: int
    command: str
    since: datetime

    def __str__(self) -> str:
        """`alice@host pid 123 "provision up", since 12:30:01`, in this machine's time, with the date if not today."""
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


@contextmanager
def hold(
    paths: ClusterPaths,
    owner: Owner,
    *,
    wait: float = 0.0,
    shared: Callable[[Path], bool] = is_shared,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the cluster's lock while the block runs; makes the folders, and leaves none that stayed empty.

    Raises LockedError, naming the owner, when it is not free within `wait` seconds.
    """
    deadline = clock() + wait
    while True:
        handle, other = _try(paths, owner, shared=shared)
        if handle is not None:
            break
        if clock() >= deadline:
            raise LockedError(paths.cluster, str(other or "an unknown command"))
        sleep(_PAUSE)
    try:
        yield
    finally:
        _release(paths, handle)


def owner_of(paths: ClusterPaths) -> Owner | None:
    """Whom the lock file names, alive or not; None when nobody."""
    try:
        return _parse(paths.lock.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {paths.lock}", detail=str(error)) from error


def unlock(
    paths: ClusterPaths, *, force: bool = False, shared: Callable[[Path], bool] = is_shared
) -> Owner | None:
    """Free the lock of an owner that is gone; returns whom the file named, None when it was not locked at all.

    Raises LockedStillError when the owner lives, or is on another host where that cannot be seen. With `force` the
    file is replaced all the same: new runs proceed, and the old owner's next write to the state is refused.
    """
    try:
        handle = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot open {paths.lock}", detail=str(error)) from error
    try:
        owner = _parse(os.pread(handle, 65536, 0))
        alive = not _flock(handle)
        elsewhere = owner is not None and owner.host != socket.gethostname() and shared(paths.lock)
        if (alive or elsewhere) and not force:
            raise LockedStillError(paths.cluster, owner, alive=alive)
        # nobody waits on a name, only on the file behind it: whoever opens the lock anew gets a fresh one
        paths.lock.unlink(missing_ok=True)
        return owner
    finally:
        os.close(handle)


class LockedStillError(ProvisionError):
    """A lock is not removed, because its owner lives or may live."""

    exit_code = LockedError.exit_code

    def __init__(self, cluster: str, owner: Owner | None, *, alive: bool) -> None:
        who = str(owner or "an unknown command")
        super().__init__(
            f"cluster {cluster!r} is locked by {who}, "
            + ("which still runs" if alive else "and from here nobody can see whether it still runs"),
            hint=(
                f"wait for it, or stop it there; to go on all the same: provision unlock --force -c {cluster}"
            ),
        )
        self.owner = owner


def _try(
    paths: ClusterPaths, owner: Owner, *, shared: Callable[[Path], bool]
) -> tuple[int | None, Owner | None]:
    # the file may vanish between any two of these calls: its owner removes it when it is done; then try again
    try:
        paths.make()
        handle = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise StateError(f"cannot open {paths.lock}", detail=str(error)) from error
    try:
        other = _parse(os.pread(handle, 65536, 0))
        if not _flock(handle):
            os.close(handle)
            return None, other
        if not _is_current(handle, paths.lock):
            os.close(handle)
            return None, other
        if other is not None and other.host != owner.host and shared(paths.lock):
            os.close(handle)
            return None, other
        text = json.dumps({**asdict(owner), "since": owner.since.isoformat()}) + "\n"
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)
    except OSError as error:
        os.close(handle)
        raise StateError(f"cannot lock {paths.lock}", detail=str(error)) from error
    return handle, None


def _release(paths: ClusterPaths, handle: int) -> None:
    try:
        # not ours any more after `unlock --force`, or after `down` removed the folder
        if _is_current(handle, paths.lock):
            paths.lock.unlink(missing_ok=True)
        for folder in (paths.logs, paths.folder, paths.root):
            folder.rmdir()
    except OSError:
        return  # not empty, as it should be for a cluster that exists, or gone
    finally:
        os.close(handle)


def _flock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _parse(data: bytes) -> Owner | None:
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
