"""What the command line says of itself, and of inventories."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from provision import __version__
from provision.cli.main import app


def _commands(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by its words; a family, like `image`, and its members too."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found[before + name] = command
        if hasattr(command, "commands"):
            found |= _commands(command, f"{before}{name} ")
    return found


COMMANDS = _commands(typer.main.get_command(app))
WANTED = {
    *("up", "plan", "down", "add-worker", "add-manager", "rm", "ls", "inspect", "status", "ssh", "exec", "env"),
    *("docker", "context", "validate", "schema", "drivers", "init", "unlock", "history", "version"),
}


def test_every_command_of_the_issue_is_there() -> None:
    assert set(COMMANDS) >= WANTED


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, provision: Callable[..., Any]) -> None:
    said = provision(*name.split(), "--help")
    assert (said.code, said.err) == (0, "")
    first = (COMMANDS[name].help or COMMANDS[name].callback.__doc__ or "").strip().splitlines()[0]
    assert first
    assert " ".join(first.split()) in " ".join(said.out.split())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_help_text(name: str) -> None:
    silent = [option.name for option in COMMANDS[name].params if not getattr(option, "help", None)]
    assert silent in ([], ["help"])


def test_the_help_lists_the_commands_with_their_first_sentence(provision: Callable[..., Any]) -> None:
    said = provision("--help")
    assert said.code == 0
    assert all(f"  {name} " in said.out for name in COMMANDS if " " not in name)


def test_the_version_is_said(provision: Callable[..., Any]) -> None:
    for words in (("version",), ("--version",)):
        assert provision(*words).out == f"provision {__version__}\n"


@pytest.mark.parametrize(
    "words", [("uup",), ("up", "--no-such-option"), ("plan", "a.yml", "b.yml"), ("init", "--managers", "0"), ()]
)
def test_a_wrong_command_line_is_a_usage_error(words: tuple[str, ...], provision: Callable[..., Any]) -> None:
    said = provision(*words)
    assert said.code == 2
    assert "Usage: provision" in said.out + said.err


# --- inventories ---


def test_three_mistakes_give_three_located_messages(place: Path, provision: Callable[..., Any]) -> None:
    (place / "bad.yml").write_text(
        "name: lab\n"
        "driver: ssh\n"
        "machines:\n"
        "  manager:\n"
        "    role: boss\n"
        "    cuont: 3\n"
        "  worker: {role: worker, hosts: [{address: 10.0.0.1, port: 99999}]}\n"
    )
    said = provision("validate", "bad.yml")
    assert said.code == 3
    located = [line for line in said.err.splitlines() if line.startswith("bad.yml:") or "/bad.yml:" in line]
    assert len(located) >= 3
    assert {line.split("bad.yml:")[1].split(":")[0] for line in located} >= {"5", "6", "7"}
    assert "did you mean 'count'?" in said.err
    assert said.out == ""


def test_what_init_writes_validates(place: Path, provision: Callable[..., Any]) -> None:
    said = provision("init", "--name", "web", "--managers", "1", "--workers", "4")
    assert said.code == 0, said
    said = provision("validate")
    assert (said.code, said.out) == (0, "inventory.yml: cluster 'web', 5 machines, 0 stacks\n")


def test_what_init_writes_for_hosts_validates(place: Path, provision: Callable[..., Any]) -> None:
    hosts = [word for n in (1, 2, 3) for word in ("--host", f"root@10.0.0.{n}:2222")]
    assert provision("init", "web.yml", "--driver", "ssh", "--managers", "1", *hosts).code == 0
    said = provision("validate", "web.yml")
    assert said.code == 0, said
    assert "3 machines" in said.out


def test_init_replaces_nothing_unless_by_force(place: Path, provision: Callable[..., Any]) -> None:
    (place / "inventory.yml").write_text("mine\n")
    said = provision("init")
    assert (said.code, (place / "inventory.yml").read_text()) == (2, "mine\n")
    assert "--force" in said.err
    assert provision("init", "--force").code == 0
    assert (place / "inventory.yml").read_text() != "mine\n"


def test_the_schema_is_json(provision: Callable[..., Any]) -> None:
    schema = json.loads(provision("schema").out)
    assert schema["$schema"].startswith("http://json-schema.org/draft-07")
    assert "machines" in schema["properties"]


def test_the_drivers_are_listed(provision: Callable[..., Any]) -> None:
    said = provision("drivers", "-o", "name")
    assert (said.code, said.out.split()) == (0, ["libvirt", "nspawn", "ssh"])


@pytest.mark.parametrize("command", ["up", "plan", "down", "validate", "status", "add-worker"])
def test_a_file_that_is_not_there_is_a_usage_error(command: str, provision: Callable[..., Any]) -> None:
    said = provision(command, "missing.yml")
    assert said.code in (2, 3), said
    assert "missing.yml" in said.err
    assert "defect" not in said.err
