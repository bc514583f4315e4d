"""The cluster's own known_hosts, in OpenSSH's format.

Each line is `<machine>,<address> <type> <base64>`, the address as `[address]:port` where the port is not 22.
The machine's name is what counts (HostKeyAlias), since an address may pass to another machine.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.state.errors import StateError
from provision.state.files import write_atomic
from provision.state.host_lines import HostLines, Rewriting
from provision.state.together import Together


@dataclass(frozen=True, slots=True)
class _Pin:
    """The only lines that are to name a machine or its address."""

    names: frozenset[str]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Forget:
    """No line is to name this any more."""

    name: str


class KnownHosts:
    """Reads and writes one known_hosts file. Threads may share it; each change is durable on return."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._together: Together[_Pin | _Forget, bool] = Together(self._change_all)
        #: the file as it was read last, and what tells whether it is still that one
        self._read: tuple[tuple[int, int, int], HostLines] | None = None

    def lookup(self, name: str) -> tuple[str, ...]:
        """The keys that are known of a machine (or of an `[address]:port`), each `type base64`.

        Empty when none.
        """
        with self._guard:
            return self._lines().keys_of(name)

    def pin(self, name: str, *, address: str | None, port: int | None, keys: Iterable[str]) -> bool:
        """Make `keys` the only ones that are known of this machine; returns whether anything changed.

        A key is a public key line, with or without a comment. The caller vouches for them; whether a changed
        key may be accepted is not decided here. An address that another machine had is this one's from now
        on.
        """
        wanted = tuple(dict.fromkeys(_key(name, key) for key in keys))
        if not wanted:
            raise StateError(f"no host key of {name} to remember")
        names = [_host(part) for part in (name, *([] if address is None else [host_pattern(address, port)]))]
        return self._together(_Pin(frozenset(names), tuple(f"{','.join(names)} {key}" for key in wanted)))

    def forget(self, name: str) -> bool:
        """Remove all that is known of a machine, its address too; returns whether anything was."""
        return self._together(_Forget(name))

    def _change_all(self, changes: Sequence[_Pin | _Forget]) -> Sequence[bool]:
        with self._guard:
            before = self._lines()
            after = Rewriting(before)
            changed = [
                after.pin(change.names, change.lines) if isinstance(change, _Pin) else after.drop(change.name)
                for change in changes
            ]
            self._replace(before.lines, after.lines)
        return changed

    def _lines(self) -> HostLines:
        try:
            found = self.path.stat()
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._read is not None and self._read[0] == mark:
                return self._read[1]
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return HostLines()
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"cannot read {self.path}", detail=str(error)) from error
        lines = HostLines(line for line in text.splitlines() if line.strip())
        self._read = (mark, lines)
        return lines

    def _replace(self, before: Sequence[str], after: Sequence[str]) -> None:
        if sorted(before) == sorted(after):
            return
        text = "".join(f"{line}\n" for line in sorted(after))
        try:
            write_atomic(self.path, text.encode())
        except OSError as error:
            raise StateError(f"cannot write {self.path}", detail=str(error)) from error


def host_pattern(address: str, port: int | None) -> str:
    """An address as known_hosts names it: alone where the port is 22 or None, `[address]:port` elsewhere."""
    return address if port in {None, 22} else f"[{address}]:{port}"


def _host(text: str) -> str:
    if not text or any(char.isspace() or char in ",*?!#|@" for char in text):
        raise StateError(f"{text!r} cannot be a host's name or address")
    return text


def _key(name: str, line: str) -> str:
    words = line.split()
    try:
        data = base64.b64decode(words[1], validate=True)
        kind = data[4 : 4 + int.from_bytes(data[:4], "big")].decode()
    except (IndexError, ValueError) as error:
        raise _not_a_key(name, line) from error
    if kind != words[0] or len(line.strip().splitlines()) != 1:
        raise _not_a_key(name, line)
    return f"{words[0]} {words[1]}"


def _not_a_key(name: str, line: str) -> StateError:
    return StateError(
        f"{line[:60]!r} is not a public host key of {name}",
        hint="a key is one line like 'ssh-ed25519 AAAA…'; a fingerprint alone is not enough",
    )
