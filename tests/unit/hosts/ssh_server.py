"""A real SSH server on loopback: runs commands by sh, forwards TCP, lets in whom it is told to."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko


def new_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate(bits=256)


def line_of(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


@dataclass
class SshServer:
    """`keys` (key lines) and `password` open it for any user; `refuse_first` logins are turned away before."""

    host_keys: list[paramiko.PKey] = field(default_factory=lambda: [new_key()])
    keys: set[str] = field(default_factory=set)
    password: str | None = None
    refuse_first: int = 0
    path: str = os.environ.get("PATH", "/usr/bin:/bin")
    logins: list[str] = field(default_factory=list)
    attempts: int = 0
    connections: int = 0
    port: int = 0
    transports: list[paramiko.Transport] = field(default_factory=list)
    _socket: socket.socket | None = None

    @contextlib.contextmanager
    def running(self, port: int = 0) -> Iterator[SshServer]:
        listener = socket.create_server(("127.0.0.1", port))
        self._socket, self.port = listener, listener.getsockname()[1]
        thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self.drop()
            thread.join(timeout=5.0)

    def drop(self) -> None:
        """Break every connection."""
        for transport in self.transports:
            transport.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            transport = paramiko.Transport(client)
            for key in self.host_keys:
                transport.add_server_key(key)
            self.transports.append(transport)
            with contextlib.suppress(paramiko.SSHException, EOFError):
                transport.start_server(event=threading.Event(), server=_Door(self))


class _Door(paramiko.ServerInterface):
    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._transport_of: dict[int, tuple[str, int]] = {}

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._verdict(username, line_of(key) in self._server.keys)

    def check_auth_password(self, username: str, password: str) -> int:
        return self._verdict(username, password == self._server.password)

    def _verdict(self, user: str, good: bool) -> int:
        server = self._server
        server.attempts += 1
        if not good or server.attempts <= server.refuse_first:
            return paramiko.AUTH_FAILED  # type: ignore[return-value]
        server.logins.append(user)
        return paramiko.AUTH_SUCCESSFUL  # type: ignore[return-value]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        # no way to sockets, as with AllowStreamLocalForwarding no
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        try:
            sock = socket.create_connection(destination, timeout=2.0)
        except OSError:
            return paramiko.OPEN_FAILED_CONNECT_FAILED
        threading.Thread(target=self._forward, args=(chanid, sock), daemon=True).start()
        return paramiko.OPEN_SUCCEEDED

    def _forward(self, chanid: int, sock: socket.socket) -> None:
        channel = None
        while channel is None:
            channel = next(
                (found for t in self._server.transports if (found := t.accept(0.05)) and found.chanid == chanid), None
            )
        pump = threading.Thread(target=_pump, args=(channel, sock), daemon=True)
        pump.start()
        _pump(sock, channel)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_execute, args=(channel, command, self._server.path), daemon=True).start()
        return True


def _pump(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := source.recv(65536):
            sink.sendall(data)
    sink.close()


def _execute(channel: paramiko.Channel, command: bytes, path: str) -> None:
    process = subprocess.Popen(
        ["sh", "-c", command.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": path},
        cwd="/",
        bufsize=0,
    )
    assert process.stdin and process.stdout and process.stderr

    def feed() -> None:
        with contextlib.suppress(OSError):
            while data := channel.recv(65536):
                process.stdin.write(data)  # type: ignore[union-attr]
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        if channel.closed:
            process.kill()

    def copy(stream: object, send: object) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(stream.fileno(), 65536):  # type: ignore[attr-defined]
                send(data)  # type: ignore[operator]

    threading.Thread(target=feed, daemon=True).start()
    copiers = [
        threading.Thread(target=copy, args=(process.stdout, channel.sendall), daemon=True),
        threading.Thread(target=copy, args=(process.stderr, channel.sendall_stderr), daemon=True),
    ]
    for copier in copiers:
        copier.start()
    for copier in copiers:
        copier.join()
    status = process.wait()
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        if status >= 0:
            channel.send_exit_status(status)
        channel.close()


def sudo_in(folder: Path) -> str:
    """A PATH whose `sudo -n` is no obstacle, for a test that is not run as root."""
    folder.mkdir(exist_ok=True)
    (folder / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    return f"{folder}:{os.environ.get('PATH', '/usr/bin:/bin')}"
