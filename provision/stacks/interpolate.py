"""Docker's way with variables in compose files: $VAR, ${VAR}, ${VAR-d}, ${VAR:-d}, ${VAR?e}, ${VAR+x}, $$."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = r"[_a-zA-Z][_a-zA-Z0-9]*"
_TOKEN = re.compile(
    r"\$(?:"
    r"(?P<escaped>\$)"
    rf"|(?P<named>{_NAME})"
    rf"|\{{(?P<braced>{_NAME})(?:(?P<operator>:?[-?+])(?P<word>[^}}]*))?\}}"
    r"|(?P<invalid>))"
)


class InterpolationError(ValueError):
    """A text whose variables cannot be filled in: bad grammar, or a required one that is missing."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A use of a variable. `word` is what follows the `operator`: "", or -, ?, + with or without a colon."""

    name: str
    operator: str
    word: str

    def resolve(self, values: Mapping[str, str]) -> str:
        """What stands in its place; without value and default it is the empty text, as in docker.

        Raises `InterpolationError` for a required one.
        """
        value = values.get(self.name)
        counts = value is not None and (value != "" or not self.operator.startswith(":"))
        match self.operator[-1:]:
            case "-":
                return (value or "") if counts else self.word
            case "+":
                return self.word if counts else ""
            case "?" if not counts:
                reason = f": {self.word}" if self.word else ""
                raise InterpolationError(f"variable {self.name} is required and not set{reason}")
            case _:
                return value or ""

    def is_unset(self, values: Mapping[str, str]) -> bool:
        """Whether it will silently become the empty text, because it is missing and has no default."""
        return not self.operator and self.name not in values


def references(text: str) -> tuple[Reference, ...]:
    """Every variable that the text uses, in order; raises `InterpolationError` for bad grammar."""
    found = []
    for match in _TOKEN.finditer(text):
        if match["invalid"] is not None:
            raise InterpolationError(f"invalid interpolation {_excerpt(text, match.start())!r}")
        if name := match["named"] or match["braced"]:
            found.append(Reference(name, match["operator"] or "", match["word"] or ""))
    return tuple(found)


def substitute(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables filled in and `$$` turned into `$`; raises `InterpolationError`."""
    parts, end = [], 0
    filled = iter(references(text))
    for match in _TOKEN.finditer(text):
        parts.append(text[end : match.start()])
        parts.append("$" if match["escaped"] else next(filled).resolve(values))
        end = match.end()
    return "".join([*parts, text[end:]])


def _excerpt(text: str, start: int) -> str:
    return text[start : start + 20].partition("\n")[0]
