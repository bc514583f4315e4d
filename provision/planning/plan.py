"""The plan: a graph of steps, and the text that users read and tests compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from provision.planning.actions import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do. `needs` must have succeeded before it, `after` must merely be over.

    `after` may name steps that `needs` names too: a thousand steps that come after the same thousand share one set.
    """

    subject: str
    verb: str
    cause: str
    action: Action
    needs: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    #: finer causes, one a change; shown with -v
    details: tuple[str, ...] = ()
    #: True for what takes something away that cannot be had back
    destroys: bool = False
    #: True for a step that changes nothing by itself; a plan of such steps alone is an empty plan
    looks: bool = False

    @property
    def id(self) -> str:
        """Unique in a plan."""
        return f"{self.subject}/{self.verb}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in an order in which they could run one by one; `notices` are worth knowing and no step."""

    cluster: str
    steps: tuple[Step, ...] = ()
    notices: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @property
    def empty(self) -> bool:
        """True when there is nothing to change."""
        return all(step.looks for step in self.steps)

    @property
    def destroys(self) -> tuple[str, ...]:
        """The subjects that the plan would remove for good."""
        return tuple(dict.fromkeys(step.subject for step in self.steps if step.destroys))

    def __str__(self) -> str:
        return self.text()

    def text(self, *, details: bool = False) -> str:
        """A line a step: sign, subject, verb, cause. With `details` the finer causes below each."""
        if self.empty:
            return f"{self.cluster}: nothing to do"
        lines = [f"{self.cluster}: {count(len(self.steps), 'step')}", ""]
        widest = max(len(step.subject) for step in self.steps)
        verbs = max(len(step.verb) for step in self.steps)
        for step in self.steps:
            lines.append(f"  {_sign(step)} {step.subject:<{widest}}  {step.verb:<{verbs}}  {step.cause}".rstrip())
            lines += [f"      {detail}" for detail in step.details if details]
        return "\n".join(lines)


def _sign(step: Step) -> str:
    if step.destroys:
        return "-"
    return "+" if step.verb.startswith(("create", "init", "join", "deploy", "adopt")) else "~"


def count(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(slots=True)
class Draft:
    """A plan in the making: collects steps, answers which of them exist. Local to one planning call."""

    steps: dict[str, Step] = field(default_factory=dict)

    def add(self, step: Step) -> str:
        """Add a step whose dependencies may name steps that are not (yet) there; returns its id."""
        self.steps[step.id] = step
        return step.id

    def put_behind(self, step: str, before: str) -> None:
        """Have a step wait until another has succeeded."""
        now = self.steps[step]
        self.steps[step] = replace(now, needs=now.needs | {before})

    def ids(self, verb: str, subjects: Iterable[str]) -> frozenset[str]:
        """The ids of the steps of this verb on these subjects, of those that exist."""
        wanted = (f"{subject}/{verb}" for subject in subjects)
        return frozenset(step for step in wanted if step in self.steps)

    def finish(self, cluster: str, notices: Iterable[str] = ()) -> Plan:
        """The plan, dependencies on steps that were never added left out."""
        there: dict[frozenset[str], frozenset[str]] = {}

        def known(ids: frozenset[str]) -> frozenset[str]:
            if ids not in there:
                there[ids] = frozenset(step for step in ids if step in self.steps)
            return there[ids]

        steps = (replace(step, needs=known(step.needs), after=known(step.after)) for step in self.steps.values())
        return Plan(cluster=cluster, steps=tuple(steps), notices=tuple(notices))
