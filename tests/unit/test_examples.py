"""Every example inventory loads, fits the schema, and the reference leaves no key out."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from provision.inventory import models
from provision.inventory.advice import warnings
from provision.inventory.document import read
from provision.inventory.load import load
from provision.inventory.schema import json_schema
from provision.inventory.specs import machine_specs

FOLDER = Path(__file__).parents[2] / "inventories"
EXAMPLES = sorted(FOLDER.glob("*.yml"))


@pytest.fixture(scope="module")
def schema():
    return json_schema()


def test_there_are_examples():
    assert {"lab.yml", "ssh.yml", "reference.yml"} <= {path.name for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_loads_without_an_environment_and_without_images(path, tmp_path):
    cluster = load(path, environ={"HOME": str(tmp_path)})
    assert machine_specs(cluster)
    assert warnings(cluster) == ()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_fits_the_schema(path, schema):
    data = read(path.read_text("utf-8"), path.name, None).data
    assert list(jsonschema.Draft7Validator(schema).iter_errors(data)) == []


def test_the_lab_is_three_managers_and_two_workers(tmp_path):
    specs = machine_specs(load(FOLDER / "lab.yml", environ={"HOME": str(tmp_path)}))
    assert [spec.name for spec in specs] == [
        *(f"lab-manager-{number}" for number in (1, 2, 3)),
        *(f"lab-worker-{number}" for number in (1, 2)),
    ]
    assert {(spec.driver, spec.image) for spec in specs} == {("nspawn", "debian-12")}


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("reference.yml", models.InventoryModel),
        ("reference.yml", models.GroupModel),
        ("reference.yml", models.OverrideModel),
        ("reference.yml", models.SshModel),
        ("reference.yml", models.EngineModel),
        ("reference.yml", models.SwarmModel),
        ("reference.yml", models.StackModel),
        ("ssh.yml", models.HostModel),
        ("ssh.yml", models.SshModel),
    ],
)
def test_every_key_is_documented(file, model):
    text = (FOLDER / file).read_text("utf-8")
    missing = [key for key in model.model_fields if f"{key}:" not in text]
    assert missing == []
