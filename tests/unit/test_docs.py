"""The documents say what is there: links, commands, make targets, and inventories that load."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import typer

from provision.cli.main import app
from provision.inventory.load import loads
from provision.inventory.models import InventoryModel

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
#: what an example that shows one section leaves to the reader
HEAD = {"name": "name: docs\n", "driver": "driver: nspawn\n", "machines": "machines: {manager: {role: manager}}\n"}


def prose(text: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that a renderer makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path: Path) -> list[str]:
    """The relative links of a document that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text("utf-8"))):
        file, _, anchor = link.partition("#")
        if "://" in file:
            continue
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def commands() -> set[str]:
    """The commands of the command line."""
    group = typer.main.get_command(app)
    return set(group.commands)  # type: ignore[attr-defined]


def named_commands(text: str) -> set[str]:
    """The words that follow `provision` where a document shows a command line."""
    lines = re.findall(r"(?:^\$ |`|\$\()provision ([a-z][a-z-]*)", text, flags=re.MULTILINE)
    hints = re.findall(r"(?:hint: .*: |\()provision ([a-z][a-z-]*)(?=[ )])", text)
    return {*lines, *hints}


def examples() -> list[tuple[str, str]]:
    """Every YAML block that is an inventory or a part of one, by document and line."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for match in re.finditer(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
            keys = re.findall(r"^([a-z_]+):", match[1], flags=re.MULTILINE)
            if keys and set(keys) <= set(InventoryModel.model_fields):
                line = text[: match.start()].count("\n") + 1
                found.append((f"{path.name}:{line}", match[1]))
    return found


def test_the_documents_are_found() -> None:
    assert {"README.md", "ARCHITECTURE.md", "inventory.md", "commands.md"} <= {path.name for path in DOCUMENTS}
    assert len(examples()) >= 10


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert broken(path) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_exists(path: Path) -> None:
    assert named_commands(path.read_text("utf-8")) - commands() == set()


def test_every_command_has_its_example() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    titles = ", ".join(re.findall(r"^## (.+)$", text, flags=re.MULTILINE)).split(", ")
    assert commands() - set(titles) == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", path.read_text("utf-8"), flags=re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("text", [pytest.param(text, id=place) for place, text in examples()])
def test_every_inventory_loads(text: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "inventories" / "stacks", tmp_path / "stacks", ignore=shutil.ignore_patterns("*.tar"))
    missing = "".join(line for key, line in HEAD.items() if not re.search(rf"^{key}:", text, flags=re.MULTILINE))
    assert loads(missing + text, tmp_path / "inventory.yml", environ={"HOME": str(tmp_path)}).groups


def test_documented_python_files_exist() -> None:
    text = prose((ROOT / "ARCHITECTURE.md").read_text("utf-8"))
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)", text))
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "provision" / name).exists()]
    assert named
    assert missing == []
