"""Processes by id and start time, never by id alone; killing them and waiting for their end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from provision.errors import DeadlineError
from provision_nspawn.records import ProcessRecord


def boot_id() -> str:
    """Differs from one boot of this machine to the next."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold blanks and parentheses itself.
    words = stat.rpartition(")")[2].split()
    return None if words[0] in "ZX" else int(words[19])


def is_alive(process: ProcessRecord | None) -> bool:
    """Whether this very process runs, not another one with its id."""
    return process is not None and process.boot == boot_id() and start_time(process.pid) == process.start


def children(pid: int) -> tuple[int, ...]:
    """The processes whose parent is this process's first thread, which is the only one that systemd-nspawn has."""
    with contextlib.suppress(OSError):
        return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    # A kernel without CONFIG_PROC_CHILDREN, or the process is gone.
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = (entry / "stat").read_text(errors="replace")
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return tuple(found)


def open_alive(process: ProcessRecord | None) -> int | None:
    """A descriptor of this very process (close it), or None when it is gone."""
    if process is None or not is_alive(process):
        return None
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # Between the look and the open the id may have gone to another process; the descriptor is for good.
    if is_alive(process):
        return descriptor
    os.close(descriptor)
    return None


def ends_within(descriptor: int, seconds: float) -> bool:
    """Wait for the end of the process behind the descriptor; False when it still runs."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0, int(seconds * 1000))))


def kill_all(pids: Iterable[int], *, seconds: float) -> None:
    """SIGKILL these processes and wait until they are gone. Raises DeadlineError naming one that stays."""
    descriptors = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptors[pid] = os.pidfd_open(pid)
    deadline = time.monotonic() + seconds
    try:
        for descriptor in descriptors.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for pid, descriptor in descriptors.items():
            if not ends_within(descriptor, deadline - time.monotonic()):
                raise DeadlineError(f"killing process {pid}", seconds, _doing(pid))
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _doing(pid: int) -> str:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("State:"):
                return line
    return "it does not end"
