"""Changes to an inventory's text that keep every other byte: counts and hosts of a group, comments untouched.

Each function takes the text and gives back the new one. The result is read again, and has to hold the old data but
for the change; what cannot be changed so (a `${VAR}`, an alias, a merged key) is refused with `InventoryError`, whose
hint says what to write by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from provision.driver import HostEntry
from provision.errors import InventoryError, Problem
from provision.inventory import yamltext
from provision.inventory.grouptext import GroupText
from provision.inventory.hosts import format_host, parse_host, same_address
from provision.inventory.listtext import append_items, remove_item
from provision.inventory.substitution import has_reference
from provision.inventory.values import InvalidValueError


def set_count(text: str, group: str, count: int, *, file: str = "inventory") -> str:
    """The text with the group's `count` set. A group without one gets it, behind its `role`."""
    edit = GroupText(text, file, group)
    by_hand = f"write 'count: {count}' into machines.{group} by hand"
    entry = edit.entry("count", by_hand)
    if entry is None:
        new = edit.with_new_key("count", str(count))
    elif not isinstance(entry, yaml.ScalarNode):
        edit.refuse(entry, "count is not a number", by_hand)
    elif has_reference(entry.value):
        edit.refuse(entry, f"count comes from the environment: {entry.value}", f"{by_hand}, or change the variable")
    else:
        new = yamltext.replace_scalar(text, entry, str(count))
    return edit.checked(new, by_hand, lambda found: found.__setitem__("count", count))


def add_hosts(text: str, group: str, entries: Sequence[str | HostEntry], *, file: str = "inventory") -> str:
    """The text with the entries (`user@host:port`, or values) behind the group's other `hosts`.

    Raises `InventoryError`, also for an entry that is no host or is listed already.
    """
    edit = GroupText(text, file, group)
    items = [_item(entry, edit) for entry in entries]
    if not items:
        return text
    by_hand = f"add to machines.{group}.hosts by hand: {', '.join(_flow(item) for item in items)}"
    hosts = edit.entry("hosts", by_hand)
    listed = _addresses(hosts)
    for item in items:
        entry = _entry_of(item)
        if any(_same_door(entry, other) for other in listed):
            edit.refuse(hosts or edit.node, f"{format_host(entry)} is listed already", "leave it out")
        listed.append(entry)
    rendered = [_flow(item) for item in items]
    if hosts is None:
        new = edit.with_new_key("hosts", f"[{', '.join(rendered)}]")
    elif isinstance(hosts, yaml.ScalarNode) and yamltext.short_tag(hosts) == "null":
        key = edit.key("hosts")
        new = yamltext.splice(text, *_null_span(text, key, hosts), f": [{', '.join(rendered)}]")
    elif not isinstance(hosts, yaml.SequenceNode):
        edit.refuse(hosts, "hosts is not a list", by_hand)
    else:
        _refuse_aliases(edit, hosts, by_hand)
        new = append_items(text, hosts, rendered)
    return edit.checked(new, by_hand, lambda found: found.__setitem__("hosts", [*(found.get("hosts") or []), *items]))


def remove_host(text: str, group: str, address: str, *, file: str = "inventory") -> str:
    """The text without the group's host of this address (or `address:port`, where ports tell hosts apart).

    A comment at the end of its line goes with it, comments on lines of their own stay.
    """
    edit = GroupText(text, file, group)
    by_hand = f"remove {address} from machines.{group}.hosts by hand"
    hosts = edit.entry("hosts", by_hand)
    if not isinstance(hosts, yaml.SequenceNode):
        edit.refuse(hosts or edit.node, f"machines.{group} lists no hosts", "'count' says how many machines it has")
    wanted = _parsed(address, edit)
    found = [index for index, node in enumerate(hosts.value) if (entry := _host_of(node)) and _is_wanted(entry, wanted)]
    if len(found) != 1:
        said = "more than once" if found else "not"
        hint = by_hand if any(_has_reference(node) for node in hosts.value) or found else "'provision ls' lists them"
        edit.refuse(hosts, f"{address} is {said} among the hosts of machines.{group}", hint)
    (index,) = found
    _refuse_aliases(edit, hosts, by_hand)
    new = remove_item(text, hosts, index, key=edit.key("hosts"))

    def change(data: dict[Any, Any]) -> None:
        data["hosts"] = [host for at, host in enumerate(data["hosts"]) if at != index]

    return edit.checked(new, by_hand, change)


def _null_span(text: str, key: yaml.Node, value: yaml.Node) -> tuple[int, int]:
    """From the colon behind the key to the end of a value that is null, whether written `~` or not at all."""
    colon = text.index(":", key.end_mark.index)
    return colon, max(colon + 1, value.end_mark.index)


def _refuse_aliases(edit: GroupText, hosts: yaml.SequenceNode, by_hand: str) -> None:
    """An alias among the hosts has no node of its own, so nothing around it can be measured."""
    for before, node in zip([edit.key("hosts"), *hosts.value], hosts.value, strict=False):
        if yamltext.is_alias(before, node):
            edit.refuse(hosts, "one of the hosts is an alias", by_hand)


def _item(entry: str | HostEntry, edit: GroupText) -> str | dict[str, Any]:
    """The entry as the inventory's data has it: the short form where that says all."""
    if isinstance(entry, str):
        _parsed(entry, edit)
        return entry.strip()
    fields = {name: getattr(entry, name) for name in HostEntry.__dataclass_fields__}
    said = {name: value for name, value in fields.items() if value is not None}
    return format_host(entry) if said.keys() <= {"address", "user", "port"} else said


def _parsed(text: str, edit: GroupText) -> HostEntry:
    try:
        return parse_host(text)
    except InvalidValueError as error:
        raise InventoryError((Problem(f"{text!r}: {error}", file=edit.file, hint=error.hint),)) from error


def _flow(item: str | dict[str, Any]) -> str:
    if isinstance(item, str):
        return yamltext.scalar(item)
    pairs = (f"{key}: {value if isinstance(value, int) else yamltext.scalar(value)}" for key, value in item.items())
    return "{" + ", ".join(pairs) + "}"


def _entry_of(item: str | dict[str, Any]) -> HostEntry:
    return parse_host(item) if isinstance(item, str) else HostEntry(**item)


def _addresses(hosts: yaml.Node | None) -> list[HostEntry]:
    nodes = hosts.value if isinstance(hosts, yaml.SequenceNode) else []
    return [entry for node in nodes if (entry := _host_of(node))]


def _host_of(node: yaml.Node) -> HostEntry | None:
    """The host that an item of the list says; None for one that says it by a variable, or not at all."""
    try:
        if isinstance(node, yaml.ScalarNode):
            return parse_host(node.value)
        fields = _fields(node)
        port = fields.get("port")
        return HostEntry(address=fields["address"], jump=fields.get("jump"), port=int(port) if port else None)
    except (KeyError, ValueError):
        return None


def _fields(node: yaml.Node) -> dict[str, str]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value: value.value for key, value in pairs if _is_scalar(key) and _is_scalar(value)}


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _same_door(one: HostEntry, other: HostEntry) -> bool:
    return (
        same_address(one.address, other.address) and (one.port or 22) == (other.port or 22) and one.jump == other.jump
    )


def _is_wanted(entry: HostEntry, wanted: HostEntry) -> bool:
    return same_address(entry.address, wanted.address) and wanted.port in (None, entry.port)


def _has_reference(node: yaml.Node) -> bool:
    values = [node.value] if isinstance(node, yaml.ScalarNode) else _fields(node).values()
    return any(has_reference(value) for value in values)
