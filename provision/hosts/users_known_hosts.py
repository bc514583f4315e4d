"""The user's own known_hosts files, read once a process."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path


def lookup(files: tuple[str, ...], alias: str, port: int) -> tuple[str, ...]:
    """The key lines that these files have for a host, as ssh would find them: by name, pattern or hashed name.

    A missing file has none. Lines that ssh could not read either count for nothing, and neither do certificate
    authorities.
    """
    return _find(files, alias, port, marker="")


def revoked(files: tuple[str, ...], alias: str, port: int) -> tuple[str, ...]:
    """The key lines that these files mark `@revoked` for a host: never to be trusted, whatever else says so."""
    return _find(files, alias, port, marker="@revoked")


def _find(files: tuple[str, ...], alias: str, port: int, *, marker: str) -> tuple[str, ...]:
    name = alias.lower() if port == 22 else f"[{alias.lower()}]:{port}"
    known = (_load(str(Path(file).expanduser())).get(marker) for file in files)
    return tuple(dict.fromkeys(key for lines in known if lines for key in lines.keys_of(name)))


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of a file that bear one marker, by their number: those that name hosts plainly, found by the name;
    those with patterns or hashes, which must be tried one by one."""

    plain: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    patterns: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, number: int, hosts: str, key: str) -> None:
        if any(sign in hosts for sign in "*?!|"):
            self.patterns.append((number, hosts, key))
            return
        for host in hosts.lower().split(","):
            self.plain.setdefault(host, []).append((number, key))

    def keys_of(self, name: str) -> list[str]:
        """The keys of a host, in the order of the lines."""
        found = [(number, key) for number, hosts, key in self.patterns if _names(hosts, name)]
        return [key for _, key in sorted([*self.plain.get(name, ()), *found])]


@lru_cache(maxsize=16)
def _load(path: str) -> dict[str, _Lines]:
    """A file's lines by their marker, which is empty for most."""
    if not Path(path).is_file():
        return {}
    found: dict[str, _Lines] = {}
    for number, line in enumerate(Path(path).read_text(errors="replace").splitlines()):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) > 2 and not words[0].startswith("#") and _is_key(words[1], words[2]):
            found.setdefault(marker, _Lines()).add(number, words[0], f"{words[1]} {words[2]}")
    return found


def _is_key(kind: str, text: str) -> bool:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return data[4 : 4 + int.from_bytes(data[:4], "big")] == kind.encode()


def _names(hosts: str, name: str) -> bool:
    """Whether a line's list of hosts has this one; a pattern with `!` takes it out again."""
    patterns = hosts.split(",")
    if any(pattern.startswith("!") and _matches(pattern[1:], name) for pattern in patterns):
        return False
    return any(_matches(pattern, name) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _matches_hash(pattern, name)
    # in a known_hosts file [ ] stand around an address, and are no pattern
    return fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _matches_hash(pattern: str, name: str) -> bool:
    parts = _salt_and_digest(pattern)
    return parts is not None and hmac.compare_digest(hmac.digest(parts[0], name.encode(), "sha1"), parts[1])


@lru_cache(maxsize=65536)  # each host is tried against each hashed line
def _salt_and_digest(pattern: str) -> tuple[bytes, bytes] | None:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern[3:].split("|"))
    except (binascii.Error, ValueError):
        return None
    return salt, digest
