"""What the engine answers through its socket, and what is no answer."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any, cast

import pytest

from provision.hosts.streamlocal import read_answer, send_request

SERVER = "Docker/26.1 (linux)"
INFO = {"ServerVersion": "26.1", "Swarm": {"LocalNodeState": "inactive"}}


def answered(raw: bytes | None, *, seconds: float = 5.0) -> dict[str, Any] | None:
    """What is read when the other end says `raw` and closes; None: it says nothing at all."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        theirs.recv(4096)
        if raw is not None:
            theirs.sendall(raw)
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        channel = cast("Any", ours)
        send_request(channel, "/info")
        answer = read_answer(channel, seconds=seconds)
        return None if answer is None else {"status": answer.status, "server": answer.server, **answer.body}
    finally:
        thread.join(10)
        theirs.close()


def http(status: str, body: bytes) -> bytes:
    return b"HTTP/1.0 %s\r\nServer: Docker/26.1 (linux)\r\nContent-Type: application/json\r\n\r\n%s" % (
        status.encode(),
        body,
    )


def test_the_engines_answer_is_read_whole() -> None:
    padded = {**INFO, "Padding": "x" * 200_000}
    assert answered(http("200 OK", json.dumps(padded).encode())) == {"status": 200, "server": SERVER, **padded}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.0 200",
        http("200 OK", b'{"ServerVersion": '),
        http("200 OK", b"[]"),
    ],
)
def test_what_is_no_answer_is_none(raw: bytes) -> None:
    assert answered(raw) is None


def test_an_engine_that_stays_silent_is_given_up() -> None:
    assert answered(None, seconds=0.1) is None


def test_a_refusal_is_an_answer_too() -> None:
    refused = http("503 Service Unavailable", b'{"message": "no"}')
    assert answered(refused) == {"status": 503, "server": SERVER, "message": "no"}
