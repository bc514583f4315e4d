"""Which steps run now, and what a terminal of some size shows of them.

Pure; the terminal itself is in tty.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from provision.display.text import duration, one_line
from provision.events import Event, RunStarted, StepDone, StepFailed, StepProgress, StepSkipped, StepStarted

#: more running steps than these are not read by anybody
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A step under way: since when (the clock's seconds), and the last thing that it said."""

    subject: str
    verb: str
    cause: str
    since: float
    said: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The steps that run, oldest first, and how many of how many have ended."""

    steps: tuple[tuple[str, RunningStep], ...] = ()
    ended: int = 0
    total: int = 0

    def after(self, event: Event, now: float) -> Running:
        """What runs after this event."""
        if isinstance(event, RunStarted):
            return replace(self, total=event.steps)
        if isinstance(event, StepStarted):
            step = RunningStep(event.subject, event.verb, event.cause, now)
            return replace(self, steps=(*self.steps, (event.step, step)))
        if isinstance(event, StepProgress):
            said = one_line(event.text)
            return replace(
                self,
                steps=tuple(
                    (key, replace(step, said=said) if key == event.step and said else step) for key, step in self.steps
                ),
            )
        if isinstance(event, StepDone | StepFailed | StepSkipped):
            rest = tuple((key, step) for key, step in self.steps if key != event.step)
            return replace(self, steps=rest, ended=self.ended + 1)
        return self

    def lines(self, *, now: float, width: int, height: int, frames: str, causes: bool) -> list[str]:
        """What to show on a terminal of this size: the oldest steps, `+k more`, and the count.

        No line is too wide.
        """
        room = max(1, min(MOST_LINES, height - 3))
        shown = self.steps[:room]
        frame = frames[int(now * 10) % len(frames)]
        lines = [f"{frame} {_describe(step, now, causes=causes)}" for _, step in shown]
        if len(self.steps) > len(shown):
            lines.append(f"  +{len(self.steps) - len(shown)} more")
        if self.steps and self.total:
            lines.append(f"  {self.ended} of {self.total} steps ended")
        return [_fit(line, width) for line in lines]


def _describe(step: RunningStep, now: float, *, causes: bool) -> str:
    cause = f" ({step.cause})" if causes and step.cause else ""
    head = one_line(f"{step.subject}: {step.verb}{cause}")
    return "  ".join(part for part in (head, duration(max(0.0, now - step.since)), step.said) if part)


def _fit(line: str, width: int) -> str:
    # one column stays free: a full last column makes some terminals wrap, and the cursor would be a line off
    room = max(1, width - 1)
    return line if len(line) <= room else f"{line[: room - 1]}…"
