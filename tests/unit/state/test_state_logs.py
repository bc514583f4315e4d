"""The run log, what it hides, and the history of runs."""

from __future__ import annotations

import io
import json
import stat
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provision.events import Notice, StepFailed, StepProgress, StepStarted
from provision.state import history
from provision.state.errors import StateError
from provision.state.history import RunRecord
from provision.state.keys import new_host_key
from provision.state.paths import ClusterPaths
from provision.state.redact import Redactor
from provision.state.runlog import RunLog, open_run_log, prune_logs

NOON = datetime(2025, 1, 2, 12, 0, 0, tzinfo=UTC)


def logged(paths: ClusterPaths, redactor: Redactor | None = None, *events: object) -> str:
    with open_run_log(paths, "up", redactor or Redactor(), now=lambda: NOON) as log:
        for event in events:
            log(event)  # type: ignore[arg-type]
    return log.path.read_text()


def test_a_log_is_named_after_time_and_command_and_private(paths: ClusterPaths) -> None:
    with open_run_log(paths, "stack deploy", Redactor(), now=lambda: NOON) as log:
        assert log.path == paths.logs / "20250102T120000Z-stack-deploy.log"
        assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_two_logs_of_one_second_are_two_files(paths: ClusterPaths) -> None:
    for text in ("one", "two"):
        with open_run_log(paths, "up", Redactor(), now=lambda: NOON) as log:
            log.line(text)
    assert len(list(paths.logs.iterdir())) == 2


def test_events_are_written_with_time_subject_and_all_they_say(paths: ClusterPaths) -> None:
    text = logged(
        paths,
        None,
        StepStarted("1", "lab-worker-1", "join", "not a member"),
        StepProgress("1", "lab-worker-1", "reading\nlists"),
        StepFailed("1", "lab-worker-1", "join", 1.5, "refused\n\nhint: look"),
        Notice("mind the gap", "warning"),
    )
    assert text.splitlines() == [
        '2025-01-02T12:00:00.000Z lab-worker-1: StepStarted step="1" verb="join" cause="not a member"',
        "2025-01-02T12:00:00.000Z lab-worker-1: reading",
        "    lists",
        '2025-01-02T12:00:00.000Z lab-worker-1: StepFailed step="1" verb="join" seconds=1.5',
        "    error: refused",
        "    ",
        "    hint: look",
        '2025-01-02T12:00:00.000Z provision: Notice text="mind the gap" level="warning"',
    ]


def test_lines_of_a_running_log_can_be_read_at_once(paths: ClusterPaths) -> None:
    with open_run_log(paths, "up", Redactor(), now=lambda: NOON) as log:
        log.line("so far")
        assert log.path.read_text().endswith("provision: so far\n")


class Slow(io.StringIO):
    """Lets another thread in between the halves of every write."""

    def write(self, text: str) -> int:
        half = len(text) // 2
        super().write(text[:half])
        time.sleep(0.0001)
        return half + super().write(text[half:])


def test_threads_do_not_tear_lines(tmp_path: Path) -> None:
    stream = Slow()
    log = RunLog(tmp_path / "log", stream, Redactor(), now=lambda: NOON)
    threads = [threading.Thread(target=lambda n=n: [log.line(f"{n}" * 300) for _ in range(20)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    words = [line.rsplit(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert len(words) == 160
    assert all(word == word[0] * 300 for word in words)


def test_a_late_line_does_not_raise(paths: ClusterPaths) -> None:
    with open_run_log(paths, "up", Redactor()) as log:
        pass
    log.line("too late")
    assert "too late" not in log.path.read_text()


def test_a_log_that_cannot_be_opened_is_an_error(paths: ClusterPaths) -> None:
    paths.logs.rmdir()
    paths.logs.write_text("in the way")
    with pytest.raises(StateError, match="cannot make the folder"):
        open_run_log(paths, "up", Redactor())


def test_registered_secrets_are_hidden_in_every_form() -> None:
    redact = Redactor()
    redact.add('pa"ss\\word', "pa", "")
    assert redact('x pa"ss\\word y') == "x *** y"
    assert redact(json.dumps({"p": 'pa"ss\\word'})) == '{"p": "***"}'


@pytest.mark.parametrize(
    "token",
    [
        "SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c",
        "SWMKEY-1-7c3/7Cc+8=",
    ],
)
def test_swarm_tokens_are_hidden_by_their_looks(token: str) -> None:
    assert Redactor()(f"docker swarm join --token {token} 10.0.0.1:2377") == (
        "docker swarm join --token *** 10.0.0.1:2377"
    )


def test_a_pem_block_is_hidden_also_when_escaped_or_cut_off() -> None:
    key = new_host_key().private
    body = key.splitlines()[1]
    for text in (f"a {key} b", f"a {json.dumps(key)} b", key[: len(key) // 2]):
        assert body[:20] not in Redactor()(text)


def test_a_pem_block_that_comes_line_by_line_is_hidden(paths: ClusterPaths) -> None:
    key = new_host_key().private.splitlines()
    events = [StepProgress("1", "a", line) for line in ["before", *key, "after"]]
    others = [StepProgress("2", "b", f"word{n}") for n in range(len(events))]
    mixed = [event for pair in zip(events, others, strict=True) for event in pair]
    text = logged(paths, None, *mixed)
    assert [line for line in key if line in text] == []
    assert "before" in text
    assert "after" in text
    assert all(f"word{n}" in text for n in range(len(events)))


def test_a_block_cut_off_does_not_swallow_the_rest(paths: ClusterPaths) -> None:
    lines = ["-----BEGIN RSA PRIVATE KEY-----", "MIIEpAIBAAKCAQEA", "and then it went on", "fine"]
    text = logged(paths, None, *(StepProgress("1", "a", line) for line in lines))
    assert "MIIEpAIBAAKCAQEA" not in text
    assert text.endswith("a: and then it went on\n2025-01-02T12:00:00.000Z a: fine\n")


def run(number: int) -> RunRecord:
    return RunRecord(
        time=NOON,
        command=("provision", "up", f"{number}.yml"),
        user="alice",
        result="failed",
        seconds=12.5,
        done=3,
        changed=2,
        failed=1,
        skipped=4,
        log="/logs/x.log",
    )


def test_history_comes_back_in_order(paths: ClusterPaths) -> None:
    for number in range(3):
        history.append(paths, run(number))
    assert history.read(paths) == tuple(run(number) for number in range(3))
    assert stat.S_IMODE(paths.history.stat().st_mode) == 0o600


def test_a_half_written_line_costs_only_itself(paths: ClusterPaths) -> None:
    history.append(paths, run(1))
    with paths.history.open("a") as file:
        file.write('{"time": "2025-')
    history.append(paths, run(2))
    assert history.read(paths) == (run(1), run(2))


def test_no_history_is_empty(paths: ClusterPaths) -> None:
    assert history.read(paths) == ()


def test_only_the_newest_logs_are_kept(paths: ClusterPaths) -> None:
    names = [f"202501{day:02}T000000Z-up.log" for day in range(1, 8)]
    for name in reversed(names):
        Path(paths.logs / name).write_text("")
    prune_logs(paths, keep=3)
    assert sorted(log.name for log in paths.logs.iterdir()) == names[-3:]
