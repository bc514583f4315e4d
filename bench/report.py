"""docs/performance.md: the words of performance.md.j2, and tables made of the results that are there."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from bench import targets
from bench.results import Result
from bench.rounds import ratio

REPORT = Path(__file__).parent.parent / "docs" / "performance.md"
_TEMPLATE = Path(__file__).with_name("performance.md.j2")
_US = "provision"
#: who is in the tables, in this order, and how they are called in a sentence
_NAMES = {"script": "the script", "pyinfra": "pyinfra", "ansible": "Ansible"}
#: the same of those who make virtual machines
_THEIRS = "virt-lightning"
_VM = {_THEIRS: _THEIRS, "cold": "provision, `boot: cold`", "warm": "provision, `boot: warm`"}
_COMMANDS = {
    "help": "`provision --help`",
    "completion": "completion, as bash asks for it",
    "ls": "`provision ls`",
}
_MISSING = "*Not measured yet.*"


def render(results: Mapping[str, Result]) -> str:
    """The whole document. A table whose result is not there says so. Pure but for reading the template."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )  # Markdown, so nothing is escaped
    values = {name: result.value for name, result in results.items()}
    tables = {
        "machine": machine(results.values()),
        "versions": versions(results.values()),
        "work": _of(values, "work", lambda value: contest(value, "work", targets.WORK)),
        "again": _of(values, "work", lambda value: contest(value, "again", targets.AGAIN)),
        "paths": _of(values, "work", paths),
        "lab": _of(values, "lab", lab),
        "vm": _of(values, "vm", vm),
        "growth": _of(values, "growth", growth),
        "startup": _of(values, "startup", startup),
        "memory": _of(values, "work", memory),
    }
    return environment.from_string(_TEMPLATE.read_text()).render(tables)


