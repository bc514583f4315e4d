"""docs/performance.md, made of a few results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.report import render
from bench.results import Result, read, store, this_machine

MACHINE = {"CPU": "abacus", "cores": "2", "memory": "1 GiB", "kernel": "6.1", "distribution": "Debian"}
PATH = {
    "seconds": 3.0,
    "before": 0.5,
    "links": [
        {"subject": "a", "verb": "configure", "seconds": 1.5, "waiting": 0.25},
        {"subject": "b", "verb": "join as worker", "seconds": 0.5, "waiting": 0.0},
    ],
    "after": 0.25,
    "kinds": [
        {"verb": "configure", "steps": 3, "total": 4.0, "longest": 1.75, "critical": 1.5},
        {"verb": "join as worker", "steps": 2, "total": 0.75, "longest": 0.5, "critical": 0.5},
    ],
}
WORK = [
    {
        "hosts": 10,
        "work": {"script": [4.0, 4.0, 5.0], "pyinfra": [6.0, 6.0, 6.0], "provision": [3.6, 4.8, 3.0]},
        "again": {"script": [1.0, 1.0, 1.0], "pyinfra": [2.0, 2.0, 2.0], "provision": [1.5, 1.5, 1.5]},
        "memory": {"script": [4e6, 4e6, 4e6], "pyinfra": [9e7, 9e7, 9e7], "provision": [8e7, 8e7, 8e7]},
        "path": PATH,
    },
    {
        "hosts": 50,
        "work": {"script": [10.0], "provision": [9.5]},
        "again": {"script": [1.0], "provision": [0.5]},
        "memory": {"script": [4e6], "provision": [2e8]},
        "path": PATH,
    },
]
GROWN = {"run": "up", "cpu": 1.0, "peak_memory": 9e7}


def result(name: str, value: Any, **more: Any) -> Result:
    """A result as it is read."""
    given = {"date": "2026-01-01 10:00 UTC", "machine": MACHINE, "versions": {"Python": "3.11"}, **more}
    return Result(name=name, value=value, **given)


def rows(text: str, begin: str) -> list[list[str]]:
    """The cells of all rows that begin so."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith(begin)
    ]


