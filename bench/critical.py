"""The critical path of a run: the chain of steps that decided when it ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from provision.inventory.load import load
from provision.operations.place import Place
from provision.operations.up import planned
from provision.planning.plan import Step
from provision.state.paths import state_root

#: what each step waits for, by its id: those that must be done before it, and those that must be over
Edges: TypeAlias = Mapping[str, Collection[str]]
#: one line of `--progress json`
Event: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A step of the path. `waiting` are the seconds from the end of the one before it (or the run's start) to its own
    start, `seconds` those from there to its end."""

    subject: str
    verb: str
    seconds: float
    waiting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All steps of a verb: how many, their seconds together, the longest, and the seconds on the critical path."""

    verb: str
    steps: int
    total: float
    longest: float
    critical: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the seconds of one run went: `before` its first step (start of the program, looking, planning), along the
    path, `after` its last step. The three are the whole."""

    seconds: float
    before: float
    links: tuple[Link, ...]
    after: float
    kinds: tuple[Kind, ...]


def account(events: Iterable[Event], edges: Edges, *, began: float, seconds: float) -> Account:
    """Of a run that began then (seconds since the epoch) and took that long. Raises ValueError where no step ended."""
    seen = list(events)
    links = critical_path(seen, edges)
    if not links:
        raise ValueError("no step of the run ended")
    before = _began(seen, _moments(seen, "step_started")) - began
    after = seconds - before - sum(link.waiting + link.seconds for link in links)
    return Account(seconds=seconds, before=before, links=links, after=after, kinds=kinds(seen, links))


def critical_path(events: Iterable[Event], edges: Edges) -> tuple[Link, ...]:
    """From the first link to the step that ended last, each behind the one that it had to wait for longest.

    Empty when no step ended. Steps that were skipped took no time and are no links.
    """
    seen = list(events)
    start = _moments(seen, "step_started")
    end = _moments(seen, "step_done", "step_failed")
    step = max(end, key=lambda one: end[one], default=None)
    path: list[Link] = []
    while step is not None:
        subject, verb = step.split("/", 1)
        before = max((one for one in edges.get(step, ()) if one in end), key=lambda one: end[one], default=None)
        free = end[before] if before is not None else _began(seen, start)
        path.append(Link(subject=subject, verb=verb, seconds=end[step] - start[step], waiting=start[step] - free))
        step = before
    return tuple(reversed(path))


def kinds(events: Iterable[Event], path: Iterable[Link]) -> tuple[Kind, ...]:
    """What each verb took, in the order in which they first ended."""
    took: dict[str, list[float]] = {}
    for event in events:
        if event["type"] in ("step_done", "step_failed"):
            took.setdefault(event["verb"], []).append(event["seconds"])
    links = list(path)
    return tuple(
        Kind(
            verb=verb,
            steps=len(all_of),
            total=sum(all_of),
            longest=max(all_of),
            critical=sum(link.seconds for link in links if link.verb == verb),
        )
        for verb, all_of in took.items()
    )


def text(path: Sequence[Link]) -> str:
    """A line a link: subject, verb, seconds, waiting; and the sums."""
    seconds, waiting = sum(link.seconds for link in path), sum(link.waiting for link in path)
    rows = [("subject", "verb", "seconds", "waiting")]
    rows += [(link.subject, link.verb, f"{link.seconds:.2f}", f"{link.waiting:.2f}") for link in path]
    rows.append(("", "", f"{seconds:.2f}", f"{waiting:.2f}"))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{a:<{first}}  {b:<{second}}  {c:>7}  {d:>7}" for a, b, c, d in rows)


def edges_of(steps: Iterable[Step]) -> dict[str, list[str]]:
    """The edges of a plan."""
    return {step.id: sorted(step.needs | step.after) for step in steps}


def edges_of_up(inventory: Path, environ: Mapping[str, str]) -> dict[str, list[str]]:
    """The edges of what `provision up` would do now, for a user with this environment. Changes nothing.

    Drivers look at this process's own environment, so what it says of them must be the same.
    """
    cluster = load(inventory, environ=environ)
    with planned(cluster, Place(root=state_root(environ), environ=environ)) as made:
        return edges_of(made.plan)


def _moments(events: Iterable[Event], *types: str) -> dict[str, float]:
    return {event["step"]: _moment(event) for event in events if event["type"] in types}


def _began(events: Iterable[Event], start: Mapping[str, float]) -> float:
    return next((_moment(event) for event in events if event["type"] == "run_started"), min(start.values()))


def _moment(event: Event) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
