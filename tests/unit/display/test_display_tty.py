"""The live view, seen through a real pseudo-terminal, and its choice of what to show."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from provision.display.running import Running
from provision.display.text import clean
from provision.display.tty import TtyRenderer
from provision.events import Event, RunFinished, RunStarted, StepDone, StepFailed, StepProgress, StepStarted


def many(count: int) -> Running:
    running = Running().after(RunStarted("lab", "up", 100), 0.0)
    for number in range(count):
        step = StepStarted(str(number), f"lab-worker-{number}", "join", "not a member")
        running = running.after(step, float(number))
    return running


def lines(running: Running, *, width: int = 80, height: int = 24, causes: bool = False) -> list[str]:
    return running.lines(now=100.0, width=width, height=height, frames="-", causes=causes)


def test_the_oldest_are_shown_and_the_rest_counted() -> None:
    shown = lines(many(60), height=13)
    assert shown[0] == "- lab-worker-0: join  1 min 40 s"
    assert shown[9] == "- lab-worker-9: join  1 min 31 s"
    assert shown[10:] == ["  +50 more", "  0 of 100 steps ended"]


@pytest.mark.parametrize("height", [1, 2, 5, 13, 24, 60])
def test_a_view_is_lower_than_its_terminal(height: int) -> None:
    assert len(lines(many(60), height=height)) <= max(3, height - 1)


@pytest.mark.parametrize("width", [1, 10, 40])
def test_lines_fit_a_narrow_terminal(width: int) -> None:
    running = many(3).after(StepProgress("1", "lab-worker-1", "x" * 500), 1.0)
    assert max(len(line) for line in lines(running, width=width)) <= max(1, width - 1)


def test_a_step_shows_what_it_said_last_on_one_line_without_control_codes() -> None:
    running = many(1).after(StepProgress("0", "lab-worker-0", "a\nb \x1b[2Jc"), 1.0)
    assert lines(running)[0] == "- lab-worker-0: join  1 min 40 s  a b c"


def test_causes_are_shown_when_asked_for() -> None:
    assert lines(many(1), causes=True)[0] == "- lab-worker-0: join (not a member)  1 min 40 s"


def test_a_step_that_ended_is_gone_and_counted() -> None:
    running = many(2).after(StepDone("0", "lab-worker-0", "join", 1.0), 2.0)
    assert lines(running) == ["- lab-worker-1: join  1 min 39 s", "  1 of 100 steps ended"]


RUN = """
import sys, threading, time
from provision.display.select import make_display
from provision.events import *
import os
with make_display("auto", sys.stderr, os.environ, verbosity=1) as display:
    display(RunStarted("lab", "up", 60))
    def step(n):
        display(StepStarted(str(n), f"lab-worker-{n}", "join", "[bold]not a member"))
        time.sleep(0.35)
        display(StepProgress(str(n), f"lab-worker-{n}", "waiting"))
        if n == 7:
            error = "refused [red]by all\\n\\nhint: look there"
            display(StepFailed(str(n), f"lab-worker-{n}", "join", 0.35, error))
        else:
            display(StepDone(str(n), f"lab-worker-{n}", "join", 0.35))
    threads = [threading.Thread(target=step, args=(n,)) for n in range(60)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    display(RunFinished(59, 59, 1, 0, 0.4))
"""


def on_a_terminal(script: str, *, columns: int, rows: int, **environ: str) -> str:
    """What a script wrote to a terminal of that size, control codes and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in {"CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm", **environ},
    )
    os.close(theirs)
    output = bytearray()
    try:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # EIO: the other side is closed
                break
            if not data:
                break
            output += data
        assert process.wait(30) == 0, output.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return output.decode()


def test_sixty_steps_on_a_small_terminal() -> None:
    raw = on_a_terminal(RUN, columns=60, rows=12)
    text = clean(raw)
    assert re.search(r"\+\d\d more", text)
    assert all(text.count(f"lab-worker-{n}: join: done after 0.3") == 1 for n in range(60) if n != 7)
    assert text.count("refused [red]by all") == 1
    assert text.count("hint: look there") == 1
    assert text.rstrip().endswith("lab: up failed after 0.4 s: 59 done, 59 changed, 1 failed")
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == 1, "the cursor is hidden once and shown again"


def test_no_color_means_no_colour() -> None:
    coloured = r"\x1b\[[0-9;]*3\dm"
    assert re.search(coloured, on_a_terminal(RUN, columns=80, rows=24))
    assert not re.search(coloured, on_a_terminal(RUN, columns=80, rows=24, NO_COLOR="1", FORCE_COLOR="1"))


def test_a_run_that_raises_leaves_the_terminal_as_it_was() -> None:
    script = RUN.split("    display(RunFinished", maxsplit=1)[0] + "    raise SystemExit(0)\n"
    raw = on_a_terminal(script, columns=80, rows=24)
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")
    assert clean(raw).count("hint: look there") == 1


def test_force_color_colours_where_the_terminal_claims_to_have_none() -> None:
    stream = io.StringIO()
    renderer = TtyRenderer(stream, color=True)
    renderer.start()
    event: Event = StepFailed("1", "a", "join", 1.0, "no")
    renderer.show(event)
    renderer.close()
    assert "\x1b[31m" in stream.getvalue()


def test_closing_ends_the_thread_that_draws() -> None:
    renderer = TtyRenderer(io.StringIO())
    renderer.start()
    renderer.show(RunFinished(0, 0, 0, 0, 0.0))
    renderer.close()
    deadline = time.monotonic() + 5
    while any(thread.name == "display" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [thread for thread in threading.enumerate() if thread.name == "display"] == []
