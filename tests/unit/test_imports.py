"""Imports point one way. The layers stand in one table; a package imports from its own row's packages only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = {"errors", "events", "driver", "merge"}

#: What each part of `provision` may import of the others. Read from the bottom up: who is above knows who is below.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "events": set(),
    "driver": set(),
    "merge": set(),
    "drivers": BASE,
    "cloudinit": BASE,
    "local": {"errors"},
    "images": {"errors", "local"},
    "inventory": BASE | {"drivers"},
    "state": BASE | {"inventory"},
    "hosts": BASE | {"inventory"},
    "swarm": BASE | {"inventory"},
    "stacks": BASE | {"inventory", "swarm"},
    "client": BASE | {"state"},
    "display": BASE,
    "planning": BASE | {"inventory", "hosts", "swarm", "stacks"},
    "execution": BASE | {"cloudinit", "inventory", "hosts", "swarm", "stacks", "state", "planning"},
    "operations": BASE
    | {"drivers", "images", "inventory", "hosts", "swarm", "stacks", "state", "client", "display", "planning"}
    | {"execution"},
    "cli": BASE
    | {"drivers", "images", "inventory", "hosts", "swarm", "stacks", "state", "client", "display", "planning"}
    | {"operations"},
    "testing": BASE | {"state"},
}

#: The only places that know a library; whoever needs what it does, asks them.
ONLY_IN: dict[str, set[str]] = {
    "fabric": {"hosts"},
    "paramiko": {"hosts", "swarm"},
    "docker": set(),
    "rich": {"display"},
    "typer": {"cli"},
    "jinja2": {"cloudinit", "display"},
    "pydantic": {"inventory", "state", "driver", "testing"},
    "pycdlib": {"cloudinit"},
    "yaml": {"cloudinit", "inventory", "stacks"},
    "cryptography": {"state", "testing"},
    "libvirt": set(),
    "boto3": set(),
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, type checking included; `from a import b` as `a.b`."""
    for found in ast.walk(ast.parse(path.read_text())):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0, f"{path}: a relative import"
            yield from (f"{found.module}.{alias.name}" for alias in found.names)


def part(path: Path) -> str:
    """`planning` for provision/planning/up.py, `errors` for provision/errors.py."""
    return path.relative_to(ROOT / "provision").parts[0].removesuffix(".py")


FILES = sorted(
    path for path in (ROOT / "provision").rglob("*.py") if path.name not in ("__init__.py", "__main__.py") or part(path)
)
SOURCES = [path for path in FILES if part(path) not in ("__init__", "__main__")]


def test_the_table_names_every_part() -> None:
    assert {part(path) for path in SOURCES} == set(MAY_IMPORT)


def test_the_table_itself_points_one_way() -> None:
    """No two parts may import each other, not even by way of others."""
    below: dict[str, set[str]] = {}
    for name, others in MAY_IMPORT.items():
        assert name not in others
        missing = others - below.keys() - {"client", "display"}
        assert not missing, f"{name} stands before {missing}"
        below[name] = others


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_below(path: Path) -> None:
    own = part(path)
    parts = {
        name.split(".")[1]
        for name in imports(path)
        if name.startswith("provision.") and name != "provision.__version__"
    }
    assert parts - {own} <= MAY_IMPORT[own]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_is_known_in_one_place(path: Path) -> None:
    own = part(path)
    used = {name.split(".")[0] for name in imports(path)}
    assert {library for library in used & ONLY_IN.keys() if own not in ONLY_IN[library]} == set()


def test_planning_touches_nothing() -> None:
    """It is pure: no clock, no environment, no files, no processes."""
    banned = {"os", "subprocess", "socket", "time", "datetime", "threading", "random", "tempfile", "shutil"}
    for path in SOURCES:
        if part(path) == "planning":
            assert not {name.split(".")[0] for name in imports(path)} & banned, path


DRIVERS = sorted((ROOT / "drivers").rglob("*.py"))


@pytest.mark.parametrize("path", DRIVERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_driver_knows_the_contract_and_itself(path: Path) -> None:
    own = path.relative_to(ROOT / "drivers").parts[0]
    allowed = (
        "provision.driver.",
        "provision.errors.",
        "provision.cloudinit.",
        "provision.images.",
        "provision.local.",
        f"{own}.",
    )
    if path.name == "testing.py":  # the driver's side of the contract suite
        allowed = (*allowed, "provision.testing.")
    ours = [name for name in imports(path) if name.startswith("provision") and name != "provision"]
    assert [name for name in ours if not f"{name}.".startswith(allowed)] == []


HEAVY = ("fabric", "paramiko", "docker", "rich", "pydantic", "libvirt", "boto3", "jinja2", "yaml", "cryptography")


def test_help_waits_for_no_library() -> None:
    code = "import sys, provision.cli.main; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert set(HEAVY) & set(done.stdout.split()) == set()
