"""What a machine has of its own before it boots: names, resolver, SSH identity, login. Written into the overlay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from provision.driver import HostKeyPair
from provision_nspawn.users import Accounts, add_login, find_login


@dataclass(frozen=True, slots=True)
class Overlay:
    """A guest's root before it is mounted: what is written goes to `upper`, what is read is upper's or the tree's."""

    tree: Path
    upper: Path

    def read(self, path: str) -> str:
        """A file as the guest will see it; empty when there is none."""
        for root in (self.upper, self.tree):
            file = root / path.lstrip("/")
            if file.is_file():
                return file.read_text()
        return ""

    def write(self, path: str, text: str, *, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """A file of the guest's own; its folders look as in the tree, for the upper one's owner and mode count."""
        file = self.upper / path.lstrip("/")
        self.folder(str(Path(path).parent))
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            stream.write(text)

    def folder(self, path: str, *, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
        """A folder and those above it: as the tree has them, and what the tree lacks with this mode and owner."""
        upper, lower = self.upper, self.tree
        for part in Path(path.lstrip("/")).parts:
            upper, lower = upper / part, lower / part
            if upper.exists():
                continue
            upper.mkdir()
            if lower.is_dir():
                shutil.copystat(lower, upper)
                os.chown(upper, lower.stat().st_uid, lower.stat().st_gid)
            else:
                upper.chmod(mode)
                os.chown(upper, *owner)


def write_identity(guest: Overlay, *, name: str, resolv_conf: str) -> None:
    """The machine's name, an id that its first boot makes, and its resolver."""
    guest.write("/etc/hostname", f"{name}\n")
    guest.write("/etc/machine-id", "", mode=0o444)
    guest.write("/etc/resolv.conf", resolv_conf)


def write_ssh(guest: Overlay, *, user: str, port: int, host_key: HostKeyPair, authorized_keys: Iterable[str]) -> None:
    """The host key, the port and who may log in; the image lets sshd use this one host key only.

    A user other than root is made if the image has none of that name, and may use sudo without a password.
    """
    guest.write("/etc/ssh/ssh_host_ed25519_key", host_key.private.rstrip("\n") + "\n", mode=0o600)
    guest.write("/etc/ssh/ssh_host_ed25519_key.pub", host_key.public.strip() + "\n")
    if port != 22:
        guest.write("/etc/ssh/sshd_config.d/20-port.conf", f"Port {port}\n")
    home, owner = ("/root", (0, 0)) if user == "root" else _write_user(guest, user)
    guest.folder(f"{home}/.ssh", mode=0o700, owner=owner)
    keys = "".join(f"{key.strip()}\n" for key in authorized_keys)
    guest.write(f"{home}/.ssh/authorized_keys", keys, mode=0o600, owner=owner)


def _write_user(guest: Overlay, user: str) -> tuple[str, tuple[int, int]]:
    accounts = Accounts(guest.read("/etc/passwd"), guest.read("/etc/shadow"), guest.read("/etc/group"))
    login = find_login(accounts, user)
    if login is None:
        accounts, login = add_login(accounts, user)
        shadow_owner = (guest.tree / "etc/shadow").stat()
        guest.write("/etc/passwd", accounts.passwd)
        guest.write("/etc/group", accounts.group)
        guest.write("/etc/shadow", accounts.shadow, mode=0o640, owner=(0, shadow_owner.st_gid))
    owner = (login.uid, login.gid)
    guest.folder(login.home, owner=owner)
    guest.write(f"/etc/sudoers.d/90-{user}", f"{user} ALL=(ALL:ALL) NOPASSWD:ALL\n", mode=0o440)
    return login.home, owner
