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
from provision.state.together import Together


@dataclass(frozen=True, slots=True)
class _Pin:
    """The only lines that are to name a machine or its address."""

    names: frozenset[str | None]
    lines: tuple[str, ...]


class KnownHosts:
    """Reads and writes one known_hosts file. Threads may share it; each change is durable on return."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._together: Together[_Pin, bool] = Together(self._pin_all)
        #: the file as it was read last, and what tells whether it is still that one
        self._read: tuple[tuple[int, int, int], list[str]] | None = None

    def lookup(self, name: str) -> tuple[str, ...]:
        """The keys that are known of a machine (or of an `[address]:port`), each `type base64`.

        Empty when none.
        """
        with self._guard:
            lines = self._lines()
        found = (line.split() for line in lines)
        return tuple(f"{words[1]} {words[2]}" for words in found if len(words) > 2 and name in words[0].split(","))

    def pin(self, name: str, *, address: str | None, port: int | None, keys: Iterable[str]) -> bool:
        """Make `keys` the only ones that are known of this machine; returns whether anything changed.

        A key is a public key line, with or without a comment. The caller vouches for them; whether a changed
        key may be accepted is not decided here. An address that another machine had is this one's from now
        on.
        """
        wanted = tuple(dict.fromkeys(_key(name, key) for key in keys))
        if not wanted:
            raise StateError(f"no host key of {name} to remember")
        place = None if address is None else host_pattern(address, port)
        hosts = ",".join(_host(part) for part in (name, place) if part is not None)
        return self._together(_Pin(frozenset({name, place}), tuple(f"{hosts} {key}" for key in wanted)))

    def forget(self, name: str) -> bool:
        """Remove all that is known of a machine, its address too; returns whether anything was."""
        with self._guard:
            before = self._lines()
            return self._replace(before, [line for line in before if name not in line.split()[0].split(",")])

    def _pin_all(self, pins: Sequence[_Pin]) -> Sequence[bool]:
        with self._guard:
            before = lines = self._lines()
            changed = []
            for pin in pins:
                others = [kept for line in lines if (kept := _without(line, pin.names))]
                pinned = [*others, *pin.lines]
                changed.append(sorted(lines) != sorted(pinned))
                lines = pinned
            self._replace(before, lines)
        return changed

    def _lines(self) -> list[str]:
        try:
            found = self.path.stat()
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._read is not None and self._read[0] == mark:
                return self._read[1]
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"cannot read {self.path}", detail=str(error)) from error
        lines = [line for line in text.splitlines() if line.strip()]
        self._read = (mark, lines)
        return lines

    def _replace(self, before: list[str], after: list[str]) -> bool:
        if sorted(before) == sorted(after):
            return False
        text = "".join(f"{line}\n" for line in sorted(after))
        try:
            write_atomic(self.path, text.encode())
        except OSError as error:
            raise StateError(f"cannot write {self.path}", detail=str(error)) from error
        return True


def host_pattern(address: str, port: int | None) -> str:
    """An address as known_hosts names it: alone where the port is 22 or None, `[address]:port` elsewhere."""
    return address if port in {None, 22} else f"[{address}]:{port}"


def _without(line: str, names: frozenset[str | None]) -> str:
    # a line loses the names that are given away; one that names a machine keeps standing for it
    hosts, _, rest = line.partition(" ")
    kept = [host for host in hosts.split(",") if host not in names]
    if len(kept) == len(hosts.split(",")):
        return line
    is_machine = kept and hosts.split(",")[0] == kept[0]
    return f"{','.join(kept)} {rest}" if is_machine else ""


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
