"""Fetching a disk that others have made: resumable, verified, and in the store as a whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from provision.errors import DriverError
from provision.images.headers import disk_header
from provision.images.recipes import Kind, recipe_names
from provision.images.records import ImageRecord, write_record
from provision.images.store import DiskImage, Store
from provision.local.locks import locked_made

#: called with the bytes that are here, and with how many there will be where the server says so
Progress = Callable[[int, int | None], None]

#: seconds without a byte after which a connection counts as lost, and how often in a row it may be lost
_SILENCE, _LOSSES = 30.0, 5
_CHUNK = 1024**2
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]+")
_LENGTHS = {"sha256": 64, "sha512": 128}
#: the file while it is not complete
_PART = "part"


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file must come to: `sha256` or `sha512`, and its hex digits."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        """`sha256:0123…`."""
        return f"{self.algorithm}:{self.digest}"

    @classmethod
    def of(cls, algorithm: str, digest: str) -> Checksum:
        """Raises DriverError for what is no checksum."""
        text = digest.strip().lower()
        if len(text) != _LENGTHS[algorithm] or not _DIGEST.fullmatch(text):
            raise DriverError(
                f"{digest!r} is no {algorithm}", hint=f"a {algorithm} has {_LENGTHS[algorithm]} hex digits"
            )
        return cls(algorithm, text)


def pull(
    url: str, checksum: Checksum, store: Store, *, name: str | None = None, progress: Progress = lambda *_: None
) -> DiskImage:
    """The disk from the address, fetched if no disk of this content is there under this name.

    What a broken download has left is carried on with. Raises DriverError: a server that refuses, a content that is
    not the one that was asked for (nothing of it stays), a file that is no disk.
    """
    called = _checked_name(name or _name_of(url))
    # another name for the same content is another image: `rm` of one leaves the other
    digest = hashlib.sha256(f"{called}\0{checksum}".encode()).hexdigest()[:16]
    if store.get(digest) is None:
        store.make()
        half = store.partial(digest)
        with locked_made(half, seconds=_SILENCE):
            _fetch(url, half / _PART, progress)
            sha256 = _verified(url, half, checksum)
            file = _named(half)
            write_record(half, _record(called, url, digest, checksum, sha256, file))
            half.chmod(0o755)
            half.rename(store.folder(digest))
    stored = store.get(digest)
    if stored is None or stored.disk is None:
        raise DriverError(f"image {called} was removed or is damaged", hint=f"provision image rm {digest}")
    return stored.disk


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise DriverError(f"{name!r} is no name for an image", hint="name it with small letters, digits, . _ -: --name")
    if any(name == known or name.startswith(f"{known}-") for known in recipe_names()):
        raise DriverError(f"{name!r} is the name of an image that is built here", hint="give it another: --name")
    return name


def _name_of(url: str) -> str:
    """`debian-12-genericcloud-amd64` of …/debian-12-genericcloud-amd64.qcow2."""
    return PurePosixPath(urllib.parse.urlsplit(url).path).stem.lower()


def _shown(url: str) -> str:
    """The address without what may be a secret in it."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _fetch(url: str, part: Path, progress: Progress) -> None:
    """Bring the file's content into `part`, from where it ends on."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https", "file"):
        raise DriverError(f"{url!r} is no address of a file", hint="https://…, http://… or file:///…")
    losses = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch_once(url, part, before, progress):
                return
            cause = "the server closed the connection"
        except urllib.error.HTTPError as exc:
            if exc.code < 500:
                raise DriverError(f"{_shown(url)} cannot be fetched: {exc.code} {exc.reason}") from exc
            cause = f"{exc.code} {exc.reason}"
        except (OSError, http.client.HTTPException) as exc:
            cause = str(getattr(exc, "reason", exc)) or type(exc).__name__
        here = part.stat().st_size if part.exists() else 0
        losses = 1 if here > before else losses + 1
        if losses >= _LOSSES:
            raise DriverError(
                f"{_shown(url)} could not be fetched: lost {losses} times in a row",
                detail=f"    last: {cause}",
                hint=f"run it again: it carries on from byte {here}" if here else "",
            )
        time.sleep(0.2 * losses)


def _fetch_once(url: str, part: Path, have: int, progress: Progress) -> bool:
    """One connection; whether the file is complete, as far as the server tells how long it is."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_SILENCE)
    except urllib.error.HTTPError as exc:
        if exc.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return True  # there is nothing behind what is here; the checksum tells whether it is right
        raise
    with answer, part.open("ab") as out:
        if getattr(answer, "status", None) != http.HTTPStatus.PARTIAL_CONTENT:
            out.truncate(0)
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        for chunk in iter(lambda: answer.read(_CHUNK), b""):
            out.write(chunk)
            have += len(chunk)
            progress(have, total)
    return total is None or have >= total


def _verified(url: str, half: Path, checksum: Checksum) -> str:
    """The content's sha256. What is not the content that was asked for is removed."""
    with (half / _PART).open("rb") as stream:
        got = _digests(stream, {"sha256", checksum.algorithm})
    if got[checksum.algorithm] != checksum.digest:
        shutil.rmtree(half)
        raise DriverError(
            f"{_shown(url)} is not what it should be; nothing of it was kept",
            detail=f"    wanted {checksum}\n    got    {checksum.algorithm}:{got[checksum.algorithm]}",
            hint="the file there may be a newer one: take checksum and address from the same release",
        )
    return got["sha256"]


def _digests(stream: BinaryIO, algorithms: set[str]) -> dict[str, str]:
    made = {name: hashlib.new(name) for name in algorithms}
    for chunk in iter(lambda: stream.read(_CHUNK), b""):
        for one in made.values():
            one.update(chunk)
    return {name: one.hexdigest() for name, one in made.items()}


def _named(half: Path) -> Path:
    """The disk under its final name. A file that is none is removed."""
    part = half / _PART
    try:
        header = disk_header(part)
    except DriverError:
        shutil.rmtree(half)
        raise
    return part.rename(half / f"disk.{header.format}")


def _record(name: str, url: str, digest: str, checksum: Checksum, sha256: str, file: Path) -> ImageRecord:
    header = disk_header(file)
    return ImageRecord(
        name=name,
        kind=Kind.DISK,
        digest=digest,
        source=_shown(url),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        size=file.stat().st_blocks * 512,
        checksum=str(checksum),
        sha256=sha256,
        format=header.format,
        virtual_size=header.virtual_size,
        file=file.name,
    )
