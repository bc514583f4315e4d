"""How to be root for a build: as root, or in a user namespace where a file's owner is one of the user's own ids."""

from __future__ import annotations

import getpass
import os
import shutil
from pathlib import Path

from provision.errors import DriverError
from provision.local.commands import SEARCH_PATH, Commands

_AS_ROOT = "or build as root: sudo provision image build …"
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--map-auto")

#: Where kernels refuse user namespaces: the file, what it holds then, the setting that allows them.
_REFUSALS = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
)


def as_root(commands: Commands) -> tuple[str, ...]:
    """What stands before a command so that it is root: nothing for root, else the way into a user namespace.

    Raises DriverError with what is missing on this machine and the command that mends it.
    """
    if os.geteuid() == 0:
        return ()
    _check_ids()
    tried = commands.attempt(*_NAMESPACE, "true")
    if tried.returncode != 0:
        raise DriverError(
            "this machine lets no ordinary user be root in a user namespace",
            detail=f"    {tried.stderr.strip()}",
            hint="; ".join([*(f"sudo sysctl -w {setting}" for setting in _refusals()), _AS_ROOT]),
        )
    return _NAMESPACE


def _check_ids() -> None:
    """A user namespace needs ids of the user's own, and the program that gives them out."""
    if shutil.which("newuidmap", path=SEARCH_PATH) is None:
        raise DriverError(
            "without root, a build needs the program 'newuidmap'", hint=f"sudo apt-get install uidmap, {_AS_ROOT}"
        )
    user, uid = getpass.getuser(), str(os.getuid())
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        owners = [line.partition(":")[0] for line in path.read_text().splitlines()] if path.exists() else []
        if user not in owners and uid not in owners:
            ids = "--add-subuids 100000-165535 --add-subgids 100000-165535"
            raise DriverError(
                f"without root, a build needs ids of its own, and {path} gives {user} none",
                hint=f"sudo usermod {ids} {user}, {_AS_ROOT}",
            )


def _refusals() -> list[str]:
    root = Path("/proc/sys")
    return [setting for file, refused, setting in _REFUSALS if _value(root / file) == refused]


def _value(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
