"""The displays that write lines: plain, json, quiet; and which display a run gets."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provision.display.base import GuardedDisplay
from provision.display.fanout import fan_out
from provision.display.jsonl import JsonRenderer
from provision.display.select import make_display
from provision.display.text import clean, duration
from provision.errors import UsageError
from provision.events import (
    Event,
    Notice,
    RunFinished,
    RunStarted,
    StepDone,
    StepFailed,
    StepProgress,
    StepSkipped,
    StepStarted,
)
from provision.state.keys import new_host_key
from provision.state.paths import ClusterPaths
from provision.state.redact import Redactor
from provision.state.runlog import open_run_log

RUN: tuple[Event, ...] = (
    RunStarted("lab", "up", 4),
    Notice("raised fs.inotify.max_user_instances"),
    Notice("no IPVS here", "warning"),
    StepStarted("1", "lab-manager-1", "install engine", "docker not found"),
    StepProgress("1", "lab-manager-1", "fetching\n\x1b[31mfailing\x1b[0m\r\n"),
    StepFailed("1", "lab-manager-1", "install engine", 61.2, "apt failed\nE: no space\n\nhint: make room"),
    StepSkipped("2", "lab-manager-1", "init swarm", "install engine failed"),
    StepStarted("3", "lab-worker-1", "label", ""),
    StepDone("3", "lab-worker-1", "label", 0.04, note="tier=web"),
    StepDone("4", "lab-worker-2", "label", 0.04, changed=False),
    RunFinished(2, 1, 1, 1, 62.0),
)

END = """
lab-manager-1: install engine failed after 1 min 01 s
    apt failed
    E: no space

    hint: make room

lab: up failed after 1 min 02 s: 2 done, 1 changed, 1 failed, 1 skipped
"""


def shown(mode: str, events: Sequence[Event] = RUN, *, verbosity: int = 0) -> str:
    stream = io.StringIO()
    with make_display(mode, stream, {}, verbosity=verbosity) as display:
        for event in events:
            display(event)
    return stream.getvalue()


def test_plain_is_one_stable_line_an_event_and_the_failures_at_the_end() -> None:
    assert shown("plain") == (
        """\
