"""Rows of data for stdout: a table for people, JSON Lines and templates for programs, names for shells.

jinja2 is imported for a template only.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from provision.errors import UsageError

if TYPE_CHECKING:
    from jinja2 import Template

OUTPUTS = ("table", "wide", "json", "name")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its header, and the field to show or a function of the row."""

    header: str
    value: str | Callable[[Any], object]


def render(
    rows: Sequence[Any],
    columns: Sequence[Column],
    wide_columns: Sequence[Column] = (),
    *,
    output: str = "table",
    template: str | None = None,
) -> str:
    """The rows as text that ends in a newline, or is empty.

    Rows are dataclasses or mappings that have a `name`. `table` shows `columns`, `wide` also `wide_columns`,
    `json` one object per line with all fields (those that are hidden from repr are secrets, and left out),
    `name` one name per line. A `template`, Jinja's, is rendered for each row instead, its fields as
    variables; without braces it is taken as one expression (`address`, `name ~ ":" ~ port`). Raises
    UsageError, located, where it is wrong.
    """
    if template is not None:
        return _template(rows, template)
    if output == "json":
        return "".join(f"{json.dumps(plain(row))}\n" for row in rows)
    if output == "name":
        return "".join(f"{_field(row, 'name')}\n" for row in rows)
    if output not in OUTPUTS:
        close = difflib.get_close_matches(output, OUTPUTS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(OUTPUTS)}"
        raise UsageError(f"there is no output format {output!r}", hint=hint)
    return _table(rows, (*columns, *wide_columns) if output == "wide" else tuple(columns))


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses and mappings as objects, enumerations by value, times ISO 8601."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.repr}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, PurePath) else value


def _table(rows: Sequence[Any], columns: Sequence[Column]) -> str:
    cells = [[column.header.upper() for column in columns]]
    cells += [[_cell(row, column) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    padded = ("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _cell(row: Any, column: Column) -> str:
    value = plain(_field(row, column.value) if isinstance(column.value, str) else column.value(row))
    # never empty: each line has as many words as there are columns, so awk can count them
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return " ".join(str(value).split())


def _field(row: Any, name: str) -> Any:
    return row[name] if isinstance(row, Mapping) else getattr(row, name)


def _template(rows: Sequence[Any], source: str) -> str:
    from jinja2.exceptions import TemplateError

    text = source if "{{" in source or "{%" in source else "{{ " + source + " }}"
    compiled = _compile(text, source)
    lines = []
    for row in rows:
        values = plain(row)
        try:
            lines.append(compiled.render(values))
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            known = ", ".join(sorted(values))
            raise UsageError(f"--format: {error}", detail=f"    {source}", hint=f"the fields are: {known}") from error
    return "".join(f"{line}\n" for line in lines)


def _compile(text: str, source: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # the output is a terminal's or a program's, not a browser's: nothing is to be escaped
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        return environment.from_string(text)
    except TemplateSyntaxError as error:
        line = source.splitlines()[error.lineno - 1] if source.splitlines() else ""
        raise UsageError(
            f"--format:{error.lineno}: {error.message}",
            detail=f"    {line}",
            hint="a template is like '{{ name }} {{ address }}', or one expression like 'address'",
        ) from error
