"""Who may log in: the public keys that `ssh.authorized_keys` means."""

from __future__ import annotations

from pathlib import Path

from provision.inventory.places import Places
from provision.inventory.report import Report
from provision.inventory.values import InvalidValueError, check_public_key, is_key_line


def authorized_keys(report: Report, entries: list[str] | None, places: Places) -> tuple[str, ...]:
    """Public key lines, each once, in order. None means the user's own, `~/.ssh/*.pub`, which may be none."""
    if entries is None:
        return _own_keys(places)
    keys: dict[str, None] = {}
    for index, entry in enumerate(entries):
        path = ("ssh", "authorized_keys", index)
        try:
            lines = [check_public_key(entry)] if is_key_line(entry) else _read(places.path(entry))
        except InvalidValueError as error:
            report.add(path, f"the key {error}" if is_key_line(entry) else f"{entry}: {error}", hint=error.hint)
        except OSError as error:
            report.add(path, f"{entry}: {error.strerror or error}".lower(), hint="name a .pub file, or write the key")
        else:
            keys.update(dict.fromkeys(lines))
    return tuple(keys)


def _read(path: Path) -> list[str]:
    text = path.read_text("utf-8", errors="replace")
    if "PRIVATE KEY" in text:
        raise InvalidValueError("is a private key", hint="name the public one, which ends in .pub")
    lines = [line.strip() for line in text.splitlines()]
    keys = [check_public_key(line) for line in lines if line and not line.startswith("#")]
    if not keys:
        raise InvalidValueError("holds no key")
    return keys


def _own_keys(places: Places) -> tuple[str, ...]:
    """What is unreadable or no key is passed over: nobody asked for it by name. So are certificates."""
    if not places.home:
        return ()
    keys: dict[str, None] = {}
    for path in sorted((places.home / ".ssh").glob("*.pub")):
        try:
            lines = _read(path)
        except (OSError, InvalidValueError):
            continue
        keys.update(dict.fromkeys(line for line in lines if "-cert-v01@" not in line.split()[0]))
    return tuple(keys)
