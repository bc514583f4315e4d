"""Files of `NAME=value` lines, as `env_file:` names them."""

from __future__ import annotations

import re

from provision.inventory.values import InvalidValueError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


class DotenvError(InvalidValueError):
    """A line that is no `NAME=value`; `line` is its number, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message, hint="write NAME=value; quote a value that holds ' #'")
        self.line = line


def parse(text: str) -> dict[str, str]:
    """The variables, later lines over earlier ones. Nothing is substituted.

    Single quotes keep everything, double quotes know backslash escapes, ` #` begins a comment outside of both.
    Raises `DotenvError` for the first line that is none of these.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if not match:
            raise DotenvError(number, "is not a line NAME=value")
        values[match[1]] = _unquote(match[2], number)
    return values


def _unquote(text: str, line: int) -> str:
    if not text.startswith(("'", '"')):
        return re.split(r"\s#", f" {text}", maxsplit=1)[0].strip()
    pattern = r"'([^']*)'" if text[0] == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.fullmatch(rf"{pattern}\s*(?:#.*)?", text)
    if not match:
        raise DotenvError(line, f"the quote {text[0]} is not closed, or something follows it")
    if text[0] == "'":
        return match[1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), match[1])
