"""Which Debian mirror an image is built from: the one that the host's own apt uses, or the one that is named."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_CODENAMES = frozenset({"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable"})


@dataclass(frozen=True, slots=True)
class Source:
    """One binary source of apt: where, which suite, which components."""

    uri: str
    suite: str
    components: tuple[str, ...]


def image_sources(suite: str, *, mirror: str | None, host: Sequence[Source]) -> tuple[str, ...]:
    """The `deb` lines for a Debian suite, its updates and its security suite.

    With `mirror` (…/debian) the security suite is taken from its sibling …/debian-security; a mirror whose path does
    not end in /debian gives its own suite only. Without, the mirrors of the host's own apt, for the host's suite or
    another. Empty when the host's apt has no Debian mirror: then mmdebstrap's default is right.
    """
    if mirror is not None:
        base = mirror.rstrip("/")
        lines = [f"deb {base} {suite} main"]
        if base.endswith("/debian"):
            lines += [f"deb {base} {suite}-updates main", f"deb {base}-security {suite}-security main"]
        return tuple(lines)
    found = _main_archive(host)
    if found is None:
        return ()
    uri, codename = found
    lines = [f"deb {uri} {suite} main"]
    if any(source.uri == uri and source.suite == f"{codename}-updates" for source in host):
        lines.append(f"deb {uri} {suite}-updates main")
    security = next((source.uri for source in host if source.suite == f"{codename}-security"), None)
    if security is not None:
        lines.append(f"deb {security} {suite}-security main")
    return tuple(lines)


def host_sources(root: Path = Path("/etc/apt")) -> tuple[Source, ...]:
    """Every enabled binary source of this machine's apt that is reached over HTTP, in apt's order."""
    found: list[Source] = []
    lists = [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]
    for path in lists:
        if path.suffix == ".sources":
            found += parse_deb822(path.read_text("utf-8", errors="replace"))
        elif path.suffix == ".list" and path.is_file():
            found += parse_list(path.read_text("utf-8", errors="replace"))
    return tuple(source for source in found if source.uri.startswith(("http://", "https://")))


def parse_list(text: str) -> tuple[Source, ...]:
    """The one-line format: `deb [options] uri suite component…`."""
    found = []
    for line in text.splitlines():
        bare = line.split("#", 1)[0].strip()
        if not bare.startswith("deb ") and not bare.startswith("deb\t"):
            continue
        rest = bare[3:].strip()
        if rest.startswith("["):
            rest = rest.partition("]")[2]
        words = shlex.split(rest)
        if len(words) >= 2:
            found.append(Source(words[0].rstrip("/"), words[1], tuple(words[2:])))
    return tuple(found)


def parse_deb822(text: str) -> tuple[Source, ...]:
    """The stanza format of *.sources files, with continuation lines, comments and `Enabled: no`."""
    found = []
    for stanza in _stanzas(text.splitlines()):
        if stanza.get("enabled", "yes").lower() in ("no", "false", "off", "0"):
            continue
        if "deb" not in stanza.get("types", "").split():
            continue
        components = tuple(stanza.get("components", "").split())
        for uri in stanza.get("uris", "").split():
            for suite in stanza.get("suites", "").split():
                found.append(Source(uri.rstrip("/"), suite, components))
    return tuple(found)


def _stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    key = ""
    for line in [*lines, ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, key = {}, ""
        elif line[0].isspace() and key:
            stanza[key] += " " + line.strip()
        else:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            stanza[key] = value.strip()


def _main_archive(host: Sequence[Source]) -> tuple[str, str] | None:
    """The archive's address and the suite that the host takes from it.

    Others publish under Debian's suite names as well, so an address that also serves the suite's updates is preferred.
    """
    mains = [source for source in host if source.suite in _CODENAMES and "main" in source.components]
    with_updates = [
        main for main in mains if any(o.uri == main.uri and o.suite == f"{main.suite}-updates" for o in host)
    ]
    best = next(iter([*with_updates, *mains]), None)
    return (best.uri, best.suite) if best else None
