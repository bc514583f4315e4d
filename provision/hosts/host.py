"""One open connection to one host, and what can be asked of it."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision.errors import CommandError, DeadlineError, UnreachableError
from provision.hosts import probe
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, Outcome, compose, outcomes

if TYPE_CHECKING:
    import fabric
    import paramiko

#: runs what comes on stdin as root, whoever logged in
_ROOT_SHELL = 'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'
#: a command that is the Engine API on its stdin and stdout, as whoever may have it
_ENGINE_DIAL = (
    "sh",
    "-c",
    "[ -w /var/run/docker.sock ] && exec docker system dial-stdio; exec sudo -n docker system dial-stdio",
)
_PROBE_SECONDS = 60.0
#: seconds in which sshd must begin a command
_EXEC_SECONDS = 30.0
#: seconds that the engine may take to say what it is; one that is just starting takes some
_ENGINE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Result:
    """A command's exit status (-1: it was killed) and its whole output, decoded."""

    status: int
    stdout: str
    stderr: str


class Host:
    """A connection that stays open: a command costs a channel, not a login. Usable from several threads."""

    def __init__(self, machine: str, connection: fabric.Connection) -> None:
        self.machine = machine
        self._connection = connection

    @property
    def alive(self) -> bool:
        """False once the connection is known to be broken."""
        return bool(self._connection.is_connected)

    def close(self) -> None:
        """Close it; again is harmless."""
        sock = getattr(self._connection.transport, "sock", None)
        if isinstance(sock, socket.socket):
            # or else paramiko waits until its thread looks up, which it does ten times a second
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def probe(self, *, images: bool = False, thorough: bool = False) -> HostFacts:
        """The host's facts, by one script over one channel. `images` includes the engine's image ids.

        The engine is asked through its socket meanwhile, which spares the host a start of the docker command; where
        sshd or the socket's rights are against that, the script does it. `thorough` asks the engine for all that it
        knows of its swarm, which costs it more.
        """
        from provision.hosts import streamlocal

        path = "/info" if thorough else "/swarm"
        engine = self._engine_socket()
        try:
            if engine is not None:
                streamlocal.send_request(engine, path)
            said = self._probe(probe.script(images=images, engine=engine is None))
            answer = streamlocal.read_answer(engine, seconds=_ENGINE_SECONDS) if engine is not None else None
            return probe.parse(self.machine, said, answer, whole=thorough)
        except probe.UnclearError:
            return self.probe(images=images, thorough=True)
        finally:
            if engine is not None:
                engine.close()

    def _probe(self, script: str) -> str:
        result = self.root_shell(script, seconds=_PROBE_SECONDS)
        if result.status != 0:
            raise CommandError(self.machine, "probe", result.status, result.stderr, hint=_sudo_hint(result.stderr))
        return result.stdout

    def apply(
        self,
        fragments: Sequence[Fragment],
        *,
        seconds: float,
        progress: Callable[[str], None] = lambda _: None,
    ) -> tuple[Outcome, ...]:
        """Run the fragments in order, as root, in one script. Raises CommandError for the first that fails.

        `progress` is told each fragment's name as it begins and each line that it prints.
        """
        mark = "provision-" + secrets.token_hex(6)

        def told(line: str) -> None:
            words = line.split()
            if words[:2] == [f"@{mark}", "start"]:
                progress(fragments[int(words[2])].name)
            elif words and words[0] != f"@{mark}":
                progress(line)

        result = self.root_shell(compose(fragments, mark=mark), seconds=seconds, line=told)
        found = outcomes(result.stdout, fragments, mark=mark)
        for outcome in found:
            if outcome.status is None:
                raise UnreachableError(
                    f"{self.machine}: the connection broke during {outcome.name!r}",
                    detail=outcome.output[-400:],
                )
            if outcome.status != 0:
                raise CommandError(self.machine, outcome.name, outcome.status, outcome.output)
        if f"@{mark} whole" not in result.stdout:
            raise CommandError(
                self.machine,
                "apply",
                result.status,
                result.stderr or result.stdout,
                hint=_sudo_hint(result.stderr),
            )
        return found

    def root_shell(self, script: str, *, seconds: float, line: Callable[[str], None] = lambda _: None) -> Result:
        """Run a POSIX script as root, from stdin (so nothing of it shows in a process list)."""
        # who logged in as root needs no shell that finds it out
        command = "exec sh -s" if self._connection.user == "root" else shlex.join(("sh", "-c", _ROOT_SHELL))
        return self.shell(command, stdin=script.encode(), seconds=seconds, line=line)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        seconds: float,
        line: Callable[[str], None] = lambda _: None,
    ) -> Result:
        """Run a command as the login user and wait for its end. `line` is told each line of stdout as it comes.

        Raises DeadlineError after `seconds`, UnreachableError when the connection breaks.
        """
        result = self.shell(shlex.join(argv), stdin=stdin, seconds=seconds, line=line)
        if result.status == -1 and not self.alive:
            last = (result.stderr or result.stdout).strip()[-200:]
            raise UnreachableError(f"{self.machine}: the SSH connection broke", detail=f"last: {last or 'no output'}")
        return result

    def shell(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        seconds: float,
        line: Callable[[str], None] = lambda _: None,
    ) -> Result:
        """As `run`, with a command line for the login shell."""
        channel = self._channel()
        deadline = time.monotonic() + seconds
        errors: list[bytes] = []
        with contextlib.closing(channel):
            channel.settimeout(max(deadline - time.monotonic(), 0.01))
            self._exec(channel, command)
            reader = threading.Thread(target=_drain, args=(channel, errors), daemon=True)
            reader.start()
            try:
                with contextlib.suppress(OSError):  # the command may end without reading it all
                    channel.sendall(stdin)
                    channel.shutdown_write()
                output = _read(channel, deadline, line)
                status = _status(channel, deadline)
            except TimeoutError as late:
                raise DeadlineError(
                    f"{self.machine}: {command.split(' ', 1)[0]!r}", seconds, _last(errors) or "no output"
                ) from late
            reader.join(timeout=5.0)
        return Result(status, output, b"".join(errors).decode(errors="replace"))

    def open_engine(self) -> paramiko.Channel:
        """A channel that is the Engine API: its socket, or docker's own way to it. The caller closes it."""
        channel = self._engine_socket()
        if channel is None:
            channel = self._channel()
            self._exec(channel, shlex.join(_ENGINE_DIAL))
        return channel

    def _engine_socket(self) -> paramiko.Channel | None:
        """None: the engine is not there, or sshd or the rights of the socket let nobody of this login through."""
        import paramiko

        transport: Any = self._connection.transport
        try:
            channel: paramiko.Channel = transport.open_engine_socket(timeout=20.0)
        except paramiko.ChannelException:
            return None
        except (paramiko.SSHException, EOFError, OSError) as broken:
            raise UnreachableError(f"{self.machine}: the SSH connection broke", detail=f"last: {broken}") from broken
        return channel

    def _exec(self, channel: paramiko.Channel, command: str) -> None:
        import paramiko

        # paramiko waits for the server's word without a deadline; closing the channel ends that wait
        timer = threading.Timer(_EXEC_SECONDS, channel.close)
        timer.daemon = True
        timer.start()
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError) as broken:
            raise UnreachableError(f"{self.machine}: the SSH connection broke", detail=f"last: {broken}") from broken
        finally:
            timer.cancel()

    def _channel(self) -> paramiko.Channel:
        import paramiko

        transport = self._connection.transport
        try:
            channel: paramiko.Channel = transport.open_session(timeout=20.0)
        except (paramiko.SSHException, EOFError, OSError) as broken:
            raise UnreachableError(f"{self.machine}: the SSH connection broke", detail=f"last: {broken}") from broken
        return channel


def _read(channel: paramiko.Channel, deadline: float, line: Callable[[str], None]) -> str:
    whole, rest = [], b""
    while True:
        channel.settimeout(max(deadline - time.monotonic(), 0.01))
        data = channel.recv(65536)
        if not data:
            break
        whole.append(data)
        *lines, rest = (rest + data).split(b"\n")
        for text in lines:
            line(text.decode(errors="replace"))
    if rest:
        line(rest.decode(errors="replace"))
    return b"".join(whole).decode(errors="replace")


def _status(channel: paramiko.Channel, deadline: float) -> int:
    if not channel.status_event.wait(max(deadline - time.monotonic(), 0.01)):
        raise TimeoutError
    return channel.exit_status


def _drain(channel: paramiko.Channel, into: list[bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := channel.recv_stderr(65536):
            into.append(data)


def _last(errors: list[bytes]) -> str:
    lines = b"".join(errors).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _sudo_hint(stderr: str) -> str:
    if "sudo" not in stderr:
        return ""
    return "the login user must be root or have password-free sudo: `NAME ALL=(ALL) NOPASSWD:ALL` in /etc/sudoers.d"
