"""`${VAR}` in an inventory's values.

`${VAR}` must be set, `${VAR:-default}` is the default where it is unset or empty (`${VAR-default}`: only unset),
`${VAR:?message}` says what is missing, `$$` is a dollar sign. A default may hold references of its own. A `$` before
anything else stays what it is. It is the same everywhere in the inventory, `daemon` and inline `user_data` included;
files that the inventory names are never touched, compose files are docker's to substitute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from provision.inventory.values import InvalidValueError

_REFERENCE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?])(.*))?", re.DOTALL)
_FORMS = "write ${NAME}, ${NAME:-default} or ${NAME:?message}; $$ is a dollar sign"


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. Raises `InvalidValueError` for the first that cannot be."""
    parts: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "{":
            end = _closing_brace(text, dollar + 2)
            parts.append(_value(text[dollar + 2 : end], environ))
            position = end + 1
        else:
            parts.append("$")
            position = dollar + (2 if following == "$" else 1)
    return "".join([*parts, text[position:]])


def has_reference(text: str) -> bool:
    """Whether the text would be changed by `substitute`."""
    return "${" in text or "$$" in text


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    position = start
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
            position += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    raise InvalidValueError("'${' is never closed by '}'", hint=_FORMS)


def _value(reference: str, environ: Mapping[str, str]) -> str:
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise InvalidValueError(f"'${{{reference}}}' is not a reference to a variable", hint=_FORMS)
    name, operator, rest = match.groups()
    value = environ.get(name)
    empty_counts = operator is None or not operator.startswith(":")
    if value is not None and (value or empty_counts):
        return value
    if operator in ("-", ":-"):
        return substitute(rest, environ)
    state = "is not set" if value is None else "is empty"
    reason = f": {rest}" if operator and rest else ""
    raise InvalidValueError(
        f"the environment variable {name} {state}{reason}",
        hint=f"export {name}=…, or give a default: ${{{name}:-…}}",
    )
