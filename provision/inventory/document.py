"""An inventory's YAML as plain values that remember where they stand.

Anchors, aliases and merge keys work; a duplicate key is a problem; `${VAR}` is substituted in values (never in keys),
after which a plain scalar gets the type that its new text has. Keys that begin with `x-` are left out everywhere but
inside `labels`, `env` and `daemon`, where a key is data. Inside `labels` and `env` a substituted value stays a string,
so that a tag `1.10` from the environment does not become a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from provision.errors import Problem
from provision.inventory import yamltext
from provision.inventory.substitution import has_reference, substitute
from provision.inventory.values import InvalidValueError

#: Where a value is: the keys and indexes that lead to it from the root.
Path: TypeAlias = tuple[Any, ...]

FREE = frozenset({"labels", "env", "daemon"})
TEXT = frozenset({"labels", "env"})
#: Aliases may repeat a node; more values than this is a mistake or an attack.
MOST_VALUES = 100_000


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is None where the file is empty. `broken` are the paths whose value could not be made (it is None)."""

    file: str
    lines: tuple[str, ...]
    data: Any
    keys: Mapping[Path, yaml.Node]
    values: Mapping[Path, yaml.Node]
    substituted: frozenset[Path]
    broken: frozenset[Path]
    problems: tuple[Problem, ...]

    def problem(self, path: Path, message: str, *, hint: str = "", at_key: bool = False) -> Problem:
        """The problem, located at the value (or key) of the path, or of the nearest that exists above it."""
        for length in range(len(path), -1, -1):
            above = path[:length]
            value, key = self.values.get(above), self.keys.get(above)
            # What is missing below a mapping is shown at the mapping's name.
            node = key if key and (at_key or length < len(path)) else value
            if node:
                return _located(self.file, self.lines, node, message, hint)
        return Problem(message, file=self.file, line=1, column=1, hint=hint)


def read(text: str, file: str, environ: Mapping[str, str] | None) -> Document:
    """The document. `environ` None substitutes nothing and keeps `x-` keys: the data as the text has it.

    Raises `InventoryError` for what is not YAML; all else that is wrong is in `problems`.
    """
    root = yamltext.compose(text, file)
    builder = _Builder(file=file, lines=tuple(text.splitlines()), environ=environ)
    data = builder.build(root, (), free=False, text=False) if root else None
    return Document(
        file=file,
        lines=builder.lines,
        data=data,
        keys=builder.keys,
        values=builder.values,
        substituted=frozenset(builder.substituted),
        broken=frozenset(builder.broken),
        problems=tuple(dict.fromkeys(builder.problems)),
    )


def _located(file: str, lines: tuple[str, ...], node: yaml.Node, message: str, hint: str) -> Problem:
    mark = node.start_mark
    return Problem(
        message,
        file=file,
        line=mark.line + 1,
        column=mark.column + 1,
        source=yamltext.source_line(lines, mark.line + 1),
        hint=hint,
    )


@dataclass(slots=True, kw_only=True)
class _Builder:
    file: str
    lines: tuple[str, ...]
    environ: Mapping[str, str] | None
    keys: dict[Path, yaml.Node] = field(default_factory=dict)
    values: dict[Path, yaml.Node] = field(default_factory=dict)
    substituted: set[Path] = field(default_factory=set)
    broken: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    open: list[yaml.Node] = field(default_factory=list)

    def build(self, node: yaml.Node, path: Path, *, free: bool, text: bool) -> Any:
        if any(node is above for above in self.open):
            return self._fail(path, node, "refers to itself", hint="an alias cannot stand inside its own anchor")
        if len(self.values) >= MOST_VALUES:
            if len(self.values) == MOST_VALUES:
                self.values[path] = node
                return self._fail(path, node, f"the aliases make more than {MOST_VALUES} values of this inventory")
            return None
        self.values[path] = node
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, text=text)
        self.open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, path, free=free, text=text)
            return self._mapping(node, path, free=free, text=text)
        finally:
            self.open.pop()

    def _sequence(self, node: yaml.SequenceNode, path: Path, *, free: bool, text: bool) -> Any:
        if not self._is(node, path, "seq"):
            return None
        return [self.build(item, (*path, i), free=free, text=text) for i, item in enumerate(node.value)]

    def _mapping(self, node: yaml.Node, path: Path, *, free: bool, text: bool) -> Any:
        if not isinstance(node, yaml.MappingNode) or not self._is(node, path, "map"):
            return None
        result: dict[Any, Any] = {}
        for key, key_node, value_node in self._entries(node, path):
            if not free and self.environ is not None and isinstance(key, str) and key.startswith("x-"):
                continue
            below = (*path, key)
            self.keys[below] = key_node
            result[key] = self.build(value_node, below, free=free or key in FREE, text=text or key in TEXT)
        return result

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[Any, yaml.Node, yaml.Node]]:
        """Own keys in order, then those of merged mappings that are not there yet."""
        seen: set[Any] = set()
        for key_node, value_node in node.value:
            if yamltext.short_tag(key_node) == "merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._fail(path, key_node, "a key must be a plain word")
                continue
            key = self._plain(key_node.value, yamltext.short_tag(key_node))
            if key in seen:
                self._fail(
                    path,
                    key_node,
                    f"key {key_node.value!r} is here twice",
                    hint="remove one of them",
                    keep=True,
                )
                continue
            seen.add(key)
            yield key, key_node, value_node
        for merged in yamltext.merged_mappings(node):
            if not isinstance(merged, yaml.MappingNode):
                self._fail(path, merged, "only a mapping can be merged by '<<'", keep=True)
            elif any(merged is above for above in self.open):
                self._fail(path, merged, "merges itself", keep=True)
            else:
                self.open.append(merged)
                entries = list(self._entries(merged, path))
                self.open.pop()
                for key, key_node, value_node in entries:
                    if key not in seen:
                        seen.add(key)
                        yield key, key_node, value_node

    def _scalar(self, node: yaml.ScalarNode, path: Path, *, text: bool) -> Any:
        tag, value = yamltext.short_tag(node), str(node.value)
        if self.environ is not None and has_reference(value):
            try:
                value = substitute(value, self.environ)
            except InvalidValueError as error:
                return self._fail(path, node, str(error), hint=error.hint)
            self.substituted.add(path)
            if node.style is None and tag == "str" and not text:
                tag = yamltext.resolve(value)
        if tag in ("str", "int", "float", "bool", "null"):
            try:
                return self._plain(value, tag)
            except ValueError:
                return self._fail(path, node, f"{node.value!r} is not of the type that its tag says")
        return self._fail(path, node, f"the tag {node.tag!r} means nothing here", hint="remove it")

    def _plain(self, value: str, tag: str) -> Any:
        if tag == "int":
            return int(value, 0) if value.startswith(("0x", "0o")) else int(value)
        if tag == "float":
            return float(value)
        if tag == "bool":
            return value.lower() == "true"
        return None if tag == "null" else value

    def _is(self, node: yaml.Node, path: Path, kind: str) -> bool:
        if yamltext.short_tag(node) == kind:
            return True
        self._fail(path, node, f"the tag {node.tag!r} means nothing here", hint="remove it")
        return False

    def _fail(self, path: Path, node: yaml.Node, message: str, *, hint: str = "", keep: bool = False) -> None:
        """Notes the problem; the value of the path is then None, unless `keep`."""
        self.problems.append(_located(self.file, self.lines, node, message, hint))
        if not keep:
            self.broken.add(path)
