"""The JSON Schema says what loading says."""

# ruff: noqa: E501 - a table reads best with a case on a line

from __future__ import annotations

import jsonschema
import pytest

from provision.inventory.document import read
from provision.inventory.schema import json_schema

HEAD = "name: lab\ndriver: fake\nmachines:\n"


@pytest.fixture
def schema(driver_class):
    return json_schema({"fake": "", "ssh": ""}, driver_class=driver_class)


def errors(schema, text):
    return list(jsonschema.Draft7Validator(schema).iter_errors(read(text, "i.yml", None).data))


def test_it_is_draft_7(schema):
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema)
    assert "$defs" not in str(schema)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "  m: {role: manager, region: x, storage: {kind: hdd}}",
        HEAD + "  m: {role: manager, count: '${N}', x-y: z}\nx-a: b\nssh: {x-b: 1, port: '${P:-22}'}",
        HEAD + "  x-base: 1\n  m: {role: manager, memory: 2GiB, disk: 1000000000, overrides: {}}",
        HEAD + "  m: {role: manager, driver: ssh, hosts: [a, {address: b, port: 22}]}",
        HEAD + "  m: {role: manager, region: '${R}', availability: '${A}'}",
        HEAD
        + "  m: {role: manager}\ndrivers: {fake: {zones: 3}}\nstacks: {a: b.yml, c: {files: [d], timeout: 5m, env_file: e}}",
        HEAD + "  m: {role: manager}\nfirewall: none\nswarm: {default_addr_pool: [10.0.0.0/8]}",
        HEAD + "  m: {role: manager}\nswarm: {default_addr_pool: 10.0.0.0/8, autolock: true}",
    ],
)
def test_what_loads_is_valid(schema, text):
    assert errors(schema, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "name: lab",
        HEAD + "  m: {role: boss}",
        HEAD + "  m: {count: 1}",
        HEAD + "  m: {role: manager, cuont: 1}",
        HEAD + "  m: {role: manager, zones: many}",
        HEAD + "  m: {role: manager, memory: lots}",
        HEAD + "  m: {role: manager, hosts: [a]}",
        HEAD + "  m: {role: manager, driver: ssh}",
        HEAD + "  m: {role: manager, driver: ssh, hosts: [a], region: b}",
        HEAD + "  M: {role: manager}",
        HEAD + "  m: {role: manager}\nfirewal: none",
        HEAD + "  m: {role: manager}\nfirewall: iptables",
        HEAD + "  m: {role: manager}\nswarm: {autolock: maybe}",
        HEAD + "  m: {role: manager}\ndrivers: {fake: {zone: 1}}",
        HEAD + "  m: {role: manager}\ndrivers: {nope: {}}",
        HEAD + "  m: {role: manager}\nstacks: {a: {fiel: b}}",
        HEAD + "  m: {role: manager}\nssh: '${X}'",
        HEAD + "  m: {role: manager, driver: ssh, hosts: [{adress: a}]}",
    ],
)
def test_what_does_not_load_is_invalid(schema, text):
    assert errors(schema, text)


def test_every_key_is_described(schema):
    sections = {name: node for name, node in schema["definitions"].items() if "fake" not in name.lower()}
    sections["inventory"] = schema
    undescribed = [
        (name, key)
        for name, node in sections.items()
        for key, value in node.get("properties", {}).items()
        if not value.get("description")
    ]
    assert undescribed == []
    assert len(sections) > 8
