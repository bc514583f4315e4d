"""The same work by every contender, in turn, again and again from the same state; and once more with nothing to do."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.fleet import Fleet, quiet
from bench.measure import Measured, run_measured
from bench.site import Contender

#: no contender has ever needed a tenth of it
_LIMIT = 900.0


@dataclass(slots=True)
class Table:
    """Seconds by contender, a value a round, in the order of the rounds; and the most memory that each ever had."""

    hosts: int
    work: dict[str, list[float]] = field(default_factory=dict)
    again: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)
    #: turns that began although the machine had not come to rest in time
    busy: int = 0


def rounds(fleet: Fleet, contenders: Sequence[Contender], count: int, *, say: Callable[[str], None]) -> Table:
    """Measure. Raises RuntimeError when a contender fails, does not do the work, or restarts an engine for nothing."""
    table = Table(len(fleet.hosts))
    for contender in contenders:
        contender.prepare(fleet.site)
    for number in range(count):
        for contender in (contenders[index] for index in turns(len(contenders), number)):
            work, again, calm = _both(fleet, contender)
            table.busy += not calm
            table.work.setdefault(contender.name, []).append(work.seconds)
            table.again.setdefault(contender.name, []).append(again.seconds)
            table.memory.setdefault(contender.name, []).append(max(work.peak_memory, again.peak_memory))
            say(
                f"{len(fleet.hosts)} hosts, round {number + 1}: {contender.name} {work.seconds:.2f} {again.seconds:.2f}"
            )
    return table


def turns(count: int, number: int) -> tuple[int, ...]:
    """Who goes when in a round: a Williams design, in which everybody comes as often after each of the others."""
    first = [0]
    for step in range(1, count):
        first.append((first[-1] + (step if step % 2 else -step)) % count)
    row = [(index + number) % count for index in first]
    # with an odd count it takes the same rows backwards too
    return tuple(reversed(row) if count % 2 and (number // count) % 2 else row)


def _both(fleet: Fleet, contender: Contender) -> tuple[Measured, Measured, bool]:
    contender.forget(fleet.site)
    calm = fleet.reset()
    work = _run(fleet, contender)
    fleet.check()
    engines = fleet.engines()
    calm &= quiet()  # the engines go on for a while with what a join began
    again = _run(fleet, contender)
    fleet.check()
    if fleet.engines() != engines:
        raise RuntimeError(f"{contender.name} restarted engines although nothing had changed")
    contender.forget(fleet.site)
    return work, again, calm


def _run(fleet: Fleet, contender: Contender) -> Measured:
    site = fleet.site
    environ = {**os.environ, **contender.environ(site)}
    done = run_measured(contender.argv(site), environ, site.folder, limit=_LIMIT)
    if done.status != 0:
        raise RuntimeError(f"{contender.name} failed ({done.status}):\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def ratio(of: Sequence[float], to: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of the medians, and the smallest and largest ratio of a single round's pair."""
    pairs = [mine / other for mine, other in zip(of, to, strict=True)]
    return statistics.median(of) / statistics.median(to), min(pairs), max(pairs)