def section(text: str, title: str) -> str:
    """What stands below a heading."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_without_results_every_table_says_so() -> None:
    text = render({})
    for title in (
        "The work",
        "Nothing to do",
        "The lab, from nothing",
        "Virtual machines, from nothing",
        "Growth",
        "Start-up and memory",
    ):
        assert "Not measured yet" in section(text, title)


def test_ratios_stand_beside_targets_that_are_met_or_missed() -> None:
    text = section(render({"work": result("work", WORK)}), "The work")
    assert rows(text, "| 10 | the script") == [["10", "the script", "**0.90**", "0.60–1.20", "1", "met"]]
    assert rows(text, "| 10 | pyinfra") == [["10", "pyinfra", "**0.60**", "0.50–0.80", "0.7", "met"]]
    assert rows(text, "| 50 | the script") == [["50", "the script", "**0.95**", "0.95–0.95", "0.9", "missed"]]


def test_medians_stand_by_contender() -> None:
    text = section(render({"work": result("work", WORK)}), "The work")
    assert rows(text, "| hosts | script") == [
        ["hosts", "script, s", "pyinfra, s", "provision, s", "rounds", "measured"]
    ]
    assert rows(text, "| 10 | 4.00") == [["10", "4.00", "6.00", "3.60", "3", "–"]]
    assert rows(text, "| 50 | 10.00") == [["50", "10.00", "–", "9.50", "1", "–"]]


def test_a_contender_that_was_left_out_is_said_to_be() -> None:
    text = section(render({"work": result("work", WORK)}), "The work")
    assert rows(text, "| 50 | pyinfra")[0][-2:] == ["0.65", "not measured"]


def test_nothing_to_do_has_targets_of_its_own() -> None:
    text = section(render({"work": result("work", WORK)}), "Nothing to do")
    assert rows(text, "| 10 | the script")[0][-2:] == ["–", "–"]
    assert rows(text, "| 10 | pyinfra")[0][-2:] == ["0.5", "missed"]


def test_memory_is_judged_at_fifty_hosts() -> None:
    text = section(render({"work": result("work", WORK)}), "Start-up and memory")
    assert rows(text, "| 10 | 80") == [["10", "80", "150", "–", "script 4, pyinfra 90"]]
    assert rows(text, "| 50 | 200")[0][3] == "missed"


def test_a_path_adds_up_to_the_whole_run() -> None:
    text = section(render({"work": result("work", WORK)}), "Where the time goes")
    assert rows(text, "| configure")[0] == ["configure", "3", "4.00", "1.75", "1.50", "0.25"]
    assert rows(text, "| **together")[0] == ["**together 3.00**", "", "", "", "2.75", "0.25"]


def test_the_lab_stands_against_the_sum_of_its_parts() -> None:
    value = {"ups": [12.0, 9.0, 10.0], "run": PATH, "page": 0.1, "parts": {"boot": [3.0, 5.0], "swarm init": [1.0]}}
    text = section(render({"lab": result("lab", value)}), "The lab, from nothing")
    assert "**10.00 s**, the median of 3 runs (9.00–12.00); 2.00 times the sum" in text
    assert rows(text, "| **together**") == [["**together**", "**5.00**", ""]]


@pytest.mark.parametrize(("machines", "judged"), [(3, ["met", "missed"]), (1, ["–", "–"])])
def test_virtual_machines_are_judged_against_virt_lightning_at_their_number(machines: int, judged: list[str]) -> None:
    seconds = {"cold": [80.0, 90.0, 60.0], "virt-lightning": [100.0, 100.0, 120.0], "warm": [40.0, 40.0, 40.0]}
    value = {"machines": machines, "template": 70.0, "seconds": seconds, "busy": 1, "measured": "today"}
    text = section(render({"vm": result("vm", value)}), "Virtual machines, from nothing")
    assert f"{machines} machines, 3 rounds, 1 turns begun on a busy machine; measured today" in text
    assert rows(text, "| virt-lightning | 100")[0][1:] == ["100.00", "100.00–120.00", "–", "–", "–", "–"]
    assert rows(text, "| provision, `boot: cold`")[0][1:] == [
        *("80.00", "60.00–90.00", "**0.80**", "0.50–0.90", "0.9", judged[0])
    ]
    assert rows(text, "| provision, `boot: warm`")[0][3:] == ["**0.40**", "0.33–0.40", "0.3", judged[1]]
    assert "cloned from: 70.00 s" in text


@pytest.mark.parametrize(
    ("seconds", "files", "said"), [(50.0, 40, ["met", "met", "met"]), (90.0, 400, ["missed", "met", "missed"])]
)
def test_growth_is_judged_on_simulated_hosts(seconds: float, files: int, said: list[str]) -> None:
    simulated = [
        {**GROWN, "hosts": 1000, "seconds": 10.0, "threads": 30, "files": 40},
        {**GROWN, "hosts": 5000, "seconds": seconds, "threads": 30, "files": files},
    ]
    real = [{**GROWN, "hosts": 10, "seconds": 1.0, "threads": 10, "files": 10}]
    text = section(render({"growth": result("growth", {"real": real, "simulated": simulated})}), "Growth")
    assert rows(text, "| simulated | linear") != []
    assert rows(text, "| up |")[0] == ["up", *said]
    assert rows(text, "| 10 | up")[0] == ["10", "up", "1.00", "100", "1.00", "90", "10", "10"]


def test_start_up_is_judged_by_command_and_lists_by_their_size() -> None:
    def shown(hosts: int) -> str:
        value = {"hosts": hosts, "milliseconds": {"help": 150.0, "completion": 250.0, "ls": 900.0}}
        return section(render({"startup": result("startup", value)}), "Start-up and memory")

    assert rows(shown(50), "| `provision --help`")[0][1:] == ["150", "200", "met"]
    assert rows(shown(50), "| completion")[0][1:] == ["250", "200", "missed"]
    assert rows(shown(50), "| `provision ls`")[0][1:] == ["900", "1000", "met"]
    assert rows(shown(3), "| `provision ls`")[0][-1] == "–"


def test_machine_and_versions_stand_at_the_top_once() -> None:
    other = result("startup", {"hosts": 3, "milliseconds": {}}, versions={"Python": "3.12"})
    top = section(render({"work": result("work", WORK), "startup": other}), "What it was measured on")
    assert rows(top, "| abacus")[0][-1] == "work (2026-01-01 10:00 UTC), startup (2026-01-01 10:00 UTC)"
    assert rows(top, "| Python") == [["Python", "3.11; 3.12"]]


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    text = render({"work": result("work", WORK)})
    for table in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_is_stored_is_read_again_with_its_machine(tmp_path: Path) -> None:
    store("work", WORK, {"script": "bash"}, tmp_path)
    found = read(tmp_path)["work"]
    assert found.value == WORK
    assert found.versions["script"] == "bash"
    assert found.machine == this_machine()
    assert all(found.machine.values())
