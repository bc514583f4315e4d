"""What comes out is what cloud-init takes, by the schemas of Debian's own packages, and uses nothing deprecated."""

from __future__ import annotations

import email
from collections.abc import Callable, Iterator
from typing import Any

import cloud_init_schemas
import pytest
import yaml
from cloud_init_schemas import CONFIG, NETWORK, SUITES
from identities import BARE, FULL, PLAIN
from jsonschema import ValidationError
from jsonschema.validators import extend, validator_for

from provision.cloudinit.seed import Identity, render

SNIPPET = """\
#cloud-config
packages: [htop]
users:
  - default
  - {name: alice, groups: docker, ssh_authorized_keys: [ssh-ed25519 AAAA]}
  - {name: ops, groups: [adm]}
write_files:
  - {path: /etc/motd, content: "hello\\n"}
growpart: {mode: "off"}
runcmd:
  - [systemctl, status]
"""
IDENTITIES = [pytest.param(BARE, id="bare"), pytest.param(PLAIN, id="plain"), pytest.param(FULL, id="full")]


# 25 marks with `changed` what Debian still takes without a warning
def _no_deprecated(_validator: object, value: object, _instance: object, _schema: object) -> Iterator[ValidationError]:
    if value is True:
        yield ValidationError("is deprecated")


def problems(schema: dict[str, Any], document: object) -> list[str]:
    strict = extend(validator_for(schema), {"deprecated": _no_deprecated, "changed": _no_deprecated})
    return [f"{error.json_path}: {error.message}" for error in strict(schema).iter_errors(document)]


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest, require: Callable[[object, str], None]) -> str:
    """A Debian suite whose schemas were fetched."""
    name: str = request.param
    require(cloud_init_schemas.is_there(name), f"the schemas of {name}'s cloud-init are not there: make test-packages")
    return name


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("theirs", [None, SNIPPET], ids=["ours", "merged"])
def test_user_data(suite: str, identity: Identity, theirs: str | None) -> None:
    document = yaml.safe_load(render(identity, theirs).user_data)
    assert problems(cloud_init_schemas.load(suite, CONFIG), document) == []


def test_the_part_beside_a_script(suite: str) -> None:
    ours, _theirs = email.message_from_string(render(PLAIN, "#!/bin/sh\ntrue\n").user_data).get_payload()
    document = yaml.safe_load(ours.get_payload(decode=True))
    assert problems(cloud_init_schemas.load(suite, CONFIG), document) == []


def test_network_config(require: Callable[[object, str], None]) -> None:
    """Debian 12's package has no schema for it."""
    require(
        cloud_init_schemas.is_there("trixie"), "the schemas of trixie's cloud-init are not there: make test-packages"
    )
    document = yaml.safe_load(render(FULL).network_config or "")
    assert problems(cloud_init_schemas.load("trixie", NETWORK), document) == []


def test_the_schemas_are_not_toothless(suite: str) -> None:
    schema = cloud_init_schemas.load(suite, CONFIG)
    assert problems(schema, {"ssh_genkeytypes": []})
    assert problems(schema, {"manage_etc_hosts": "template"})
    if suite == "trixie":
        network = cloud_init_schemas.load(suite, NETWORK)
        assert problems(network, {"version": 2, "ethernets": {"nic0": {"addresses": "10.0.0.1/24"}}})
