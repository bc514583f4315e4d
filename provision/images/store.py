"""The images on this machine: `images/<digest>/` in the data folder, with image.json and a tree/ or a disk.

An image appears by a rename and goes by one, so nobody meets half of it; what is half-made or half-removed has a name
that begins with a dot.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.errors import DeadlineError, DriverError
from provision.images.headers import disk_header
from provision.images.places import data_folder, data_folders
from provision.images.recipes import Kind, recipe_names
from provision.images.records import ImageRecord, read_record
from provision.local.locks import locked

#: seconds that a download which was broken off is kept for
_PATIENCE = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskImage:
    """A disk that machines can start from. `format` is qcow2 or raw, `virtual_size` bytes as a machine sees them.

    `digest` differs wherever the content does (16 hex digits). With `kernel` and `initrd` a hypervisor may start the
    kernel directly, with the options `cmdline`.
    """

    name: str
    path: Path
    digest: str
    format: str
    virtual_size: int
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str | None = None
    docker: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """An image's folder, and what is known of it: None when it is damaged, or root's alone."""

    folder: Path
    record: ImageRecord | None

    @property
    def digest(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def disk(self) -> DiskImage | None:
        """The disk; None for a tree."""
        record = self.record
        if record is None or record.kind is not Kind.DISK:
            return None
        return DiskImage(
            name=record.name,
            path=self.folder / record.file,
            digest=record.sha256[:16],
            format=record.format,
            virtual_size=record.virtual_size,
            kernel=self.folder / record.kernel if record.kernel else None,
            initrd=self.folder / record.initrd if record.initrd else None,
            cmdline=record.cmdline,
            docker=record.docker,
        )


@dataclass(frozen=True, slots=True)
class Store:
    """The images of one data folder."""

    data: Path

    @property
    def root(self) -> Path:
        """The folder that has a folder for each image."""
        return self.data / "images"

    def make(self) -> None:
        """Make the folder itself. Raises DriverError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DriverError(
                f"images cannot be kept in {self.root}: {exc.strerror}", hint="name another folder: PROVISION_DATA_DIR"
            ) from exc

    def folder(self, digest: str) -> Path:
        """A finished image."""
        return self.root / digest

    def half(self, digest: str) -> Path:
        """The same image while it is made; its lock is held by who makes it."""
        return self.root / f".{digest}.building"

    def partial(self, digest: str) -> Path:
        """An image while it is fetched; what is there already is carried on with."""
        return self.root / f".{digest}.fetching"

    def get(self, digest: str) -> Stored | None:
        """The image with this digest, if it is there."""
        folder = self.folder(digest)
        return Stored(folder, read_record(folder)) if folder.is_dir() else None

    def all(self) -> Iterator[Stored]:
        """Every finished image, in no order."""
        with contextlib.suppress(FileNotFoundError, PermissionError):
            for folder in self.root.iterdir():
                if not folder.name.startswith(".") and folder.is_dir():
                    yield Stored(folder, read_record(folder))

    def remove(self, digest: str) -> None:
        """Remove it; gone already is fine. Raises DriverError where this user may not."""
        leaving = self.root / f".{digest}.removed"
        try:
            self.folder(digest).rename(leaving)
            shutil.rmtree(leaving)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise DriverError(
                f"image {digest} could not be removed: {exc.strerror}",
                hint="root removes what root has built",
            ) from exc

    def sweep(self) -> None:
        """Remove what a killed build or removal has left, and downloads that nobody has carried on with for a week.

        What somebody works on is locked, and stays.
        """
        old = time.time() - _PATIENCE
        for folder in self.root.glob(".*.*"):
            with contextlib.suppress(OSError, DeadlineError), locked(folder, seconds=0):
                if folder.suffix in (".building", ".removed") or folder.stat().st_mtime < old:
                    shutil.rmtree(folder)


def clear(folder: Path) -> None:
    """Remove what a killed build has left in the folder; the folder stays, for its lock is held."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def own_store(environ: Mapping[str, str] | None = None) -> Store:
    """The store that this user builds and fetches images into."""
    return Store(data_folder(os.environ if environ is None else environ))


def stores(environ: Mapping[str, str] | None = None) -> tuple[Store, ...]:
    """Every store whose images this user may use, the own one first."""
    return tuple(Store(data) for data in data_folders(os.environ if environ is None else environ))


def find_disk(name: str, environ: Mapping[str, str] | None = None) -> DiskImage | None:
    """The newest disk of this name, or the disk file that a path names. Raises DriverError for a file that is no disk.

    A word with a slash is a path.
    """
    if "/" in name:
        path = Path(name).expanduser()
        return _disk_file(path) if path.exists() else None
    found = [
        (image.record.created, image.disk)
        for store in stores(environ)
        for image in store.all()
        if image.record and image.record.name == name and image.disk
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def require_disk(name: str, environ: Mapping[str, str] | None = None) -> DiskImage:
    """`find_disk`, or a DriverError that says how to come by it."""
    found = find_disk(name, environ)
    if found is None:
        raise DriverError(f"there is no disk image {name!r} here", hint=_how_to_get(name, environ))
    return found


def _how_to_get(name: str, environ: Mapping[str, str] | None) -> str:
    if "/" in name:
        return "name a qcow2 or raw disk that exists, or an image of `provision image ls`"
    if name in recipe_names():
        return f"build it: provision image build {name}"
    if name.removesuffix("-bare") in recipe_names():
        return f"build it: provision image build {name.removesuffix('-bare')} --bare"
    known = _names(environ)
    have = f"here are: {', '.join(known)}; " if known else ""
    return f"{have}build one of {', '.join(recipe_names())}, or fetch one: provision image pull URL --name {name}"


def _names(environ: Mapping[str, str] | None) -> Sequence[str]:
    return sorted({i.record.name for s in stores(environ) for i in s.all() if i.record and i.record.kind is Kind.DISK})


def _disk_file(path: Path) -> DiskImage:
    """A disk outside the store. To read all of it takes too long for each run: place, size and time stand for it."""
    header = disk_header(path)
    status = path.stat()
    mark = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    return DiskImage(
        name=str(path),
        path=path.resolve(),
        digest=hashlib.sha256(mark.encode()).hexdigest()[:16],
        format=header.format,
        virtual_size=header.virtual_size,
    )
