"""The cluster's part of this user's ssh config: `ssh lab-worker-1` works, with the host key checked.

`render` is pure; the file it fills belongs to the cluster. What the user's own config holds is in
ssh_include.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from provision.driver import Machine
from provision.errors import ProvisionError
from provision.state.paths import ClusterPaths

_WORD = re.compile(r"[^\s\"'\\#=*?!,]+")
_JUMP = re.compile(r"[^\s\"'\\#]+")


def render(
    paths: ClusterPaths, machines: Iterable[Machine], *, proxy_commands: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A `Host` block for each machine that has an address, ordered by name; OpenSSH 7.3 and later read it.

    User and port that are None are left out, so the user's own config below decides. Connections are not
    shared (ControlMaster): a master would outlive the command, and `down` leaves no process behind. Who wants
    it for `docker stack deploy`'s many connections sets it for these hosts in the own config. `proxy_commands`
    are those of machines, by name, as the user's own config has them. Raises
    ProvisionError for a value that the format cannot hold.
    """
    blocks = [
        _block(paths, machine, proxy_commands.get(machine.name))
        for machine in sorted(machines, key=lambda machine: (machine.group, machine.number, machine.name))
        if machine.address
    ]
    head = f"# cluster {paths.cluster}; written by provision, changes are lost\n"
    return "\n".join([head, *blocks])


def _block(paths: ClusterPaths, machine: Machine, proxy_command: str | None) -> str:
    name = _word("name", machine.name)
    lines = [
        f"HostName {_word('address', machine.address or '')}",
        # the name, not the address, is what the known_hosts of the cluster vouches for
        f"HostKeyAlias {name}",
        f"UserKnownHostsFile {quote(paths.known_hosts)}",
        "GlobalKnownHostsFile /dev/null",
        "StrictHostKeyChecking yes",
        "CheckHostIP no",
        f"IdentityFile {quote(paths.private_key)}",
        "IdentitiesOnly yes",
        # a machine that is gone is noticed, rather than waited for
        "ConnectTimeout 15",
        "ServerAliveInterval 15",
    ]
    if machine.identity_file:
        lines.append(f"IdentityFile {quote(Path(machine.identity_file))}")
    if machine.user is not None:
        lines.append(f"User {_word('user', machine.user)}")
    if machine.port is not None:
        lines.append(f"Port {machine.port}")
    if machine.jump is not None:
        if not _JUMP.fullmatch(machine.jump) or machine.jump.startswith("-"):
            raise _cannot("jump host", machine.jump)
        lines.append(f"ProxyJump {machine.jump}")
    elif proxy_command is not None:
        if "\n" in proxy_command:
            raise _cannot("proxy command", proxy_command)
        lines.append(f"ProxyCommand {proxy_command}")
    return "".join([f"Host {name}\n", *(f"    {line}\n" for line in lines)])


def quote(path: Path) -> str:
    """A path as ssh_config takes it: quoted where it has blanks, `%` doubled since it would be expanded.

    Raises ProvisionError for what no quoting can protect in every OpenSSH: quotes, backslashes, line ends,
    `${`.
    """
    text = str(path)
    if re.search(r"[\"'\\\x00-\x1f]|\$\{", text):
        raise _cannot("path", text)
    escaped = text.replace("%", "%%")
    return f'"{escaped}"' if re.search(r"[\s#=]", escaped) else escaped


def _word(what: str, text: str) -> str:
    if not _WORD.fullmatch(text) or text.startswith("-"):
        raise _cannot(what, text)
    # in HostName `%h` is the name that was typed; an IPv6 address may have a zone (`fe80::1%eth0`)
    return text.replace("%", "%%")


def _cannot(what: str, text: str) -> ProvisionError:
    return ProvisionError(f"{what} {text!r} cannot be written into an ssh config")
