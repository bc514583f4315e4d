"""What is asked of who makes virtual machines, and when the machines have answered."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from provision.images.store import DiskImage
from provision_libvirt.testing import OwnLibvirtd

#: what every machine has: GiB of disk, MiB of memory, processors, and the user who logs in
DISK, MEMORY, CPUS, USER = 15, 1024, 1, "root"

#: seconds between two looks at what does not answer yet, and until a look is given up
_EVERY, _CONNECT, _COMMAND = 0.05, 0.25, 30.0
_SSH = ("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR")


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSite:
    """A libvirtd with nothing on it, a user's home and scratch space. `key` is the user's own, in `~/.ssh`.

    `machines` is how many shall be made, `image` what they boot from, `environ` what a command gets.
    """

    folder: Path
    machines: int
    image: DiskImage
    libvirtd: OwnLibvirtd
    key: Path
    environ: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Door:
    """A machine by the name that it shall have, where it answers, and the options of ssh that open it."""

    name: str
    address: str
    options: tuple[str, ...]

    @property
    def argv(self) -> tuple[str, ...]:
        """The first command: it prints the machine's name."""
        options = (word for option in self.options for word in ("-o", option))
        return (*_SSH, *options, f"{USER}@{self.address}", "hostname")


class VmContender(Protocol):
    """One way to make the machines."""

    name: str
    #: how its command may end that is interrupted once the machines have answered; None: it is left to end by itself
    interrupted: int | None

    def versions(self, environ: Mapping[str, str]) -> str:
        """What runs, with versions, for the report."""
        ...

    def prepare(self, site: VmSite) -> None:
        """Write what it needs to run; not measured."""
        ...

    def argv(self, site: VmSite) -> tuple[str, ...]:
        """The command that is measured."""
        ...

    def doors(self, site: VmSite) -> Sequence[Door]:
        """The machines whose addresses are decided by now."""
        ...

    def forget(self, site: VmSite) -> None:
        """Remove the machines and all that was made with them; not measured. Raises RuntimeError."""
        ...


def first_answers(site: VmSite, contender: VmContender, *, going: Callable[[], None], seconds: float) -> float:
    """Wait until every machine has answered a command over SSH; when the last one did, by the monotonic clock.

    `going` is called every now and then, and raises when there is nothing to wait for any more. Raises RuntimeError
    with the last cause after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while len(doors := contender.doors(site)) < site.machines:
        going()
        _not_after(deadline, f"{contender.name}: {len(doors)} of {site.machines} machines have an address")
        time.sleep(5 * _EVERY)
    over = threading.Event()
    with ThreadPoolExecutor(site.machines) as pool:
        try:
            return max(pool.map(lambda door: _answered(door, going, over, deadline), doors))
        finally:
            over.set()  # the pool's end waits for its threads, also when this one is told to end


def _answered(door: Door, going: Callable[[], None], over: threading.Event, deadline: float) -> float:
    """sshd's banner is waited for first: an ssh of its own for each look would be work that is measured too."""
    while True:
        going()
        last = _banner(door.address) or _command(door)
        if not last:
            return time.monotonic()
        _not_after(deadline, f"{door.name} does not answer: {last}")
        if over.wait(_EVERY):
            raise RuntimeError(f"{door.name} is not waited for any more: {last}")


def _banner(address: str) -> str:
    """What is wrong with it; empty: sshd is there."""
    try:
        with socket.create_connection((address, 22), timeout=_CONNECT) as connection:
            connection.settimeout(10 * _CONNECT)
            return "" if connection.recv(4) == b"SSH-" else "no banner"
    except OSError as error:
        return str(error)


def _command(door: Door) -> str:
    try:
        done = subprocess.run(
            door.argv, capture_output=True, text=True, check=False, timeout=_COMMAND, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_COMMAND:.0f} s"
    if done.returncode != 0:
        return done.stderr.strip() or f"ssh ended with {done.returncode}"
    return "" if done.stdout.strip() == door.name else f"it is called {done.stdout.strip()!r}"


def _not_after(deadline: float, last: str) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(last)
