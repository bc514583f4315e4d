"""YAML as nodes with places: a text can be read with its locations and changed without being rewritten.

Loading and dumping would turn `22:22` into a number, drop comments and order anchors anew; an edit at a
node's place leaves every other byte as the author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# what may stand before a value and belongs to its node: anchors and tags
_PROPERTIES = re.compile(r"(?:[&!][^\s]*\s+)*")
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text from `start` up to `end` (indices) by `text`."""

    start: int
    end: int
    text: str


def apply_edits(text: str, edits: set[Edit]) -> str:
    """The text with the edits made, which must not overlap; those at one place by alphabet."""
    parts, end = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end, edit.text)):
        if edit.start < end:
            raise ValueError(f"overlapping edits at index {edit.start}")
        parts += [text[end : edit.start], edit.text]
        end = edit.end
    return "".join([*parts, text[end:]])


def parse(text: str) -> Node | None:
    """The root node, None for an empty text; raises `yaml.MarkedYAMLError`, also for a second document."""
    root: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    return root


def items(node: Node | None) -> Iterator[tuple[ScalarNode, Node]]:
    """A mapping's keys and values as its reader sees them: `<<` merged in, own keys first; else nothing."""
    yield from _items(node, seen=set())


def get(node: Node | None, key: str) -> Node | None:
    """The value of a key of a mapping, None when it is absent or the node is no mapping."""
    return next((value for name, value in items(node) if name.value == key), None)


def elements(node: Node | None) -> list[Node]:
    """The elements of a sequence; empty if it is none."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def is_null(node: Node | None) -> bool:
    """Whether the value is absent, empty, `null` or `~`."""
    return node is None or node.tag == "tag:yaml.org,2002:null"


def is_true(node: Node | None) -> bool:
    """Whether the value is a true boolean."""
    return isinstance(node, ScalarNode) and node.tag.endswith(":bool") and node.value.lower() in ("true", "yes", "on")


def scalars(node: Node | None) -> Iterator[ScalarNode]:
    """Every scalar value under a node, keys excluded, each anchor once."""
    seen: set[int] = set()
    queue = [node]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, ScalarNode):
            yield current
        elif isinstance(current, SequenceNode):
            queue += reversed(current.value)
        elif isinstance(current, MappingNode):
            queue += [value for _, value in reversed(current.value)]


def replace(text: str, node: Node, value: str) -> Edit:
    """An edit that puts a quoted string in the place of a value, whatever it was; its anchor stays."""
    start, end = node.start_mark.index, _end(node)
    properties = _PROPERTIES.match(text, start)
    if properties:
        start = max(start, min(properties.end(), end))
    block = isinstance(node, ScalarNode) and node.style in ("|", ">")
    return Edit(start, end, f'"{value}"' + ("\n" if block else ""))


def insert_key(mapping: MappingNode, key: str, value: str) -> Edit:
    """An edit that puts `key: "value"` before the first key of a mapping that has one."""
    first = mapping.value[0][0].start_mark
    after = ", " if mapping.flow_style else "\n" + " " * first.column
    return Edit(first.index, first.index, f'{key}: "{value}"{after}')


def _items(node: Node | None, seen: set[str]) -> Iterator[tuple[ScalarNode, Node]]:
    if not isinstance(node, MappingNode):
        return
    merged: list[Node] = []
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            continue
        if key.value == _MERGE and key.style is None:
            merged += elements(value) or [value]
        elif key.value not in seen:
            seen.add(key.value)
            yield key, value
    for other in merged:
        yield from _items(other, seen)


def _end(node: Node) -> int:
    """Where the value's own text ends; a block collection's mark is only where the next thing begins."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)
