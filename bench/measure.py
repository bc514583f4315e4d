"""Run one process and say what it took: time, CPU, memory, threads, open files."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: seconds between two looks at a running process
_EVERY = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A process that has ended. `status` is its exit status, or minus the signal that ended it.

    `cpu` is user and system time in seconds, of children that it waited for too; `peak_memory` is resident bytes, its
    own. `threads` and `files` are the highest numbers that were seen at looks 50 ms apart.
    """

    status: int
    seconds: float
    cpu: float
    peak_memory: int
    threads: int
    files: int
    stdout: str
    stderr: str


def run_measured(
    argv: Sequence[str | Path], environ: Mapping[str, str], cwd: Path, *, limit: float = 3600.0
) -> Measured:
    """Run it to its end, without a terminal and with an empty stdin. After `limit` seconds it is killed (status -9)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in argv], env=dict(environ), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        seen = _Seen()
        try:
            status, usage = _wait(process.pid, seen, deadline=began + limit)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for what is gone
        return Measured(
            status=process.returncode,
            seconds=seconds,
            cpu=usage.ru_utime + usage.ru_stime,
            # the kernel counts this process's peak to the child, which shared its memory until it ran its program
            peak_memory=1024 * (usage.ru_maxrss if usage.ru_maxrss > ours else seen.memory),
            threads=seen.threads,
            files=seen.files,
            stdout=_text(out.fileno()),
            stderr=_text(err.fileno()),
        )


def cpu_seconds(pid: int) -> float:
    """User and system time that a running process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class _Seen:
    """The highest that was seen of a process; memory in KiB, as the kernel's own high-water mark says."""

    def __init__(self) -> None:
        self.threads = self.files = self.memory = 0

    def look(self, pid: int) -> None:
        with contextlib.suppress(OSError):  # it may end at any moment
            status = Path(f"/proc/{pid}/status").read_text()
            self.threads = max(self.threads, _field(status, "Threads"))
            self.memory = max(self.memory, _field(status, "VmHWM"))
            self.files = max(self.files, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


def _field(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0


def _wait(pid: int, seen: _Seen, *, deadline: float) -> tuple[int, resource.struct_rusage]:
    """Look until it ends; its wait status and what it used."""
    handle = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        while not ended.poll(_EVERY * 1000):
            seen.look(pid)
            if time.monotonic() > deadline:
                os.kill(pid, 9)
    finally:
        os.close(handle)
    _, status, usage = os.wait4(pid, 0)
    return status, usage


def _text(handle: int) -> str:
    size = os.fstat(handle).st_size
    return os.pread(handle, size, 0).decode(errors="replace")
