"""For tests that boot machines: namespaces of their own, and a look at what is left behind.

    with own_namespaces():
        ...  # this process, its later threads and its children have a network (loopback only) and mounts of their own

Nothing booted inside reaches the outside or is seen there, and `ip netns` lists only what the test has made.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from provision.local.commands import Commands
from provision_nspawn import cgroups
from provision_nspawn.kernel import raise_limits
from provision_nspawn.layout import Layout
from provision_nspawn.network import NAMESPACES

_NEWNS, _NEWNET = 0x00020000, 0x40000000
_REC, _SLAVE = 0x4000, 0x80000


@contextlib.contextmanager
def own_namespaces() -> Iterator[None]:
    """Move this thread, and so all threads and processes that it starts, into new network and mount namespaces.

    Root only; call it on the main thread, before threads that shall be inside. Afterwards the thread is back in the
    old network namespace; it keeps the mounts, which differ from the old ones in an empty /run/netns only. Raises
    OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # from inside there may be no way to the namespace whose limits count for all
    raise_limits(Commands())
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(libc.unshare(_NEWNS | _NEWNET), "unshare")
        _check(libc.mount(b"none", b"/", None, _REC | _SLAVE, None), "mount --make-rslave /")
        NAMESPACES.mkdir(exist_ok=True)
        _check(libc.mount(b"tmpfs", bytes(NAMESPACES), b"tmpfs", 0, b"mode=0755"), "mount tmpfs")
        Commands().run("ip", "link", "set", "lo", "up")
        try:
            yield
        finally:
            _check(libc.umount2(bytes(NAMESPACES), 2), "umount")
            _check(libc.setns(before, _NEWNET), "setns")
    finally:
        os.close(before)


def leftovers(layout: Layout) -> Sequence[str]:
    """What machines of this data folder have left in this network namespace, on disk and among the processes."""
    found = [f"file {path}" for path in layout.machines.rglob("*")] if layout.machines.exists() else []
    commands = Commands()
    links = commands.run("ip", "-brief", "link", "show").splitlines()
    found += [f"link {line.split()[0]}" for line in links if line.startswith(("pvb-", "pvv-"))]
    if NAMESPACES.is_dir():
        found += [f"namespace {path.name}" for path in NAMESPACES.glob("provision-*")]
    tables = commands.run("nft", "list", "tables").splitlines()
    found += [f"nftables {line}" for line in tables if " provision-" in line]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if any(str(layout.machines) in word for word in words):
                found.append(f"process {path.parent.name} {words[0]}")
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            if str(layout.machines) in path.read_text():
                found.append(f"mount in process {path.parent.name}")
    return found


def control_groups(unit: str) -> Sequence[Path]:
    """The groups that a machine (by its `provider_id`) has now."""
    return [root / unit for root in cgroups.hierarchies().roots() if (root / unit).exists()]


def scan_host_key(address: str, *, seconds: float) -> str:
    """The ed25519 key that an sshd shows, waited for as long; empty when it never answered."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = subprocess.run(
            ("ssh-keyscan", "-T", "1", "-t", "ed25519", address), capture_output=True, text=True, check=False
        )
        for line in done.stdout.splitlines():
            if not line.startswith("#"):
                return line.split(" ", 1)[1]
        time.sleep(0.1)
    return ""


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
