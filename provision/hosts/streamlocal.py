"""A channel to a Unix socket on the host: sshd connects to it by itself, with no command in between.

OpenSSH's `direct-streamlocal@openssh.com` (its PROTOCOL, section 2.4). Paramiko knows no channel of that kind; all that
it lacks is the path in the request, which `UnixTransport` adds. A server that forbids it says so.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import time

import paramiko

from provision.hosts.membership import Answer

_KIND = "direct-streamlocal@openssh.com"
_OPEN = b"\x5a" + len(_KIND).to_bytes(4, "big") + _KIND.encode()
ENGINE_SOCKET = "/var/run/docker.sock"
_REQUEST = b"GET %s HTTP/1.0\r\nHost: docker\r\n\r\n"


class UnixTransport(paramiko.Transport):
    """Paramiko's transport, which can also open channels to the engine's socket."""

    def open_engine_socket(self, *, timeout: float) -> paramiko.Channel:
        """Raises paramiko.ChannelException when sshd cannot or may not connect; SSHException when it is gone."""
        return self.open_channel(_KIND, timeout=timeout)

    def _send_user_message(self, data: paramiko.Message) -> None:
        if data.asbytes().startswith(_OPEN):
            data.add_string(ENGINE_SOCKET)
            data.add_string("")  # two fields that OpenSSH reserves
            data.add_int(0)
        super()._send_user_message(data)  # type: ignore[misc]  # paramiko's own, which its stubs leave out
        if isinstance(self.sock, socket.socket) and hasattr(socket, "TCP_QUICKACK"):  # or a jump host's; Linux
            # sshd leaves Nagle's algorithm on until the first command: its answer would wait for the acknowledgement
            # of what it said before, which our kernel delays by 40 ms
            with contextlib.suppress(OSError):  # it was closed; who waits for the answer will hear of it
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def send_request(channel: paramiko.Channel, path: str) -> None:
    """Ask the engine for a path of its API. The answer comes while other things are done."""
    with contextlib.suppress(OSError):
        channel.sendall(_REQUEST % path.encode())


def read_answer(channel: paramiko.Channel, *, seconds: float) -> Answer | None:
    """The engine's answer; None when none comes in time. Closes the channel."""
    deadline = time.monotonic() + seconds
    said = b""
    with contextlib.closing(channel):
        try:
            while True:
                channel.settimeout(max(deadline - time.monotonic(), 0.01))
                data = channel.recv(65536)
                if not data:
                    return _answer(said)
                said += data
        except OSError:  # a timeout is one
            return None


def _answer(said: bytes) -> Answer | None:
    try:
        response = http.client.HTTPResponse(_Answered(said))  # type: ignore[arg-type]  # all it uses of a socket
        response.begin()
        found = json.loads(response.read())
    except (http.client.HTTPException, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return Answer(response.status, response.getheader("Server", ""), found)


class _Answered:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._answer)
