"""Fetching disks from a server that breaks off, that cannot resume, that has something else."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from provision.errors import DriverError
from provision.images import pull as module
from provision.images.pull import Checksum, pull
from provision.images.store import Store

CONTENT = bytes(510) + b"\x55\xaa" + b"disk" * 500_000
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


@dataclass
class Server:
    """Serves one file. `breaks_after`: bytes that each answer has before the connection ends, one entry an answer."""

    content: bytes = CONTENT
    resumes: bool = True
    status: int = 200
    breaks_after: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *args: object) -> None:
        self.file = server
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.file.asked.append(asked)
        if self.file.status != 200:
            self.send_error(self.file.status)
            return
        start = 0
        if asked and self.file.resumes:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.file.content):
                self.send_error(416)
                return
        body = self.file.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.file.breaks_after.pop(0)] if self.file.breaks_after else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    file = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, file)) as listening:
        file.url = f"http://127.0.0.1:{listening.server_address[1]}/images/Some-12.qcow2?token=secret"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield file
        listening.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_disk_is_verified_and_named_after_its_file(server: Server, store: Store) -> None:
    seen: list[tuple[int, int | None]] = []
    found = pull(server.url, SHA256, store, progress=lambda here, total: seen.append((here, total)))
    assert found.path.read_bytes() == CONTENT
    assert (found.name, found.format, found.virtual_size) == ("some-12", "raw", len(CONTENT))
    assert found.digest == SHA256.digest[:16]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    (stored,) = store.all()
    assert stored.record is not None
    assert "secret" not in stored.record.source
    assert stored.record.checksum == str(SHA256)


def test_disk_that_is_there_is_not_fetched_again(server: Server, store: Store) -> None:
    first = pull(server.url, SHA256, store)
    assert pull(server.url, SHA256, store) == first
    assert len(server.asked) == 1
    other = pull(server.url, SHA256, store, name="other")
    assert {image.record.name for image in store.all() if image.record} == {"some-12", "other"}
    assert other.digest == first.digest


def test_broken_download_is_carried_on_with_by_itself(server: Server, store: Store) -> None:
    server.breaks_after = [1000, 70_000]
    assert pull(server.url, SHA256, store).path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=71000-"]


def test_next_run_carries_on_where_one_gave_up(server: Server, store: Store) -> None:
    server.breaks_after = [1000, *[0] * 5]
    with pytest.raises(DriverError, match="lost 5 times in a row") as caught:
        pull(server.url, SHA256, store)
    assert "carries on from byte 1000" in caught.value.hint
    assert list(store.all()) == []
    assert pull(server.url, SHA256, store).path.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1000-"


def test_server_that_cannot_resume_is_asked_for_all(server: Server, store: Store) -> None:
    server.resumes, server.breaks_after = False, [1000]
    assert pull(server.url, SHA256, store).path.read_bytes() == CONTENT


def test_complete_file_that_was_never_verified_is_not_fetched_again(server: Server, store: Store) -> None:
    digest = hashlib.sha256(f"some-12\0{SHA256}".encode()).hexdigest()[:16]
    store.partial(digest).mkdir(parents=True)
    (store.partial(digest) / "part").write_bytes(CONTENT)
    assert pull(server.url, SHA256, store).path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_other_content_leaves_nothing_and_says_what_came(server: Server, store: Store) -> None:
    server.content = CONTENT + b"newer"
    with pytest.raises(DriverError, match="not what it should be") as caught:
        pull(server.url, SHA256, store)
    assert hashlib.sha256(server.content).hexdigest() in caught.value.detail
    assert SHA256.digest in caught.value.detail
    assert list(store.root.iterdir()) == []


def test_what_is_no_disk_leaves_nothing(server: Server, store: Store) -> None:
    server.content = b"\xfd7zXZ\x00"
    with pytest.raises(DriverError, match="compressed"):
        pull(server.url, Checksum("sha256", hashlib.sha256(server.content).hexdigest()), store)
    assert list(store.root.iterdir()) == []


def test_sha512_will_do(server: Server, store: Store) -> None:
    found = pull(server.url, Checksum("sha512", hashlib.sha512(CONTENT).hexdigest()), store)
    assert found.digest == SHA256.digest[:16]


def test_refusal_is_final_and_says_so(server: Server, store: Store) -> None:
    server.status = 404
    with pytest.raises(DriverError, match="404") as caught:
        pull(server.url, SHA256, store)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1


def test_file_on_this_machine_is_taken_as_well(tmp_path: Path) -> None:
    path = tmp_path / "own.img"
    path.write_bytes(CONTENT)
    assert pull(path.as_uri(), SHA256, Store(tmp_path / "data")).path.read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["debian-12", "debian-13-bare", "Upper", "a/b", "-x"])
def test_name_of_a_recipe_or_none_is_refused(name: str, store: Store) -> None:
    with pytest.raises(DriverError, match=re.escape(repr(name))):
        pull("http://example.org/x.qcow2", SHA256, store, name=name)


def test_other_schemes_are_refused(store: Store) -> None:
    with pytest.raises(DriverError, match="no address of a file"):
        pull("ftp://example.org/x.qcow2", SHA256, store)


@pytest.mark.parametrize("text", ["", "abc", "z" * 64, "a" * 63])
def test_checksum_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DriverError, match="is no sha256"):
        Checksum.of("sha256", text)
    assert Checksum.of("sha256", f" {'A' * 64}\n").digest == "a" * 64
