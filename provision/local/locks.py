"""Locks on directories: no lock file to leave behind, and a killed owner frees them by itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from provision.errors import DeadlineError

_PAUSE = 0.01


def lock(directory: Path, *, seconds: float) -> int:
    """Take the exclusive lock of a directory that exists; the descriptor that holds it until it is closed.

    The lock follows the directory through renames. Raises FileNotFoundError when there is no such directory (any more)
    and DeadlineError, naming the process that holds the lock, when it is not free in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _wait(descriptor, directory, deadline, seconds)
            # The owner may have removed or replaced the directory: then this is a lock on nothing.
            if os.path.samestat(os.fstat(descriptor), directory.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path, *, seconds: float) -> Iterator[int]:
    """`lock` for the length of a block."""
    descriptor = lock(directory, seconds=seconds)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_made(directory: Path, *, seconds: float, mode: int = 0o755) -> Iterator[int]:
    """`locked`, making the directory (and its parents) if it is not there, again if it is removed meanwhile."""
    while True:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        try:
            descriptor = lock(directory, seconds=seconds)
        except FileNotFoundError:
            continue
        break
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(directory: Path) -> bool:
    """Whether somebody holds the directory's lock now; False when there is no such directory."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _wait(descriptor: int, directory: Path, deadline: float, seconds: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise DeadlineError(f"locking {directory}", seconds, f"held by {_owner(descriptor)}") from None
            time.sleep(_PAUSE)
        else:
            return


def _owner(descriptor: int) -> str:
    """The process that took the lock, as the kernel lists it."""
    inode = str(os.fstat(descriptor).st_ino)
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if len(words) > 5 and words[1] == "FLOCK" and words[5].rsplit(":", 1)[-1] == inode:
                return f"process {words[4]}"
    return "another process"
