"""One group of an inventory as text: its keys' nodes, a place for a new key, and the promise that only it changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NoReturn

import yaml

from provision.errors import InventoryError, Problem
from provision.inventory import yamltext
from provision.inventory.document import read
from provision.inventory.values import did_you_mean


class GroupText:
    """One group's mapping in a text, and the promise that only it is changed."""

    def __init__(self, text: str, file: str, group: str) -> None:
        self.text, self.file, self.group = text, file, group
        self.data = read(text, file, None).data
        root = yamltext.compose(text, file)
        by_hand = f"change machines.{group} by hand"
        key, machines = self._below(root, "machines", by_hand)
        _, self.node = self._below(machines, group, by_hand, before=key)

    def key(self, key: str) -> yaml.Node:
        """The node of one of the group's own keys."""
        found = yamltext.own_entry(self.node, key)
        assert found, key
        return found[0]

    def entry(self, key: str, by_hand: str) -> yaml.Node | None:
        """The node of the key's value; None where the group has no such key. Refuses aliases and merged keys."""
        found = yamltext.own_entry(self.node, key)
        if found:
            if yamltext.is_alias(*found):
                self.refuse(found[0], f"{key} is an alias", by_hand)
            return found[1]
        if key in self.data["machines"].get(self.group, {}):
            self.refuse(self.node, f"{key} is merged from elsewhere by '<<'", by_hand)
        return None

    def with_new_key(self, key: str, value: str) -> str:
        """The text with a key that the group does not have yet, behind `role` or before the first one."""
        role = yamltext.own_entry(self.node, "role")
        first = self.node.value[0][0]
        after = role[1] if role and not yamltext.is_alias(*role) else None
        if self.node.flow_style:
            if after:
                return yamltext.splice(self.text, after.end_mark.index, after.end_mark.index, f", {key}: {value}")
            return yamltext.splice(self.text, first.start_mark.index, first.start_mark.index, f"{key}: {value}, ")
        start = role[0].start_mark if role and after else first.start_mark
        indent = " " * start.column
        eol = yamltext.line_break(self.text)
        if after and after.start_mark.line == after.end_mark.line:
            end = yamltext.line_end(self.text, after.end_mark.index)
            return yamltext.splice(self.text, end, end, f"{eol}{indent}{key}: {value}")
        return yamltext.splice(self.text, start.index, start.index, f"{key}: {value}{eol}{indent}")

    def checked(self, new: str, by_hand: str, change: Callable[[dict[Any, Any]], None]) -> str:
        """The new text, if it holds the old data with this change and no other; refuses otherwise."""
        expected = copy.deepcopy(self.data)
        try:
            change(expected["machines"][self.group])
            document = read(new, self.file, None)
        except (InventoryError, LookupError):
            self.refuse(self.node, f"machines.{self.group} is written in a way that cannot be changed safely", by_hand)
        if document.data != expected:
            self.refuse(self.node, f"changing machines.{self.group} would change something else too", by_hand)
        return new

    def refuse(self, node: yaml.Node, message: str, hint: str) -> NoReturn:
        """Raise, located at the node."""
        mark = node.start_mark
        line = yamltext.source_line(tuple(self.text.splitlines()), mark.line + 1)
        problem = Problem(message, file=self.file, line=mark.line + 1, column=mark.column + 1, source=line, hint=hint)
        raise InventoryError((problem,))

    def _below(
        self, node: yaml.Node | None, key: str, by_hand: str, *, before: yaml.Node | None = None
    ) -> tuple[yaml.Node, yaml.MappingNode]:
        found = yamltext.own_entry(node, key) if isinstance(node, yaml.MappingNode) else None
        if not found or not isinstance(node, yaml.MappingNode):
            names = [k.value for k, _ in node.value if k.value != "<<"] if isinstance(node, yaml.MappingNode) else []
            problem = Problem(f"there is no {key!r} in the inventory", file=self.file, hint=did_you_mean(key, names))
            if isinstance(node, yaml.MappingNode):
                self.refuse(before or node, problem.message, problem.hint)
            raise InventoryError((problem,))
        key_node, value = found
        if yamltext.is_alias(key_node, value):
            self.refuse(key_node, f"{key!r} is an alias", by_hand)
        if not isinstance(value, yaml.MappingNode) or not value.value:
            self.refuse(key_node, f"{key!r} is not a mapping", by_hand)
        return key_node, value
