"""A fake engine: a real HTTP server on loopback with the Engine API's shapes, reached through channels of sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What the engine was asked."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    version: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What it says; `body` is sent as JSON unless it is bytes. `close` ends the connection afterwards."""

    body: Any = None
    status: int = 200
    close: bool = False
    delay: float = 0.0


Route = Callable[[Request], Answer]


class FakeEngine:
    """Answers from `routes`, keyed `METHOD /path` without the version; anything else is a 500 that says so."""

    def __init__(self) -> None:
        self.routes: dict[str, Route | Answer] = {}
        self.requests: list[Request] = []
        self.channels: list[SocketChannel] = []
        self.address: tuple[str, int] = ("", 0)

    def open_channel(self) -> SocketChannel:
        channel = SocketChannel(socket.create_connection(self.address))
        self.channels.append(channel)
        return channel

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        route = self.routes.get(f"{request.method} {request.path}")
        if route is None:
            return Answer({"message": f"the fake knows no {request.method} {request.path}"}, 500)
        return route if isinstance(route, Answer) else route(request)


@dataclass
class SocketChannel:
    """A channel as paramiko's, over a socket; None is a command that ended at once with `stderr`."""

    sock: socket.socket | None
    stderr: bytes = b""
    closed: bool = False
    eof_received: bool = False
    timeouts: list[float | None] = field(default_factory=list)

    def settimeout(self, timeout: float | None) -> None:
        self.timeouts.append(timeout)
        if self.sock:
            self.sock.settimeout(timeout)

    def sendall(self, s: bytes) -> None:
        if self.sock is None or self.closed:
            raise OSError("Socket is closed")
        self.sock.sendall(s)

    def recv(self, nbytes: int) -> bytes:
        data = self.sock.recv(nbytes) if self.sock else b""
        self.eof_received = not data
        return data

    def recv_stderr_ready(self) -> bool:
        return bool(self.stderr)

    def recv_stderr(self, nbytes: int) -> bytes:
        data, self.stderr = self.stderr[:nbytes], self.stderr[nbytes:]
        return data

    def close(self) -> None:
        self.closed = True
        if self.sock:
            self.sock.close()


@contextmanager
def running_engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            version, _, rest = url.path.removeprefix("/v").partition("/")
            numbered = version.replace(".", "").isdigit()
            path = f"/{rest}" if numbered else url.path
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, path, parse_qs(url.query), body, version if numbered else "")
            answer = engine.answer(request)
            if answer.delay:
                stop.wait(answer.delay)
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            if answer.close:
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Nothing on the test's output."""

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    engine.address = ("127.0.0.1", server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        stop.set()
        for channel in engine.channels:
            channel.close()
        server.shutdown()
        server.server_close()
        thread.join()
