"""YAML as text with positions: nodes that know where they stand, and changes to the text at a node.

Nodes are PyYAML's (`start_mark.index`, `end_mark.index` count characters of the text). Scalars mean what YAML 1.2's
core schema says: only true and false are booleans, `yes`, `on`, `22:22`, `1_000`, `007` and dates are strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from provision.errors import InventoryError, Problem

_PREFIX = "tag:yaml.org,2002:"
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")


class Loader(yaml.SafeLoader):
    """Composes nodes with YAML 1.2's scalars. It never constructs values; `document.read` does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+|(?:0|[1-9][0-9]*)(?=[eE]))(?:[eE][-+]?[0-9]+)?",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    Loader.add_implicit_resolver(
        _PREFIX + _tag, re.compile(f"(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


def compose(text: str, file: str = "inventory") -> yaml.Node | None:
    """The root node of the only document, None when there is nothing. Raises `InventoryError` for what is not YAML."""
    try:
        loader = Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise InventoryError((_syntax_problem(error, text, file),)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        message = f"character U+{error.character:04X} is not allowed in YAML"
        raise InventoryError((Problem(message, file=file, line=line, column=column),)) from error
    except RecursionError as error:
        raise InventoryError((Problem("is nested too deeply", file=file, line=1, column=1),)) from error


def resolve(value: str) -> str:
    """The short tag (`int`, `str`, …) that a plain scalar of this text has."""
    for tag, pattern in Loader.yaml_implicit_resolvers.get(value[:1], ()):
        if pattern.match(value):
            return tag.removeprefix(_PREFIX)
    return "str"


def short_tag(node: yaml.Node) -> str:
    """A node's tag without YAML's own prefix: `str`, `int`, `map`, …, or `!its-own`."""
    return str(node.tag).removeprefix(_PREFIX)


def source_line(lines: tuple[str, ...], line: int) -> str:
    """Line number `line` (1-based) as it can be shown above a caret; tabs count as one character."""
    return lines[line - 1].replace("\t", " ").rstrip() if 0 < line <= len(lines) else ""


def own_entry(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """The key's and the value's node where the mapping itself, not one that it merges, holds the key."""
    for key_node, value_node in node.value:
        if isinstance(key_node, yaml.ScalarNode) and key_node.value == key and short_tag(key_node) != "merge":
            return key_node, value_node
    return None


def merged_mappings(node: yaml.MappingNode) -> Iterator[yaml.Node]:
    """The nodes that the mapping's `<<` keys name, in order."""
    for key_node, value_node in node.value:
        if short_tag(key_node) == "merge":
            if isinstance(value_node, yaml.SequenceNode):
                yield from value_node.value
            else:
                yield value_node


def is_alias(before: yaml.Node, node: yaml.Node) -> bool:
    """Whether the node, which the text has behind `before`, only stands there by `*name`.

    An anchor comes before its aliases, and an alias composes to the anchor's own node.
    """
    return bool(node.start_mark.index < before.end_mark.index)


def splice(text: str, start: int, end: int, new: str) -> str:
    """The text with what is from `start` to before `end` replaced."""
    return text[:start] + new + text[end:]


def scalar_span(text: str, node: yaml.ScalarNode) -> tuple[int, int]:
    """Where the scalar itself is in the text, without an anchor or a tag before it."""
    start, end = node.start_mark.index, node.end_mark.index
    properties = _PROPERTIES.match(text, start, end)
    return (properties.end() if properties else start), end


def replace_scalar(text: str, node: yaml.ScalarNode, new: str) -> str:
    """The text with the scalar written anew; anchor, comments and everything else stay. `new` is YAML already."""
    start, end = scalar_span(text, node)
    return splice(text, start, end, new)


def scalar(value: str, *, flow: bool = True) -> str:
    """The string as a YAML scalar: plain where that is safe (inside `[]` and `{}` too, if `flow`), else quoted."""
    safe = r"[A-Za-z0-9_/.~][A-Za-z0-9_@%+=/.:~-]*" if flow else r"[A-Za-z0-9_/.~][A-Za-z0-9_@%+=/.:,~-]*"
    if re.fullmatch(safe, value) and not value.endswith(":") and resolve(value) == "str":
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def line_end(text: str, index: int) -> int:
    """The index of the end of the line that holds `index`, before its line break."""
    found = re.compile(r"\r\n|\n|\r").search(text, index)
    return found.start() if found else len(text)


def line_start(text: str, index: int) -> int:
    """The index of the first character of the line that holds `index`."""
    return max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1


def line_break(text: str) -> str:
    """The line break that the text uses."""
    return "\r\n" if "\r\n" in text else "\n"


def content_end(node: yaml.Node) -> int:
    """Where a node's last character is. A block collection's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return content_end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = ", ".join(part for part in (error.context, error.problem) if part)
    if not mark:
        return Problem(message, file=file, line=1, column=1)
    return Problem(
        message,
        file=file,
        line=mark.line + 1,
        column=mark.column + 1,
        source=source_line(tuple(text.splitlines()), mark.line + 1),
        hint=_syntax_hint(error.problem or "", text, mark.index),
    )


_HINTS = (
    ("'\\t'", "indent with spaces, YAML takes no tabs"),
    ("undefined alias", "'*name' needs an '&name' before it"),
    ("mapping values are not allowed", "check the indentation; a value that holds ': ' needs quotes"),
    ("expected ',' or", "inside { } and [ ], quote a value that holds brackets, braces or a comma"),
    ("another document", "an inventory is one document; remove the '---'"),
)


def _syntax_hint(problem: str, text: str, index: int) -> str:
    if "${" in text[line_start(text, index) : index + 1] and "expected ',' or" in problem:
        return 'inside { } and [ ] a reference needs quotes: "${NAME}"'
    return next((hint for part, hint in _HINTS if part in problem), "")
