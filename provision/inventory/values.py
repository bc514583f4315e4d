"""How single values of an inventory are written: sizes, durations, names, keys, CIDRs. Pure, no pydantic.

Every function raises `InvalidValueError`, whose hint says how to write the value.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from difflib import get_close_matches

NAME = r"[a-z][a-z0-9-]{0,30}"
HOSTNAME = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
SIZE = r"[0-9]+(\.[0-9]+)? ?([kKmMgGtT]([iI]?[bB])?|[bB])"
DURATION = r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+"
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_SMALLEST = 2**20


class InvalidValueError(ValueError):
    """A value that cannot be meant: what is wrong with it, and how to write it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse_size(value: object) -> int:
    """Bytes. `2GiB`, `2GB`, `2G` and `2048M` are the same; a bare number is bytes, and at least 1 MiB."""
    how = "write a number and a unit: 512M, 2G, 2GiB"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidValueError("must be a size", hint=how)
    text = str(value).strip()
    if text.isdecimal():
        size = int(text)
    elif re.fullmatch(SIZE, text):
        number, unit = re.match(r"([0-9.]+) ?([a-zA-Z])", text).groups()  # type: ignore[union-attr]
        size = int(float(number) * _UNITS[unit.lower()])
    else:
        raise InvalidValueError("is not a size", hint=how)
    if size < _SMALLEST:
        raise InvalidValueError("is less than 1 MiB", hint=how)
    return size


def parse_duration(value: object) -> float:
    """Seconds: a number of them, or `90s`, `5m`, `1h30m`. More than nothing."""
    how = "write seconds, or a number and a unit: 90, 90s, 5m, 1h"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidValueError("must be a duration", hint=how)
    text = str(value).strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
    elif re.fullmatch(DURATION, text):
        parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        raise InvalidValueError("is not a duration", hint=how)
    if seconds <= 0:
        raise InvalidValueError("must be more than 0", hint=how)
    return seconds


def whole_number(value: object) -> object:
    """Digits in quotes become a number (so that `"${N}"` works); what is neither raises."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]+", value.strip()):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValueError("must be a whole number")
    return value


def true_or_false(value: object) -> object:
    """`true` and `false`, in quotes too. YAML 1.1's yes, no, on and off are refused rather than guessed at."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InvalidValueError("must be true or false")


def check_name(value: str) -> str:
    """A cluster's or a group's name, which becomes a part of hostnames."""
    if not re.fullmatch(NAME, value):
        raise InvalidValueError(
            "is not a name",
            hint="a name has lower-case letters, digits and '-', begins with a letter, and has 31 characters at most",
        )
    return value


def check_public_key(value: str) -> str:
    """One public key line, `ssh-ed25519 AAAA… [comment]`; returned without surrounding white space."""
    how = "a public key reads 'ssh-ed25519 AAAA… comment'"
    line = value.strip()
    fields = line.split()
    if "PRIVATE KEY" in line:
        raise InvalidValueError("is a private key", hint="name the public one, which ends in .pub")
    if len(fields) < 2 or "\n" in line:
        raise InvalidValueError("is not a public key", hint=how)
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError("is not a public key: its second word is not base64", hint=how) from error
    kind = fields[0].encode()
    if blob[:4] != len(kind).to_bytes(4, "big") or blob[4 : 4 + len(kind)] != kind:
        raise InvalidValueError(f"is not a public key of type {fields[0]}", hint=how)
    return line


def is_key_line(value: str) -> bool:
    """Whether the text means to be a public key line rather than a file's path."""
    return re.match(r"(ssh-|ecdsa-|sk-)\S+\s", value.strip()) is not None


def check_host_key(value: str) -> str:
    """A host's public key line or its fingerprint, `SHA256:` and 43 characters, as `ssh-keygen -l` prints it."""
    text = value.strip()
    if text.startswith("SHA256:"):
        if re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", text):
            return text.rstrip("=")
        raise InvalidValueError("is not a fingerprint", hint="'SHA256:' and 43 characters, as 'ssh-keygen -l' prints")
    return check_public_key(text)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A hint that names the closest known word; all of them when none is close; empty when there are none."""
    words = sorted(known)
    close = get_close_matches(str(word), words, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are: {', '.join(words)}" if words else ""
