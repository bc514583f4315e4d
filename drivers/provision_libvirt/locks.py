"""Locks between threads and processes of one machine: files that are gone when nobody holds them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from provision.errors import DeadlineError, DriverError

_PAUSE = 0.01
#: seconds: a network's start and some volumes' removal; the upload of a base
HYPERVISOR_SECONDS = 180.0
BASE_SECONDS = 1200.0


def hypervisor(uri: str) -> contextlib.AbstractContextManager[None]:
    """The lock of a hypervisor: whoever changes what machines share there holds it, for moments."""
    return locked("the hypervisor", uri, seconds=HYPERVISOR_SECONDS)


@contextlib.contextmanager
def locked(*what: str, seconds: float, folder: Path | None = None) -> Iterator[None]:
    """Only one caller on this machine is inside with the same `what`. A killed owner frees it by dying.

    Raises DeadlineError, naming the process that holds it, when it is not free in time.
    """
    path = (folder or _folder()) / f"provision-{hashlib.sha256(chr(0).join(what).encode()).hexdigest()[:16]}.lock"
    descriptor = _taken(path, seconds, " ".join(what))
    try:
        yield
    finally:
        # Removed while it is held: whoever waits for it sees that the name is gone, and makes it anew.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _taken(path: Path, seconds: float, what: str) -> int:
    deadline = time.monotonic() + seconds
    while True:
        descriptor = _open(path)
        try:
            _wait(descriptor, deadline, seconds, what)
            if _is(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _wait(descriptor: int, deadline: float, seconds: float, what: str) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                raise DeadlineError(f"waiting for {what}", seconds, f"process {owner} is at work on it") from None
            time.sleep(_PAUSE)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return


def _open(path: Path) -> int:
    """Without O_CREAT first: in a folder of everybody the kernel refuses it for a file that is another user's."""
    while True:
        try:
            try:
                return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        except OSError as exc:
            raise DriverError(f"cannot lock {path}: {exc.strerror}", hint=f"look at {path}, and remove it") from exc
        os.fchmod(descriptor, 0o666)  # whatever the umask: another user's command takes turns with ours
        return descriptor


def _is(descriptor: int, path: Path) -> bool:
    """Whether the name still leads to this file: its owner may have removed it while we waited."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _folder() -> Path:
    """Everybody's, and in memory where there is such a one."""
    shared = Path("/run/lock")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
