"""Ctrl-C twice ends the process at once, whatever a step is waiting for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

SCRIPT = """
import threading, time
import provision.cli.main as cli
from provision.events import Notice, StepStarted
from provision.execution.scheduler import Outcome, run
from provision.planning.actions import Leave
from provision.planning.plan import Plan, Step

def slow(step, say):
    time.sleep(30)
    return Outcome()

def report(event):
    if isinstance(event, (StepStarted, Notice)):
        print(type(event).__name__, flush=True)

def go(arguments):
    plan = Plan(cluster="lab", steps=(Step(subject="a", verb="do", cause="x", action=Leave("a")),))
    try:
        run(plan, slow, command="up", report=report, stop=threading.Event())
    except KeyboardInterrupt:
        return cli.INTERRUPTED
    return 0

cli.run = go
cli.main()
"""


def test_the_second_interrupt_ends_the_process_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "StepStarted\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "Notice\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10.0) == 130
        assert time.monotonic() - began < 5.0
    finally:
        process.kill()
        process.wait()
