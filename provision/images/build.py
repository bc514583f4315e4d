"""Building images into the store, each once: two builds of one recipe at the same time are one build and one wait.

A build that fails or is killed leaves no image; what a killed one has left half-made is removed by the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provision.errors import DriverError
from provision.images.disk import DISK, INITRD, KERNEL
from provision.images.grub import KERNEL_OPTIONS
from provision.images.headers import disk_header
from provision.images.privilege import as_root
from provision.images.recipes import Recipe
from provision.images.records import ImageRecord, write_record
from provision.images.store import DiskImage, Store, clear, own_store
from provision.images.tree import BUILD_SECONDS, make_tree
from provision.local.commands import SEARCH_PATH, Commands
from provision.local.locks import locked_made

Say = Callable[[str], None]

#: what a build that is broken off may take to remove what it has made
_CLEAN_UP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Half:
    """The folder of an image that is being made, and the descriptor of its lock."""

    folder: Path
    held: int


def build_tree(made_of: Recipe, store: Store) -> Path:
    """The recipe's tree, built if it is not there; root only. Takes a minute, or as long as another's build takes.

    Raises DriverError with the last lines of what failed.
    """
    final = store.folder(made_of.digest)
    with _half(made_of, store) as half:
        if half is not None:
            store.sweep()
            clear(half.folder)
            make_tree(made_of, half.folder / "tree", Commands((half.held,)))
            write_record(half.folder, _record(made_of, size=_tree_size(half.folder / "tree")))
            half.folder.rename(final)
    return final / "tree"


def build_disk(made_of: Recipe, store: Store | None = None, *, say: Say = lambda _: None) -> DiskImage:
    """The recipe's disk, built if it is not there; without root where the system allows it. Takes a minute or two.

    `say` is told what is done. Raises DriverError with the last lines of what failed, or with what is missing here.
    """
    store = store or own_store()
    with _half(made_of, store) as half:
        if half is not None:
            _run_inside(made_of, store, half, say)
            write_record(half.folder, _disk_record(made_of, half.folder))
            half.folder.chmod(0o755)
            half.folder.rename(store.folder(made_of.digest))
    stored = store.get(made_of.digest)
    if stored is None or stored.disk is None:
        raise DriverError(
            f"image {made_of.image_name} was removed or is damaged", hint=f"provision image rm {made_of.digest}"
        )
    return stored.disk


@contextlib.contextmanager
def _half(made_of: Recipe, store: Store) -> Iterator[_Half | None]:
    """The locked, empty folder to make the image in; None when it is there already."""
    final, folder = store.folder(made_of.digest), store.half(made_of.digest)
    if final.is_dir():
        yield None
        return
    store.make()
    with locked_made(folder, seconds=BUILD_SECONDS, mode=0o700) as held:
        if final.is_dir():
            folder.rmdir()
            yield None
            return
        # Guests' files keep their owners and set-uid bits: nobody else may walk in.
        folder.chmod(0o700)
        try:
            yield _Half(folder, held)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _run_inside(made_of: Recipe, store: Store, half: _Half, say: Say) -> None:
    """Have a process that is root, or thinks so, build the disk."""
    commands = Commands((half.held,))
    argv = (
        # dies with this process
        *("setpriv", "--pdeathsig", "KILL", *as_root(commands)),
        *(sys.executable, "-P", "-m", "provision.images.inside"),
    )
    asked = {
        "recipe": {"name": made_of.name, "docker": made_of.docker, "mirror": made_of.mirror},
        "archives": [str(archive.path.absolute()) for archive in made_of.archives],
        "data": str(store.data),
        "folder": str(half.folder),
        "held": half.held,
    }
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=commands.held,
        env={**os.environ, "PATH": SEARCH_PATH},
    )
    try:
        _converse(process, asked, say)
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CLEAN_UP_SECONDS)
            process.kill()
        process.wait()


def _converse(process: subprocess.Popen[str], asked: dict[str, Any], say: Say) -> None:
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(json.dumps(asked))
    process.stdin.close()
    finished = False
    for line in process.stdout:
        answer = json.loads(line)
        if "error" in answer:
            problem = answer["error"]
            raise DriverError(problem["summary"], detail=problem["detail"], hint=problem["hint"])
        if "say" in answer:
            say(answer["say"])
        finished = finished or "done" in answer
    if not finished:
        last = process.stderr.read().strip().splitlines()[-8:]
        raise DriverError("the build ended before its time", detail="\n".join(f"    {line}" for line in last))


def _record(made_of: Recipe, *, size: int) -> ImageRecord:
    return ImageRecord(
        name=made_of.image_name,
        kind=made_of.kind,
        digest=made_of.digest,
        source=f"recipe {made_of.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        size=size,
        docker=made_of.docker,
        archives=tuple(archive.sha256 for archive in made_of.archives),
    )


def _disk_record(made_of: Recipe, folder: Path) -> ImageRecord:
    disk = folder / DISK
    header = disk_header(disk)
    with disk.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    files = [folder / name for name in (DISK, KERNEL, INITRD)]
    return replace(
        _record(made_of, size=sum(file.stat().st_blocks * 512 for file in files)),
        sha256=sha256,
        format=header.format,
        virtual_size=header.virtual_size,
        file=DISK,
        kernel=KERNEL,
        initrd=INITRD,
        cmdline=KERNEL_OPTIONS,
    )


def _tree_size(tree: Path) -> int:
    """Bytes on this disk; files with several names count once."""
    sizes = {}
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            status = Path(folder, name).lstat()
            sizes[status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())
