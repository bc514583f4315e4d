"""What every display has in common: one event at a time, and never an error of its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Protocol, Self

from provision.events import Event


class Display(Protocol):
    """A context manager around a run, and within it a Reporter: takes events of any thread, never raises."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show what is still owed (failures of a run that was cut short) and leave the terminal as it was."""
        ...

    def __call__(self, event: Event) -> None:
        """Show an event."""
        ...


class Renderer(Protocol):
    """How one kind of display shows events.

    Called by one thread at a time; may raise OSError and ValueError.
    """

    def start(self) -> None:
        """Before the first event."""
        ...

    def show(self, event: Event) -> None:
        """Show an event."""
        ...

    def close(self) -> None:
        """After the last event."""
        ...


class GuardedDisplay:
    """Makes a Display of a Renderer: calls it under a lock, and goes silent once its stream is broken."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._lock = threading.Lock()
        self._broken = False

    def __enter__(self) -> Self:
        """Begin to show."""
        with self._lock:
            try:
                self._renderer.start()
            except (OSError, ValueError):
                self._broken = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show what is still owed; an exception passes through."""
        with self._lock:
            try:
                # also when broken: a terminal is to be left as it was
                self._renderer.close()
            except (OSError, ValueError):
                self._broken = True

    def __call__(self, event: Event) -> None:
        """Show an event. A reader that went away (a closed pipe) must not stop the run."""
        with self._lock:
            if self._broken:
                return
            try:
                self._renderer.show(event)
            except (OSError, ValueError):
                self._broken = True
