"""Data on stdout: tables, JSON Lines, names, templates."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provision.display.table import Column, render
from provision.driver import Role
from provision.errors import UsageError


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    role: Role
    address: str | None
    labels: dict[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    up: bool = True
    since: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    file: Path = Path("/a")
    token: str = field(default="hunter2", repr=False)


ROWS = [
    Row("lab-manager-1", Role.MANAGER, "10.0.0.1", {"tier": "web", "zone": "a"}, ("x", "y")),
    Row("lab-worker-10", Role.WORKER, None, up=False),
]
COLUMNS = [Column("name", "name"), Column("role", "role"), Column("address", "address")]
WIDE = [Column("labels", "labels"), Column("keys", lambda row: row.keys), Column("up", "up")]


def test_a_table_is_aligned_and_has_no_empty_cell() -> None:
    assert render(ROWS, COLUMNS, WIDE) == (
        "NAME            ROLE      ADDRESS\nlab-manager-1   manager   10.0.0.1\nlab-worker-10   worker    -\n"
    )


def test_wide_adds_columns() -> None:
    assert [line.split() for line in render(ROWS, COLUMNS, WIDE, output="wide").splitlines()] == [
        ["NAME", "ROLE", "ADDRESS", "LABELS", "KEYS", "UP"],
        ["lab-manager-1", "manager", "10.0.0.1", "tier=web,zone=a", "x,y", "yes"],
        ["lab-worker-10", "worker", "-", "-", "-", "no"],
    ]


def test_no_rows_leave_the_header() -> None:
    assert render([], COLUMNS) == "NAME   ROLE   ADDRESS\n"
    assert [render([], COLUMNS, output=output) for output in ("json", "name")] == ["", ""]


def test_json_is_one_object_a_line_with_all_fields_but_secrets() -> None:
    first, second = [json.loads(line) for line in render(ROWS, COLUMNS, output="json").splitlines()]
    assert first == {
        "name": "lab-manager-1",
        "role": "manager",
        "address": "10.0.0.1",
        "labels": {"tier": "web", "zone": "a"},
        "keys": ["x", "y"],
        "up": True,
        "since": "2025-01-02T00:00:00+00:00",
        "file": "/a",
    }
    assert second["address"] is None


def test_names_are_one_a_line() -> None:
    assert render(ROWS, COLUMNS, output="name") == "lab-manager-1\nlab-worker-10\n"


def test_rows_may_be_mappings() -> None:
    assert render([{"name": "a", "size": 3}], [Column("size", "size")]) == "SIZE\n3\n"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ name }} {{ role }}", "lab-manager-1 manager\nlab-worker-10 worker\n"),
        ("name ~ ':' ~ (keys | length)", "lab-manager-1:2\nlab-worker-10:0\n"),
        ("{% if up %}{{ labels.tier }}{% endif %}", "web\n\n"),
        ("labels | tojson", '{"tier": "web", "zone": "a"}\n{}\n'),
        ("'<' ~ name ~ '>'", "<lab-manager-1>\n<lab-worker-10>\n"),
    ],
)
def test_a_template_is_rendered_for_each_row(template: str, text: str) -> None:
    assert render(ROWS, COLUMNS, template=template) == text


def test_an_unknown_field_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="'adress' is undefined") as caught:
        render(ROWS, COLUMNS, template="{{ adress }}")
    assert "address" in caught.value.hint
    assert "token" not in caught.value.hint


def test_a_bad_template_is_located() -> None:
    with pytest.raises(UsageError, match=r"^--format:2: ") as caught:
        render(ROWS, COLUMNS, template="{{ name }}\n{{ role")
    assert caught.value.detail == "    {{ role"


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ name.missing }}", "{{ up + name }}", "", "{{ name | nope }}"])
def test_a_template_that_fails_is_a_usage_error(template: str) -> None:
    with pytest.raises(UsageError, match=r"^--format"):
        render(ROWS, COLUMNS, template=template)


@pytest.mark.parametrize("template", ["{{ name.__class__.__mro__ }}", "{{ labels.update({'a': 'b'}) }}"])
def test_a_template_stays_in_its_sandbox(template: str) -> None:
    with pytest.raises(UsageError, match=r"^--format: "):
        render(ROWS, COLUMNS, template=template)


def test_an_unknown_output_is_a_usage_error_with_a_guess() -> None:
    with pytest.raises(UsageError, match="'jsno'") as caught:
        render(ROWS, COLUMNS, output="jsno")
    assert "did you mean 'json'?" in caught.value.hint


def test_rich_and_jinja_are_not_imported_before_they_are_used() -> None:
    script = (
        "import sys, provision.display.select, provision.display.table, provision.display.tty\n"
        "print([name for name in ('rich', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
