"""Names: the hosts file that a cluster's machines share, and the name servers that they may ask."""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from provision_nspawn.records import MachineRecord

_HEAD = """127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
"""


def hosts_text(machines: Iterable[MachineRecord]) -> str:
    """/etc/hosts for all of them. With its own name in it no machine asks a name server who it is."""
    return _HEAD + "".join(f"{machine.address} {machine.name}\n" for machine in machines)


def write_in_place(path: Path, text: str) -> None:
    """Give a file new content but not a new inode: running machines have this very file bound at /etc/hosts."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        content = text.encode()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def resolv_conf(*, way_out: bool, etc: Path = Path("/etc"), run: Path = Path("/run")) -> str:
    """What a guest's resolver is told: this machine's name servers, or nothing where there is no way out.

    An empty file lets a look-up fail at once; a name server that never answers costs 20 s each time. A server on the
    loopback is this machine's own stub, which a guest cannot reach: then those behind systemd-resolved are named.
    """
    if not way_out:
        return ""
    for path in (etc / "resolv.conf", run / "systemd/resolve/resolv.conf"):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        kept = [line for line in lines if _is_of_use(line.split())]
        if any(line.startswith("nameserver") for line in kept):
            return "".join(f"{line}\n" for line in kept)
    return ""


def _is_of_use(words: list[str]) -> bool:
    if len(words) < 2 or words[0] not in ("nameserver", "search", "options"):
        return False
    if words[0] != "nameserver":
        return True
    try:
        address = ip_address(words[1].partition("%")[0])
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback
