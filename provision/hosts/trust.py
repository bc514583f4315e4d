"""Whether a host's key is the one that it must be. Nothing here ever says "probably"."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from provision.errors import HostKeyError


def fingerprint(key_line: str) -> str:
    """`SHA256:…` of a public key line (`ssh-ed25519 AAAA… comment`), as ssh-keygen -l prints it."""
    digest = hashlib.sha256(base64.b64decode(key_line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is known of one machine's host key before it is met.

    `stated` comes from the inventory or the driver and wins over `pinned`, what this cluster saw and verified before;
    `users` is the user's own known_hosts. Each holds key lines; `stated` may hold a fingerprint instead.
    """

    machine: str
    stated: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    #: keys that the user's known_hosts marks as revoked
    revoked: tuple[str, ...] = ()
    accept_new: bool = False
    #: told each key that was accepted and is not pinned yet
    pin: Callable[[str], None] = field(default=lambda _: None)
    #: where a pinned key stands, for the hint
    pinned_in: str = ""
    #: how an unknown key becomes known, where it is not by the inventory
    learn: str = ""

    def key_types(self) -> tuple[str, ...]:
        """The types of the keys that are known, the best known first, so that the server is asked for one of these."""
        known = next((keys for keys in (self.stated, self.pinned, self.users) if keys), ())
        return tuple(dict.fromkeys(key.split()[0] for key in known if " " in key))

    def check(self, offered: str) -> None:
        """Return when the offered key line is the right one, else raise HostKeyError. Pins what it accepts."""
        if _among(offered, self.revoked):
            raise HostKeyError(
                f"{self.machine}: its SSH host key is revoked",
                detail=f"it offers {offered.split(maxsplit=1)[0]} {fingerprint(offered)}",
                hint="your known_hosts says @revoked; give the machine a new key",
            )
        for known in (self.stated, self.pinned, self.users):
            if not known:
                continue
            if not _among(offered, known):
                raise _changed(self, offered, known)
            if not _among(offered, self.pinned):
                self.pin(_bare(offered))
            return
        if not self.accept_new:
            raise _unknown(self, offered)
        self.pin(_bare(offered))


def _bare(line: str) -> str:
    return " ".join(line.split()[:2])


def _among(offered: str, known: Iterable[str]) -> bool:
    return any(
        fingerprint(offered) == entry if entry.startswith("SHA256:") else _bare(offered) == _bare(entry)
        for entry in known
    )


def _unknown(trust: Trust, offered: str) -> HostKeyError:
    kind = offered.split(maxsplit=1)[0]
    return HostKeyError(
        f"{trust.machine}: its SSH host key is not known",
        detail=f"it offers {kind} {fingerprint(offered)}",
        hint=trust.learn
        or "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the machine's console, then set\n"
        f"      `host_key: {fingerprint(offered)}` in the inventory, or run again with --accept-new-host-keys",
    )


def _changed(trust: Trust, offered: str, known: Sequence[str]) -> HostKeyError:
    expected = ", ".join(entry if entry.startswith("SHA256:") else fingerprint(entry) for entry in known)
    if known is trust.stated:
        where = "correct `host_key:` in the inventory"
        if any(entry.startswith("SHA256:") for entry in known):
            where += " (the fingerprint may be of another of its keys: state the one that it offers)"
    elif known is trust.pinned:
        where = f"remove the old one: ssh-keygen -f {trust.pinned_in} -R {trust.machine}"
    else:
        where = "remove the old one from your ~/.ssh/known_hosts"
    return HostKeyError(
        f"{trust.machine}: its SSH host key has changed; somebody may be listening in",
        detail=f"it offers {offered.split(maxsplit=1)[0]} {fingerprint(offered)}\nknown is {expected}",
        hint=f"only if the machine was set up anew, {where}",
    )