def machine(results: Iterable[Result]) -> str:
    """When and on what each was measured; what was measured on the same machine is one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        rows.setdefault(tuple(result.machine.values()), []).append(f"{result.name} ({result.date})")
    head = ("CPU", "cores", "memory", "kernel", "distribution", "measured on it")
    return _table(head, [(*words, ", ".join(names)) for words, names in rows.items()]) if rows else _MISSING


def versions(results: Iterable[Result]) -> str:
    """Everything that ran; where two results differ, all are named."""
    found: dict[str, list[str]] = {}
    for result in results:
        for topic, words in result.versions.items():
            known = found.setdefault(topic, [])
            if words not in known:
                known.append(words)
    return _table(("", "version"), [(topic, "; ".join(all_of)) for topic, all_of in found.items()]) if found else ""


def contest(tables: Sequence[Mapping[str, Any]], which: str, bounds: Mapping[int, Mapping[str, float]]) -> str:
    """Medians by contender, then provision's ratio to each, with the smallest and largest of a round's pair."""
    others = [name for name in _NAMES if any(name in table[which] for table in tables)]
    medians: list[Sequence[str]] = []
    ratios: list[Sequence[str]] = []
    for table in tables:
        seconds = table[which]
        shown = [f"{statistics.median(seconds[name]):.2f}" if name in seconds else "–" for name in (*others, _US)]
        busy = f", {table['busy']} begun on a busy machine" if table.get("busy") else ""
        medians.append((str(table["hosts"]), *shown, f"{len(seconds[_US])}{busy}", table.get("measured", "–")))
        for name in (name for name in others if name in seconds):
            found, least, most = ratio(seconds[_US], seconds[name])
            bound = bounds.get(table["hosts"], {}).get(name)
            target = ("–", "–") if bound is None else (f"{bound:g}", targets.verdict(found <= bound))
            row = (str(table["hosts"]), _NAMES[name], f"**{found:.2f}**", f"{least:.2f}–{most:.2f}", *target)
            ratios.append(row)
        missing = bounds.get(table["hosts"], {}).keys() - seconds.keys()
        ratios += [
            (str(table["hosts"]), _NAMES[name], "–", "–", f"{bounds[table['hosts']][name]:g}", "not measured")
            for name in sorted(missing)
        ]
    head = ("hosts", *(f"{name}, s" for name in (*others, _US)), "rounds", "measured")
    against = ("hosts", "provision against", "ratio of medians", "pair by pair", "shall be at most", "target")
    return f"{_table(head, medians)}\n\n{_table(against, ratios)}"


def paths(tables: Sequence[Mapping[str, Any]]) -> str:
    """What decided the end of one run at each size, by verb."""
    parts = []
    for table in tables:
        run = table["path"]
        parts.append(f"{table['hosts']} hosts, one run of {run['seconds']:.2f} s:\n\n{_account(run)}")
    return "\n\n".join(parts)


def lab(value: Mapping[str, Any]) -> str:
    """From nothing to the page, by step, and the parts that cannot be left out."""
    whole = statistics.median(value["ups"])
    parts = [(name, f"{statistics.median(seconds):.2f}", _span(seconds)) for name, seconds in value["parts"].items()]
    total = sum(statistics.median(seconds) for seconds in value["parts"].values())
    parts.append(("**together**", f"**{total:.2f}**", ""))
    return (
        f"From nothing to the page: **{whole:.2f} s**, the median of {len(value['ups'])} runs ({_span(value['ups'])});"
        f" {whole / total:.2f} times the sum of the unavoidable parts. The median run:\n\n"
        f"{_account(value['run'], value['page'])}\n\n"
        f"The parts by themselves:\n\n{_table(('part', 'median, s', 'smallest–largest'), parts)}"
    )


def vm(value: Mapping[str, Any]) -> str:
    """Medians, and provision's ratio to virt-lightning, cold and warm; judged at the number that is asked for."""
    theirs = value["seconds"][_THEIRS]
    rows: list[Sequence[str]] = []
    for name, seconds in value["seconds"].items():
        taken = (_VM[name], f"{statistics.median(seconds):.2f}", _span(seconds))
        if name == _THEIRS:
            rows.insert(0, (*taken, "–", "–", "–", "–"))
            continue
        found, least, most = ratio(seconds, theirs)
        bound = targets.VM[name]
        judged = targets.verdict(found <= bound) if value["machines"] == targets.MACHINES else "–"
        rows.append((*taken, f"**{found:.2f}**", f"{least:.2f}–{most:.2f}", f"{bound:g}", judged))
    head = ("", "median, s", "smallest–largest", "ratio of medians", "pair by pair", "shall be at most", "target")
    busy = f", {value['busy']} turns begun on a busy machine" if value["busy"] else ""
    return (
        f"{value['machines']} machines, {len(theirs)} rounds{busy}; measured {value['measured']}:\n\n"
        f"{_table(head, rows)}\n\n"
        f"The first warm run, which made what the others were cloned from: {value['template']:.2f} s."
    )


def growth(value: Mapping[str, Any]) -> str:
    """Real hosts, then simulated ones, with what is judged about them."""
    parts = [_grown("real", value["real"])] if value.get("real") else []
    simulated = value.get("simulated") or []
    if simulated:
        parts.append(_grown("simulated", simulated))
        parts.append(_judged(simulated))
    return "\n\n".join(parts) or _MISSING


def startup(value: Mapping[str, Any]) -> str:
    """Milliseconds by command, and whether that is quick enough."""
    rows = []
    for name, taken in value["milliseconds"].items():
        bound = targets.STARTUP[name]
        comparable = name != "ls" or value["hosts"] >= targets.HOSTS
        words = f"{_COMMANDS[name]} of {value['hosts']} machines" if name == "ls" else _COMMANDS[name]
        rows.append((words, f"{taken:.0f}", f"{bound:.0f}", targets.verdict(taken < bound) if comparable else "–"))
    return _table(("command", "median, ms", "shall be under", "target"), rows)


