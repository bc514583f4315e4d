"""One command at a time on a cluster.

The lock is flock on the cluster's lock file, so a killed owner frees it by dying; the owner's record in the
file only says who it is. Where the file is on a file system that several hosts share, flock may not reach
across them, so there another host's record counts as a held lock.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.errors import LockedError, ProvisionError
from provision.state.errors import StateError
from provision.state.mounts import is_shared
from provision.state.owner import Owner, parse, serialize, this_process
from provision.state.paths import ClusterPaths

__all__ = ["LockedStillError", "Owner", "hold", "owner_of", "this_process", "unlock"]

_PAUSE = 0.2
_RETRIES = 25


@contextmanager
def hold(
    paths: ClusterPaths,
    owner: Owner,
    *,
    wait: float = 0.0,
    shared: Callable[[Path], bool] = is_shared,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Owner | None]:
    """Hold the cluster's lock while the block runs; makes the folders, and leaves none that stayed empty.

    Yields the owner of a former run that was killed, None as a rule. Raises LockedError, naming the owner,
    when the lock is not free within `wait` seconds.
    """
    handle, killed = _acquire(paths, owner, wait=wait, shared=shared, clock=clock, sleep=sleep)
    try:
        yield killed
    finally:
        _release(paths, handle)


def owner_of(paths: ClusterPaths) -> Owner | None:
    """Whom the lock file names, alive or not; None when nobody."""
    try:
        return parse(paths.lock.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {paths.lock}", detail=str(error)) from error


def unlock(paths: ClusterPaths, *, force: bool = False, shared: Callable[[Path], bool] = is_shared) -> Owner | None:
    """Free the lock of an owner that is gone; returns whom the file named, None when it was not locked.

    Raises LockedStillError when the owner lives, or is on another host where that cannot be seen. With
    `force` the file is replaced all the same: new runs proceed, and the old owner's next write to the state
    is refused.
    """
    try:
        handle = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot open {paths.lock}", detail=str(error)) from error
    try:
        owner = parse(os.pread(handle, 65536, 0))
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
            hint=(f"wait for it, or stop it there; to go on all the same: provision unlock --force -c {cluster}"),
        )
        self.owner = owner


@dataclass(frozen=True, slots=True)
class _Taken:
    """Somebody else has the lock; the owner is None where the file did not say."""

    owner: Owner | None


@dataclass(frozen=True, slots=True)
class _Held:
    """We have it: the open file, and whom a killed run left in it."""

    handle: int
    killed: Owner | None


def _acquire(
    paths: ClusterPaths,
    owner: Owner,
    *,
    wait: float,
    shared: Callable[[Path], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[int, Owner | None]:
    deadline = clock() + wait
    retries = _RETRIES
    while True:
        attempt = _try(paths, owner, shared=shared)
        if isinstance(attempt, _Held):
            return attempt.handle, attempt.killed
        if (attempt is None or attempt.owner is None) and retries:
            # the file just changed hands: it was removed, or its new owner has not written its name yet
            retries -= 1
            sleep(_PAUSE / 10)
            continue
        if clock() >= deadline:
            who = attempt.owner if attempt is not None else None
            raise LockedError(paths.cluster, str(who or "an unknown command"))
        sleep(_PAUSE)


def _try(paths: ClusterPaths, owner: Owner, *, shared: Callable[[Path], bool]) -> _Held | _Taken | None:
    try:
        paths.make()  # raises StateError
        handle = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot open {paths.lock}", detail=str(error)) from error
    held: _Held | None = None
    try:
        free = _flock(handle)
        other = parse(os.pread(handle, 65536, 0))
        if not free:
            return _Taken(other)
        if not _is_current(handle, paths.lock):
            return None
        if other is not None and other.host != owner.host and shared(paths.lock):
            return _Taken(other)
        os.ftruncate(handle, 0)
        os.pwrite(handle, serialize(owner), 0)
        held = _Held(handle, other)
    except OSError as error:
        raise StateError(f"cannot lock {paths.lock}", detail=str(error)) from error
    finally:
        if held is None:
            os.close(handle)
    return held


def _release(paths: ClusterPaths, handle: int) -> None:
    try:
        # not ours any more after `unlock --force`, or after `down` removed the folder
        if _is_current(handle, paths.lock):
            paths.lock.unlink(missing_ok=True)
        if not paths.state.exists():
            for folder in (paths.logs, paths.folder, paths.root):
                folder.rmdir()
    except OSError:
        return  # a folder is not empty, or gone already
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
