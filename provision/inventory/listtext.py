"""Items put into and taken out of a YAML list's text, in brackets or as lines."""

from __future__ import annotations

import yaml

from provision.inventory import yamltext


def append_items(text: str, node: yaml.SequenceNode, rendered: list[str]) -> str:
    """The text with the items, YAML already, behind the list's others; no item there is an alias."""
    return _append_flow(text, node, rendered) if node.flow_style else _append_block(text, node, rendered)


def remove_item(text: str, node: yaml.SequenceNode, index: int, *, key: yaml.Node) -> str:
    """The text without one item; a list that has no other becomes `[]` behind its `key`. No item is an alias.

    A comment at the end of the item's line goes with it, comments on lines of their own stay.
    """
    return _without_flow(text, node, index) if node.flow_style else _without_block(text, node, index, key)


def _append_flow(text: str, node: yaml.SequenceNode, rendered: list[str]) -> str:
    joined = ", ".join(rendered)
    if node.value:
        end = node.value[-1].end_mark.index
        return yamltext.splice(text, end, end, f", {joined}")
    start = text.index("[", node.start_mark.index) + 1
    return yamltext.splice(text, start, start, joined)


def _append_block(text: str, node: yaml.SequenceNode, rendered: list[str]) -> str:
    last = node.value[-1]
    end = yamltext.content_end(last)
    # A block scalar's mark is the start of the line behind it.
    end = len(text[:end].rstrip("\r\n")) if text[:end].endswith(("\n", "\r")) else end
    end = yamltext.line_end(text, end)
    dash = " " * _dash(text, last)
    eol = yamltext.line_break(text)
    return yamltext.splice(text, end, end, "".join(f"{eol}{dash}- {item}" for item in rendered))


def _without_flow(text: str, node: yaml.SequenceNode, index: int) -> str:
    items = node.value
    if index + 1 < len(items):
        return yamltext.splice(text, items[index].start_mark.index, items[index + 1].start_mark.index, "")
    if index:
        return yamltext.splice(text, items[index - 1].end_mark.index, items[index].end_mark.index, "")
    opening = text.index("[", node.start_mark.index)
    return yamltext.splice(text, opening, node.end_mark.index, "[]")


def _without_block(text: str, node: yaml.SequenceNode, index: int, key: yaml.Node) -> str:
    item = node.value[index]
    start = yamltext.line_start(text, item.start_mark.index)
    end = yamltext.line_end(text, max(item.start_mark.index, yamltext.content_end(item)))
    end += 2 if text.startswith("\r\n", end) else 1 if end < len(text) else 0
    without = yamltext.splice(text, start, end, "")
    if len(node.value) > 1:
        return without
    colon = text.index(":", key.end_mark.index)
    return yamltext.splice(without, colon + 1, colon + 1, " []")


def _dash(text: str, item: yaml.Node) -> int:
    """The column of the `-` before a block list's item."""
    start = yamltext.line_start(text, item.start_mark.index)
    return text.rindex("-", start, item.start_mark.index) - start
