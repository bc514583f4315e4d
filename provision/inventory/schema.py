"""The inventory's JSON Schema (draft-07), the options of every installed driver folded in; editors complete from it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from provision import drivers
from provision.errors import DriverError
from provision.inventory.models import GroupModel, InventoryModel, StackModel
from provision.inventory.stacks import STACK_NAME
from provision.inventory.values import NAME

if TYPE_CHECKING:
    from pydantic import BaseModel

    from provision.driver import Driver

Schema: TypeAlias = dict[str, Any]

_REFERENCE: Schema = {"type": "string", "pattern": r"\$\{", "description": "Taken from the environment."}
_TYPED = ("integer", "number", "boolean")


def json_schema(
    names: Mapping[str, object] | None = None, *, driver_class: Callable[[str], type[Driver]] = drivers.load
) -> Schema:
    """The schema, made anew and the caller's to change.

    A group may hold the keys of every group and its driver's options; which driver it has is seen from its own
    `driver` or the inventory's. A driver that cannot be imported here (its extra is missing) leaves its groups'
    keys unchecked. `names` are the drivers to fold in, by default all that are installed.
    """
    root = _of(InventoryModel)
    definitions: Schema = root.pop("definitions", {})
    stack = _of(StackModel)
    definitions |= stack.pop("definitions", {})
    definitions["Stack"] = stack
    group = _of(GroupModel)
    definitions |= group.pop("definitions", {})
    definitions["Host"] = {
        "anyOf": [{"type": "string"}, definitions.pop("HostModel")],
        "description": "user@host:port, or a mapping that says more.",
    }
    group["properties"]["hosts"]["anyOf"][0]["items"] = {"$ref": "#/definitions/Host"}
    properties = root["properties"]
    properties["machines"] = {
        **_named(NAME, {"allOf": [{"type": "object", "required": ["role"]}]}),
        "minProperties": 1,
        "description": properties["machines"]["description"],
    }
    properties["stacks"] = {
        **_named(STACK_NAME, {"anyOf": [{"type": "string"}, {"$ref": "#/definitions/Stack"}]}),
        "description": properties["stacks"]["description"],
    }
    shared: Schema = {}
    defaults: list[Schema] = []
    checks: list[Schema] = properties["machines"]["additionalProperties"]["allOf"]
    for name in sorted(names if names is not None else drivers.available()):
        options = _options(name, driver_class)
        if options is None:
            shared[name] = {"type": ["object", "null"]}
            continue
        definitions |= options.pop("definitions", {})
        definitions[f"group-{name}"] = _group_of(group, options, name, driver_class)
        shared[name] = {"anyOf": [{**options, "required": []}, {"type": "null"}]}
        reference = {"$ref": f"#/definitions/group-{name}"}
        checks.append({"if": _driver_is(name), "then": reference})
        unnamed = {"if": {"not": {"required": ["driver"]}}, "then": reference}
        defaults.append(
            {"if": _driver_is(name), "then": {"properties": {"machines": _named(NAME, unnamed)}}},
        )
    properties["drivers"] = {
        "type": "object",
        "properties": shared,
        "additionalProperties": False,
        "description": properties["drivers"]["description"],
    }
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **root,
        "title": "provision inventory",
        "allOf": defaults,
        "definitions": definitions,
    }
    finished: Schema = _finished(schema, definitions)
    return finished


def _of(model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema(ref_template="#/definitions/{model}")
    schema["definitions"] = schema.pop("$defs", {})
    return schema


def _options(name: str, driver_class: Callable[[str], type[Driver]]) -> Schema | None:
    """The options' schema, its definitions called after the driver, since two may use the same class name."""
    try:
        model = driver_class(name).Options
    except DriverError:
        return None
    schema = model.model_json_schema(ref_template=f"#/definitions/{name}-{{model}}")
    schema["definitions"] = {f"{name}-{key}": value for key, value in schema.pop("$defs", {}).items()}
    schema.setdefault("properties", {})
    return schema


def _group_of(group: Schema, options: Schema, name: str, driver_class: Callable[[str], type[Driver]]) -> Schema:
    """The keys of every group and of this driver; a key of both is the group's."""
    merged = copy.deepcopy(group)
    properties = {**copy.deepcopy(options["properties"]), **merged["properties"]}
    adopts = driver_class(name).adopts
    properties.pop("count" if adopts else "hosts")
    # An option that must be set may be set under `drivers:`, so only the group's own keys are required here.
    required = [*merged["required"], *(["hosts"] if adopts else [])]
    return {**merged, "title": f"group of driver {name}", "properties": properties, "required": required}


def _driver_is(name: str) -> Schema:
    return {"properties": {"driver": {"const": name}}, "required": ["driver"]}


def _named(pattern: str, value: Schema) -> Schema:
    """A mapping whose keys have the pattern, and the `x-` keys beside them."""
    return {
        "type": "object",
        "propertyNames": {"anyOf": [{"pattern": f"^{pattern}$"}, {"pattern": "^x-"}]},
        "patternProperties": {"^x-": {}},
        "additionalProperties": value,
    }


def _finished(node: Any, definitions: Schema) -> Any:
    """Every object that forbids unknown keys allows `x-` ones, every typed value allows `${VAR}`."""
    if isinstance(node, list):
        return [_finished(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    done = {key: _finished(value, definitions) for key, value in node.items()}
    if done.get("additionalProperties") is False:
        done.setdefault("patternProperties", {"^x-": {}})
    properties = done.get("properties")
    if isinstance(properties, dict):
        done["properties"] = {key: _property(value, definitions) for key, value in properties.items()}
    return done


def _property(schema: Schema, definitions: Schema) -> Schema:
    """The property's schema; what says something of it beside a `$ref`, where draft-07 reads nothing, goes around."""
    if "const" in schema:
        return schema
    about: Schema = {key: schema[key] for key in ("description", "title", "default") if key in schema}
    bare = {key: value for key, value in schema.items() if key not in about}
    choices: list[Schema] = bare.get("anyOf", [bare])
    named = [definitions[ref.rpartition("/")[2]] for choice in choices if (ref := choice.get("$ref"))]
    for definition in named:
        about.setdefault("description", definition.get("description", ""))
    if any("enum" in choice or "pattern" in choice or choice.get("type") in _TYPED for choice in [*choices, *named]):
        return {**about, "anyOf": [*choices, _REFERENCE]}
    return {**about, "anyOf": choices} if named else schema
