"""This machine as the driver's checks see it: its files, its programs, who asks, whom QEMU runs as."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from provision.driver import Finding
from provision.local.commands import SEARCH_PATH
from provision_libvirt.folders import Account, account_of, qemu_account, unsearchable

#: the emulator's Debian package, by the kernel's name of the architecture
_EMULATORS = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}


def _myself() -> Account:
    own = account_of(str(os.geteuid()))
    groups = frozenset({os.getegid(), *os.getgroups()})
    return Account(own.name if own else str(os.geteuid()), os.geteuid(), groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """This machine, as far as it matters: its files below `root`, its programs, who asks, and whom QEMU runs as."""

    root: Path = Path("/")
    search_path: str = SEARCH_PATH
    me: Account = field(default_factory=_myself)
    qemu: Account | None = field(default_factory=qemu_account)
    arch: str = field(default_factory=platform.machine)

    @property
    def emulator(self) -> str:
        """The Debian package of this architecture's QEMU."""
        return emulator_package(self.arch)

    def has(self, program: str) -> bool:
        """Whether a program is installed."""
        return shutil.which(program, path=self.search_path) is not None


def emulator_package(arch: str) -> str:
    """The Debian package that has QEMU for an architecture, named as the kernel names it."""
    return _EMULATORS.get(arch, "qemu-system")


def kept_out(path: str, place: Workplace) -> Iterator[Finding]:
    """That QEMU cannot get at a file of this machine for want of a right on a folder above it."""
    below = place.root / path.lstrip("/")
    folder = unsearchable(below, place.qemu, root=place.root) if place.qemu else None
    if folder is not None and place.qemu is not None:
        yield Finding(
            summary=f"QEMU (user {place.qemu.name}) may not search {folder}, which is above {below}",
            fix=f"chmod o+x {folder}",
        )
