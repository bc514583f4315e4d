"""The user's own known_hosts files, read once a process."""

from __future__ import annotations

import base64
import binascii
import hmac
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
    lines = [line for file in files for line in _load(str(Path(file).expanduser()))]
    return tuple(dict.fromkeys(key for mark, hosts, key in lines if mark == marker and _names(hosts, name)))


@lru_cache(maxsize=16)
def _load(path: str) -> tuple[tuple[str, str, str], ...]:
    """Each line's marker (empty for most), its hosts, and its key as `type base64`."""
    if not Path(path).is_file():
        return ()
    found = []
    for line in Path(path).read_text(errors="replace").splitlines():
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) > 2 and not words[0].startswith("#") and _is_key(words[1], words[2]):
            found.append((marker, words[0], f"{words[1]} {words[2]}"))
    return tuple(found)


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
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
