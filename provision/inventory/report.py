"""Gathers everything that is wrong with an inventory, located, in the words of its author rather than pydantic's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from provision.errors import InventoryError, Problem
from provision.inventory.document import Document, Path
from provision.inventory.values import did_you_mean

M = TypeVar("M", bound=BaseModel)

_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "list_type": "must be a list",
    "string_too_short": "is empty",
    "too_short": "is empty",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "does not have the form that it must",
}


class Report:
    """The problems found so far; `finish` raises them all at once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._problems: dict[Problem, None] = dict.fromkeys(document.problems)

    def add(self, path: Path, message: str, *, hint: str = "", at_key: bool = False) -> None:
        """Note a problem at the path; none where the value could not even be read, which is a problem already."""
        if not any(path[: len(broken)] == broken for broken in self.document.broken if broken):
            self._problems[self.document.problem(path, message, hint=hint, at_key=at_key)] = None

    def add_problem(self, problem: Problem) -> None:
        """Note a problem that is located already, in another file perhaps."""
        self._problems[problem] = None

    def validate(self, model: type[M], data: Any, path: Path, *, context: Mapping[str, Any] | None = None) -> M | None:
        """The model of the data that stand at `path`, or None when they are wrong, which is then noted."""
        try:
            return model.model_validate(data, context=dict(context or {}))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self.add_detail(model, detail, path)
            return None

    def add_detail(
        self, model: type[BaseModel], detail: ErrorDetails, path: Path, *, also_known: Iterable[str] = ()
    ) -> None:
        """Note one of pydantic's errors about data at `path`; `also_known` are keys beside the model's fields."""
        location = tuple(part for part in detail["loc"] if part != "[key]")
        where = self._existing((*path, *location))
        kind = detail["type"]
        if kind == "extra_forbidden":
            known = {*fields_at(model, location[:-1]), *also_known}
            self.add(where, f"unknown key {location[-1]!r}", hint=did_you_mean(location[-1], known), at_key=True)
        elif kind == "missing":
            self.add((*path, *location), f"{dotted((*path, *location))} is missing")
        else:
            at_key = "[key]" in detail["loc"]
            self.add(where, self._sentence(detail, where), hint=self._hint(detail, where), at_key=at_key)

    def finish(self) -> None:
        """Raise `InventoryError` with everything noted, in the file's order; nothing noted, nothing raised."""
        if self._problems:
            raise InventoryError(
                tuple(sorted(self._problems, key=lambda p: (p.file != self.document.file, p.file, p.line, p.column)))
            )

    @property
    def clean(self) -> bool:
        """Whether nothing is noted yet."""
        return not self._problems

    def _sentence(self, detail: ErrorDetails, path: Path) -> str:
        context = detail.get("ctx", {})
        if "error" in context:
            rest = str(context["error"])
        elif sentence := _SENTENCES.get(detail["type"]):
            rest = sentence.format(**context)
        else:
            rest = detail["msg"][:1].lower() + detail["msg"][1:].rstrip(".")
        value = detail.get("input")
        # What came from the environment may be a secret, so only its place is shown.
        if isinstance(value, str) and value and self._from_environment(path):
            rest = rest.replace(repr(value), "the value").replace(value, "the value")
        shown = isinstance(value, str | int | float) and not self._from_environment(path)
        got = f", not {value!r}" if shown and rest.startswith("must be ") else ""
        if isinstance(value, str) and shown and rest.startswith("is not a "):
            rest = f"{value!r} {rest}"
        return f"{dotted(path)}: {rest}{got}"

    def _hint(self, detail: ErrorDetails, path: Path) -> str:
        error = detail.get("ctx", {}).get("error")
        if hint := getattr(error, "hint", ""):
            return str(hint)
        value, node = detail.get("input"), self.document.values.get(path)
        if detail["type"] == "string_type" and isinstance(value, bool | int | float) and node:
            return f'put it in quotes: "{node.value}"'
        if detail["type"] in ("enum", "literal_error") and isinstance(value, str):
            words = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected")))
            hint = did_you_mean(value, words)
            return hint if hint.startswith("did") else ""
        return ""

    def _from_environment(self, path: Path) -> bool:
        return any(name[: len(path)] == path for name in self.document.substituted)

    def _existing(self, path: Path) -> Path:
        """The path without what pydantic adds to it (union members), as the document knows it."""
        known: Path = ()
        for part in path:
            for form in (part, str(part), _number(part)):
                if (*known, form) in self.document.values:
                    known = (*known, form)
                    break
        return known


def dotted(path: Path) -> str:
    """`machines.worker.hosts[0].port`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) and text else f".{part}" if text else str(part)
    return text or "the inventory"


def fields_at(model: type[BaseModel], location: Path) -> set[str]:
    """The fields of the model that validates what stands at `location` inside `model`'s data."""
    current: Any = model
    for part in location:
        found = _model_in(current)
        if found and part in found.model_fields:
            current = found.model_fields[part].annotation
    found = _model_in(current)
    return set(found.model_fields) if found else set()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _number(part: Any) -> Any:
    return int(part) if isinstance(part, str) and part.isdecimal() else part
