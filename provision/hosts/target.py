"""Where and how one machine is reached: inventory, the user's ssh config and defaults, settled into plain values."""

from __future__ import annotations

import getpass
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from provision.driver import Machine
from provision.errors import UsageError
from provision.inventory.cluster import SshSettings

if TYPE_CHECKING:
    from paramiko import SSHConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A jump host on the way; its key is checked against the user's known_hosts."""

    address: str
    port: int
    user: str
    alias: str
    identity_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One SSH door. `alias` is the name under which the user's known_hosts has it. `made`: a driver of ours made the
    machine, so only the cluster's key opens it, and a refused login means that it still boots."""

    machine: str
    address: str
    port: int
    user: str
    alias: str
    made: bool
    identity_files: tuple[str, ...] = ()
    hops: tuple[Hop, ...] = ()
    proxy_command: str | None = None
    #: the jump hosts as they were written, aliases of the user's ssh config and all
    jump: str | None = None
    known_hosts: tuple[str, ...] = field(default=("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"))


def target_of(machine: Machine, ssh: SshSettings, *, made: bool) -> Target:
    """The target of a machine that has an address. What the inventory says wins over the user's ssh config, as the
    command line of ssh would."""
    if machine.address is None:
        raise UsageError(f"{machine.name} has no address", hint="if it is stopped, provision up starts it")
    if made:
        return Target(
            machine=machine.name,
            address=machine.address,
            port=machine.port or 22,
            user=machine.user or "root",
            alias=machine.address,
            made=True,
            identity_files=(machine.identity_file,) if machine.identity_file else (),
            hops=_hops(machine.jump or ssh.jump),
            jump=machine.jump or ssh.jump,
        )
    found = _lookup(machine.address)
    identities = [machine.identity_file, ssh.identity_file, *found.get("identityfile", ())]
    jump = machine.jump or ssh.jump or str(found.get("proxyjump", "none"))
    hops = _hops(jump)
    command = str(found.get("proxycommand", "none"))
    return Target(
        machine=machine.name,
        address=str(found.get("hostname", machine.address)),
        port=int(machine.port or ssh.port or str(found.get("port", 22))),
        user=machine.user or ssh.user or str(found.get("user", getpass.getuser())),
        alias=str(found.get("hostkeyalias", found.get("hostname", machine.address))),
        made=False,
        identity_files=_present(identities),
        hops=hops,
        jump=jump if hops else None,
        proxy_command=None if hops or command == "none" else command,
        known_hosts=(
            *str(found.get("userknownhostsfile", "~/.ssh/known_hosts")).split(),
            "/etc/ssh/ssh_known_hosts",
        ),
    )


def _hops(jump: str | None) -> tuple[Hop, ...]:
    """`user@host:port,…` as ProxyJump writes it, in the order of travel; each may be an alias of the ssh config."""
    if not jump or jump == "none":
        return ()
    hops = []
    for part in jump.split(","):
        user, _, rest = part.strip().rpartition("@")
        host, _, port = rest.partition(":") if rest.count(":") == 1 else (rest.strip("[]"), "", "")
        found = _lookup(host)
        address = str(found.get("hostname", host))
        hops.append(
            Hop(
                address=address,
                port=int(port or str(found.get("port", 22))),
                user=user or str(found.get("user", getpass.getuser())),
                alias=str(found.get("hostkeyalias", address)),
                identity_files=_present(list(found.get("identityfile", ()))),
            )
        )
    return tuple(hops)


def _present(files: list[str | None]) -> tuple[str, ...]:
    expanded = [str(Path(name).expanduser()) for name in files if name]
    return tuple(dict.fromkeys(name for name in expanded if Path(name).is_file()))


def _lookup(host: str) -> Mapping[str, str | list[str]]:
    return _user_config().lookup(host)


@lru_cache(maxsize=1)
def _user_config() -> SSHConfig:
    """The user's ssh config, read once a process. PROVISION_SSH_CONFIG names another file than ~/.ssh/config."""
    from paramiko import SSHConfig

    path = Path(os.environ.get("PROVISION_SSH_CONFIG") or Path(pwd.getpwuid(os.getuid()).pw_dir, ".ssh", "config"))
    return SSHConfig.from_path(str(path)) if path.is_file() else SSHConfig()