def memory(tables: Sequence[Mapping[str, Any]]) -> str:
    """The most that each contender's first process ever had, in all rounds of a size."""
    rows = []
    for table in tables:
        others = [name for name in _NAMES if name in table["memory"]]
        us = max(table["memory"][_US])
        judged = targets.verdict(us < targets.MEMORY) if table["hosts"] == targets.HOSTS else "–"
        beside = ", ".join(f"{name} {max(table['memory'][name]) / 1e6:.0f}" for name in others)
        rows.append((str(table["hosts"]), f"{us / 1e6:.0f}", f"{targets.MEMORY / 1e6:.0f}", judged, beside))
    head = ("hosts", "provision, peak MB", f"shall be under (at {targets.HOSTS})", "target", "the others, MB")
    return _table(head, rows)


def _of(values: Mapping[str, Any], name: str, make: Any) -> str:
    return make(values[name]) if name in values else _MISSING


def _account(run: Mapping[str, Any], page: float | None = None) -> str:
    """By verb: how many steps, seconds of all, the longest, and seconds and waiting on the critical path."""
    links: dict[str, list[Mapping[str, Any]]] = {}
    for link in run["links"]:
        links.setdefault(link["verb"], []).append(link)
    rows: list[Sequence[str]] = [("before the first step", "", "", "", f"{run['before']:.2f}", "")]
    for kind in run["kinds"]:
        on = links.get(kind["verb"], [])
        waited = f"{sum(link['waiting'] for link in on):.2f}" if on else ""
        critical = f"{kind['critical']:.2f}" if on else ""
        seconds = (f"{kind['total']:.2f}", f"{kind['longest']:.2f}", critical, waited)
        rows.append((kind["verb"], str(kind["steps"]), *seconds))
    rows.append(("after the last step", "", "", "", f"{run['after']:.2f}", ""))
    if page is not None:
        rows.append(("until the page answers", "", "", "", f"{page:.2f}", ""))
    last = run["seconds"] + (page or 0.0)
    waited = f"{sum(link['waiting'] for link in run['links']):.2f}"
    # the critical path and its waiting are the whole time, but for rounding
    rows.append((f"**together {last:.2f}**", "", "", "", f"{last - float(waited):.2f}", waited))
    head = ("step", "steps", "seconds of all", "longest", "on the critical path", "waiting before them")
    return _table(head, rows)


def _grown(what: str, rows: Sequence[Mapping[str, Any]]) -> str:
    head = (f"{what} hosts", "run", "wall, s", "ms a host", "CPU, s", "peak MB", "threads", "files")
    return _table(
        head,
        [
            (
                str(row["hosts"]),
                row["run"],
                f"{row['seconds']:.2f}",
                f"{1000 * row['seconds'] / row['hosts']:.0f}",
                f"{row['cpu']:.2f}",
                f"{row['peak_memory'] / 1e6:.0f}",
                str(row["threads"]),
                str(row["files"]),
            )
            for row in rows
        ],
    )


def _judged(rows: Sequence[Mapping[str, Any]]) -> str:
    """Each run over its sizes."""
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append(row)
    shown = []
    for run, sizes in runs.items():
        if len(sizes) < 2:
            continue
        straight = targets.linear([row["hosts"] for row in sizes], [row["seconds"] for row in sizes])
        threads, files = (targets.bounded([row[name] for row in sizes]) for name in ("threads", "files"))
        shown.append((run, targets.verdict(straight), targets.verdict(threads), targets.verdict(files)))
    return _table(("simulated", "linear in the hosts", "threads bounded", "files bounded"), shown) if shown else ""


def _span(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.2f}–{max(seconds):.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; a column whose every cell is a number, bold or not, stands to the right."""
    body = [tuple(row) for row in rows]
    numbers = [all(_is_number(row[column]) for row in body) for column in range(len(head))]
    rule = ["---:" if number and body else "---" for number in numbers]
    return "\n".join(f"| {' | '.join(row)} |" for row in (tuple(head), tuple(rule), *body))


def _is_number(cell: str) -> bool:
    return cell.strip("*–").replace(".", "", 1).replace("–", "").replace(".", "", 1).isdigit() or cell in ("", "–")
