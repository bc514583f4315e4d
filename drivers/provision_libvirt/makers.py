"""Who works on a half-made machine: a process of this machine that lives, or one that died."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """`host/pid/start`: a process id is used again, but not with the same start."""
    return f"{socket.gethostname()}/{os.getpid()}/{_start(os.getpid())}"


def is_at_work(maker: str) -> bool:
    """Whether that process lives. One of another machine cannot be asked, and counts as dead, for it may stay away."""
    host, _, rest = maker.partition("/")
    pid, _, start = rest.partition("/")
    if not pid.isdecimal():
        return False
    return host == socket.gethostname() and start != "" and _start(int(pid)) == start


def _start(pid: int) -> str:
    """When it started, in the kernel's ticks since boot; empty where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
