"""The Engine API's HTTP over channels of one SSH connection, each kept alive.

By Python's own http.client: the docker SDK, which brings requests and urllib3, took 90 ms to import where this takes 6,
and wanted as much code to be led through a channel as this is.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import quote, urlencode

from provision.swarm.channel import ChannelSocket, OpenChannel

#: Channels that one client opens at most: sshd allows ten sessions a connection, and others want some.
MAX_CHANNELS = 4
#: Seconds in which an ordinary call must show a byte of its answer.
CALL_TIMEOUT = 60.0
#: Uploads go in blocks of this size.
BLOCK_SIZE = 256 * 1024

Query = str | bool | int


class Refusal(Exception):  # noqa: N818 # it is the engine's answer; `translated` makes an error of it
    """The engine answered with an error: the HTTP status and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class EngineClient:
    """Requests to the engine at the other end of the channels, `api_version` in their paths.

    No request is made here when the version is known; None asks the engine for its own, which is one. `timeout` is how
    many seconds the engine may be silent within one call. May be shared by threads; beyond `MAX_CHANNELS` calls at
    once, they wait for one another. Fails with Refusal, OSError or http.client.HTTPException.
    """

    def __init__(self, open_channel: OpenChannel, api_version: str | None, *, timeout: float = CALL_TIMEOUT) -> None:
        self._open_channel = open_channel
        self._timeout = timeout
        self._idle: list[_Connection] = []
        self._guard = threading.Lock()
        self._turns = threading.BoundedSemaphore(MAX_CHANNELS)
        self._prefix = ""
        self.api_version = api_version or str(self.get("version")["ApiVersion"])
        self._prefix = f"/v{self.api_version}"

    def get(self, *path: str, **query: Query) -> Any:
        """The JSON that `GET /<path>` answers."""
        return self._call("GET", path, query)

    def post(self, *path: str, body: Mapping[str, Any] | None = None, **query: Query) -> Any:
        """The JSON that `POST /<path>` answers; None where it answers nothing."""
        return self._call("POST", path, query, body)

    def delete(self, *path: str, **query: Query) -> None:
        """`DELETE /<path>`."""
        self._call("DELETE", path, query)

    @contextmanager
    def upload(self, *path: str, data: IO[bytes], timeout: float) -> Iterator[http.client.HTTPResponse]:
        """Stream a file to `POST /<path>`; the answer is to be read, as it comes, within the block."""
        with self._connection(timeout) as connection:
            length = os.fstat(data.fileno()).st_size
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(length)}
            yield _checked(connection.exchange("POST", self._target(path, {}), data, headers))

    def close(self) -> None:
        """Close the idle channels. A later call would open new ones."""
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _call(
        self, method: str, path: tuple[str, ...], query: Mapping[str, Query], body: Mapping[str, Any] | None = None
    ) -> Any:
        with self._connection(self._timeout) as connection:
            content = None if body is None else json.dumps(body).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            text = _checked(connection.exchange(method, self._target(path, query), content, headers)).read()
        return json.loads(text) if text.strip() else None

    def _target(self, path: tuple[str, ...], query: Mapping[str, Query]) -> str:
        words = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in query.items()}
        where = f"{self._prefix}/{'/'.join(quote(part, safe='') for part in path)}"
        return f"{where}?{urlencode(words)}" if words else where

    @contextmanager
    def _connection(self, timeout: float) -> Iterator[_Connection]:
        """A connection for one exchange; it is kept for the next one unless something went wrong or it was closed."""
        with self._turns:
            with self._guard:
                usable = [connection for connection in self._idle if connection.usable]
                connection = usable.pop() if usable else _Connection(self._open_channel)
                gone = [old for old in self._idle if old is not connection and old not in usable]
                self._idle = usable
            for old in gone:
                old.close()
            connection.allow(timeout)
            try:
                yield connection
            except Refusal:
                self._keep(connection)
                raise
            except BaseException:
                connection.close()
                raise
            self._keep(connection)

    def _keep(self, connection: _Connection) -> None:
        if connection.usable:
            with self._guard:
                self._idle.append(connection)
        else:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """One HTTP connection, kept alive, through a channel."""

    def __init__(self, open_channel: OpenChannel) -> None:
        super().__init__("docker", blocksize=BLOCK_SIZE)
        self._open_channel = open_channel
        self._seconds = CALL_TIMEOUT
        self.broken = False
        self.sock: Any = None  # a look-alike of a socket, as far as http.client goes

    def connect(self) -> None:
        """Open a channel."""
        channel = self._open_channel()
        channel.settimeout(self._seconds)
        self.sock = ChannelSocket(channel)

    def exchange(
        self, method: str, target: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer, whose body is still to be read."""
        try:
            self.request(method, target, body, headers)
        except BrokenPipeError:
            # the other end has heard enough, and may have said why before it closed
            self.broken = True
            return self._early_answer(method)
        return self.getresponse()

    def _early_answer(self, method: str) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(self.sock, method=method)
        response.begin()
        return response

    def allow(self, seconds: float) -> None:
        """How long the engine may be silent in the next exchange."""
        self._seconds = seconds
        if self.sock is not None:
            self.sock.settimeout(seconds)

    @property
    def usable(self) -> bool:
        """Whether another request may be sent, from what is known already."""
        return not self.broken and self.sock is not None and bool(self.sock.usable)


def as_data(content: bytes) -> str:
    """Bytes as the API wants them in JSON."""
    return base64.b64encode(content).decode()


def _checked(response: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if response.status < 400:
        return response
    text = response.read().decode(errors="replace").strip()
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text or response.reason
    raise Refusal(response.status, message)