lab: up, 4 steps
note: raised fs.inotify.max_user_instances
warning: no IPVS here
lab-manager-1: install engine
lab-manager-1: install engine: failed after 1 min 01 s: apt failed
lab-manager-1: init swarm: skipped, install engine failed
lab-worker-1: label
lab-worker-1: label: done after 0.0 s, tier=web
lab-worker-2: label: no change after 0.0 s
"""
        + END
    )


def test_v_adds_causes_and_vv_what_steps_say_without_control_codes() -> None:
    once, twice = shown("plain", verbosity=1), shown("plain", verbosity=2)
    assert "lab-manager-1: install engine (docker not found)\n" in once
    assert "fetching" not in once
    assert "lab-manager-1: | fetching\nlab-manager-1: | failing\n" in twice


def test_failures_of_a_run_that_was_cut_short_are_still_told() -> None:
    assert "hint: make room" in shown("plain", RUN[:6])


def test_a_run_that_goes_well_ends_with_its_sum_alone() -> None:
    events = (RunStarted("lab", "up", 1), StepDone("1", "a", "label", 1), RunFinished(1, 1, 0, 0, 1))
    assert shown("plain", events).splitlines()[-1] == "lab: up finished after 1.0 s: 1 done, 1 changed"


def test_quiet_shows_failures_with_their_hint_and_nothing_else() -> None:
    assert shown("quiet") == END.split("\nlab: up", maxsplit=1)[0].lstrip("\n")


def test_json_has_a_type_a_time_and_every_field() -> None:
    stream = io.StringIO()
    with GuardedDisplay(JsonRenderer(stream, now=lambda: datetime(2025, 1, 2, tzinfo=UTC))) as display:
        display(StepDone("3", "lab-worker-1", "label", 0.5, note="é\n"))
    assert json.loads(stream.getvalue()) == {
        "time": "2025-01-02T00:00:00.000Z",
        "type": "step_done",
        "step": "3",
        "subject": "lab-worker-1",
        "verb": "label",
        "seconds": 0.5,
        "changed": True,
        "note": "é\n",
    }


def test_json_writes_one_line_for_each_event_and_nothing_else() -> None:
    lines = shown("json").splitlines()
    assert [json.loads(line)["type"] for line in lines][:4] == [
        "run_started",
        "notice",
        "notice",
        "step_started",
    ]
    assert len(lines) == len(RUN)


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("mode", ["plain", "json", "quiet", "tty"])
def test_a_broken_pipe_never_reaches_the_run(mode: str) -> None:
    with make_display(mode, Broken(), {"TERM": "xterm"}) as display:
        for event in RUN:
            display(event)


@pytest.mark.parametrize("mode", ["plain", "json", "quiet"])
def test_a_closed_stream_never_reaches_the_run(mode: str) -> None:
    stream = io.StringIO()
    with make_display(mode, stream, {}) as display:
        stream.close()
        for event in RUN:
            display(event)


def test_what_the_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with make_display("plain", stream, {}) as display:
        display(Notice("naïve ✓"))
    assert raw.getvalue() == b"note: na\\xefve \\u2713\n"


class Slow(io.StringIO):
    """Lets another thread in between the halves of every write."""

    def write(self, text: str) -> int:
        half = len(text) // 2
        super().write(text[:half])
        time.sleep(0.0001)
        return half + super().write(text[half:])


def test_threads_do_not_tear_lines() -> None:
    stream = Slow()
    with make_display("plain", stream, {}) as display:
        threads = [
            threading.Thread(target=lambda n=n: [display(Notice(f"{n}" * 200)) for _ in range(20)]) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    words = [line.removeprefix("note: ") for line in stream.getvalue().splitlines()]
    assert len(words) == 160
    assert all(word == word[0] * 200 for word in words)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "terminal", "live"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "CI": "false"}, True, True),
        ({"TERM": "xterm", "CI": "true"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, False, False),
    ],
)
def test_auto_is_live_only_on_a_terminal_that_can(environ: dict[str, str], terminal: bool, live: bool) -> None:
    stream = Terminal() if terminal else io.StringIO()
    with make_display("auto", stream, environ) as display:
        display(Notice("hello"))
    assert ("\x1b[" in stream.getvalue()) is live
    assert "note: hello" in stream.getvalue()


def test_tty_on_a_dumb_terminal_is_plain() -> None:
    stream = Terminal()
    with make_display("tty", stream, {"TERM": "dumb"}) as display:
        display(Notice("hello"))
    assert stream.getvalue() == "note: hello\n"


def test_an_unknown_display_is_a_usage_error_with_a_guess() -> None:
    with pytest.raises(UsageError, match="'plian'") as caught:
        make_display("plian", io.StringIO(), {})
    assert "did you mean 'plain'?" in caught.value.hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_read_as_one_would_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2Ja",
        "\x1b]0;title\x07a",
        "\x1b]8;;http://x\x1b\\a",
        "\x1b7a",
        "\x1b(Ba",
        "\x9b2Ja",
        "\x07\x08\x7fa",
    ],
)
def test_control_codes_are_taken_out(text: str) -> None:
    assert clean(text) == "a"


def test_fan_out_hands_each_reader_the_redacted_event() -> None:
    seen: list[list[Event]] = [[], []]
    redactor = Redactor()
    redactor.add("hunter2")
    report = fan_out(seen[0].append, seen[1].append, redact=redactor)
    report(StepFailed("hunter2", "a", "login", 1.0, "password hunter2 was refused"))
    assert seen == [[StepFailed("hunter2", "a", "login", 1.0, "password *** was refused")]] * 2


def test_a_key_that_a_step_prints_line_by_line_reaches_neither_display_nor_log(tmp_path: Path) -> None:
    key = new_host_key().private.splitlines()
    redactor, stream = Redactor(), io.StringIO()
    with (
        open_run_log(ClusterPaths(tmp_path, "lab"), "up", redactor) as log,
        make_display("plain", stream, {}, verbosity=2) as display,
    ):
        report = fan_out(display, log, redact=redactor)
        for line in ["before", *key, "after"]:
            report(StepProgress("1", "a", line))
    for text in (stream.getvalue(), log.path.read_text()):
        assert [line for line in key if line in text] == []
        assert "before" in text
        assert "after" in text
