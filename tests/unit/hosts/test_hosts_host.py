"""What an open connection does: commands, scripts, deadlines; against a real SSH server on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_server import SshServer, line_of, sudo_in

from provision.errors import CommandError, DeadlineError, UnreachableError
from provision.hosts.connect import Connector
from provision.hosts.fragments import Fragment, Outcome
from provision.hosts.host import Host, Result
from provision.hosts.target import Target
from provision.hosts.trust import Trust


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    path = sudo_in(tmp_path_factory.mktemp("bin"))
    with SshServer(password="secret", path=path).running() as running:
        yield running


@pytest.fixture
def host(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    door = Target(machine="web1", address="127.0.0.1", port=server.port, user="root", alias="x", made=False)
    trust = Trust(machine="web1", stated=(line_of(server.host_keys[0]),))
    connected = Connector(key=None, password="secret").connect(door, trust, seconds=10.0)
    yield connected
    connected.close()


@pytest.mark.parametrize(
    ("argv", "result"),
    [
        (("echo", "a b", "$HOME", "it's"), Result(0, "a b $HOME it's\n", "")),
        (("printf", "no newline"), Result(0, "no newline", "")),
        (("sh", "-c", "echo out; echo err >&2; exit 3"), Result(3, "out\n", "err\n")),
        (("true",), Result(0, "", "")),
        (("no-such-command-here",), 127),
    ],
)
def test_a_command_gives_its_status_and_both_outputs(host: Host, argv: tuple[str, ...], result: Result | int) -> None:
    found = host.run(argv, seconds=10.0)
    assert (found if isinstance(result, Result) else found.status) == result


def test_a_command_that_is_killed_has_status_minus_one(host: Host) -> None:
    assert host.shell("kill -9 $$", seconds=10.0).status == -1


def test_big_output_on_both_sides_is_whole(host: Host) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' a; head -c 3000000 /dev/zero | tr '\\0' b >&2"
    found = host.run(("sh", "-c", script), seconds=30.0)
    assert (found.stdout, found.stderr) == ("a" * 3_000_000, "b" * 3_000_000)


def test_big_input_goes_through_and_comes_back(host: Host) -> None:
    text = b"0123456789abcde\n" * 200_000
    assert host.run(("cat",), stdin=text, seconds=30.0).stdout.encode() == text


def test_a_command_that_does_not_read_its_input_is_no_error(host: Host) -> None:
    found = host.run(("sh", "-c", "exec <&-; echo done"), stdin=b"x" * 5_000_000, seconds=30.0)
    assert found == Result(0, "done\n", "")


def test_lines_are_told_as_they_come_the_last_without_its_newline_too(host: Host) -> None:
    lines: list[tuple[str, float]] = []
    began = time.monotonic()
    host.run(
        ("sh", "-c", "echo one; sleep 0.5; printf 'tw'; sleep 0.1; printf 'o\\nthree'"),
        seconds=10.0,
        line=lambda text: lines.append((text, time.monotonic() - began)),
    )
    assert [text for text, _ in lines] == ["one", "two", "three"]
    assert lines[0][1] < 0.4 < lines[1][1]


def test_what_is_no_utf8_is_replaced(host: Host) -> None:
    assert host.run(("printf", "\\377ok"), seconds=10.0).stdout == "\ufffdok"


def test_a_command_that_takes_too_long_is_a_deadline_with_its_last_words(host: Host) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="web1: 'sh' took more than") as caught:
        host.run(("sh", "-c", "echo still waiting >&2; exec sleep 60"), seconds=0.5)
    assert time.monotonic() - began < 5.0
    assert "last: still waiting" in str(caught.value)
    assert host.run(("echo", "next"), seconds=10.0).stdout == "next\n"


def test_a_command_that_ends_while_its_child_keeps_the_output_open_is_a_deadline(host: Host) -> None:
    with pytest.raises(DeadlineError):
        host.run(("sh", "-c", "sleep 2 & echo started"), seconds=0.5)


def test_commands_run_side_by_side_over_one_connection(host: Host, server: SshServer) -> None:
    logins = len(server.logins)
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = host.run(("sh", "-c", f"sleep 0.3; echo {number}"), seconds=20.0).stdout

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(6)}
    assert time.monotonic() - began < 6 * 0.3
    assert len(server.logins) == logins


# --- scripts ---


def test_a_root_script_comes_by_stdin(host: Host) -> None:
    found = host.root_shell("x='needle in a script'\necho \"$x\"\ntr '\\0' ' ' </proc/$$/cmdline", seconds=10.0)
    assert found.stdout.splitlines()[0] == "needle in a script"
    assert "needle" not in found.stdout.splitlines()[1]


def test_fragments_are_applied_and_told(host: Host, tmp_path: Path) -> None:
    told: list[str] = []
    fragments = [Fragment("make", f"touch {tmp_path}/made\necho made"), Fragment("say", "printf bye")]
    found = host.apply(fragments, seconds=10.0, progress=told.append)
    assert found == (Outcome("make", 0, "made"), Outcome("say", 0, "bye"))
    assert told == ["make", "made", "say", "bye"]
    assert (tmp_path / "made").exists()


def test_a_fragment_that_fails_is_named_with_its_status_and_last_words(host: Host, tmp_path: Path) -> None:
    fragments = [Fragment("install packages", "echo E: no network >&2; exit 100"), Fragment("x", f"touch {tmp_path}/x")]
    with pytest.raises(CommandError) as caught:
        host.apply(fragments, seconds=10.0)
    assert str(caught.value) == "web1: 'install packages' exited with status 100\n    E: no network"
    assert not (tmp_path / "x").exists()


def test_a_connection_that_breaks_says_during_what(host: Host, server: SshServer) -> None:
    timer = threading.Timer(0.5, server.drop)
    timer.start()
    with pytest.raises(UnreachableError, match="web1: the connection broke during 'restart engine'"):
        host.apply([Fragment("one", "true"), Fragment("restart engine", "sleep 5")], seconds=20.0)
    timer.join()
    assert not host.alive
    with pytest.raises(UnreachableError, match="web1: the SSH connection broke"):
        host.run(("true",), seconds=5.0)


def test_a_host_without_password_free_sudo_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "bin"
    path = sudo_in(folder)
    (folder / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (folder / "id").write_text("#!/bin/sh\necho 1000\n")
    (folder / "id").chmod(0o755)
    with SshServer(password="secret", path=path).running() as server:
        door = Target(machine="web1", address="127.0.0.1", port=server.port, user="joe", alias="x", made=False)
        trust = Trust(machine="web1", stated=(line_of(server.host_keys[0]),))
        host = Connector(key=None, password="secret").connect(door, trust, seconds=10.0)
        for call in (host.probe, lambda: host.apply([Fragment("one", "true")], seconds=10.0)):
            with pytest.raises(CommandError, match="exited with status 1") as caught:
                call()
            assert "sudo: a password is required" in str(caught.value)
            assert "NOPASSWD" in str(caught.value)
        host.close()


def test_the_engine_is_reached_by_its_own_command_where_sshd_lets_nobody_to_sockets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "bin"
    path = sudo_in(folder)
    (folder / "docker").write_text('#!/bin/sh\n[ "$*" = "system dial-stdio" ] && exec cat\nexit 1\n')
    (folder / "docker").chmod(0o755)
    with SshServer(password="secret", path=path).running() as server:
        door = Target(machine="web1", address="127.0.0.1", port=server.port, user="joe", alias="x", made=False)
        trust = Trust(machine="web1", stated=(line_of(server.host_keys[0]),))
        host = Connector(key=None, password="secret").connect(door, trust, seconds=10.0)
        channel = host.open_engine()
        channel.settimeout(10.0)
        channel.sendall(b"ping")
        assert channel.recv(16) == b"ping"
        channel.close()
        host.close()
