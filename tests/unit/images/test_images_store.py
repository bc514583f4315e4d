"""The store: what is found by which name, what is listed, what goes."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from provision.errors import DriverError, UsageError
from provision.images import places
from provision.images.places import data_folder, data_folders
from provision.images.recipes import Kind
from provision.images.records import ImageRecord, read_record, write_record
from provision.images.store import Store, find_disk, require_disk
from provision.local.locks import locked_made
from provision.operations import images
from provision.operations.images import list_images, remove_images
from provision.operations.place import Place

DISK = ImageRecord(
    name="debian-12",
    kind=Kind.DISK,
    digest="aaaa000000000000",
    source="recipe debian-12",
    created="2026-01-01T00:00:00+00:00",
    size=1024**2,
    docker=True,
    sha256="ab" * 32,
    format="qcow2",
    virtual_size=3 * 1024**3,
    file="disk.qcow2",
    kernel="vmlinuz",
    initrd="initrd.img",
    cmdline="root=LABEL=provision-root",
)
TREE = ImageRecord(
    name="debian-12", kind=Kind.TREE, digest="bbbb000000000000", source="recipe debian-12", created="2026-02-01", size=1
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PROVISION_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def store(environ: dict[str, str]) -> Store:
    return Store(data_folder(environ))


def put(store: Store, *records: ImageRecord) -> None:
    for record in records:
        folder = store.folder(record.digest)
        folder.mkdir(parents=True)
        write_record(folder, record)


def place(environ: dict[str, str], tmp_path: Path) -> Place:
    return Place(root=tmp_path / "state", environ=environ)


def test_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = replace(DISK, archives=("cd" * 32,))
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_damaged_record_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text('{"kind": "disk", "na')
    assert read_record(tmp_path) is None
    (tmp_path / "image.json").write_text('{"kind": "disk"}')
    assert read_record(tmp_path) is None


def test_name_means_the_newest_disk_of_that_name(store: Store, environ: dict[str, str]) -> None:
    newer = replace(DISK, digest="cccc000000000000", created="2026-03-01T00:00:00+00:00", sha256="cd" * 32)
    put(store, DISK, newer, TREE)
    found = require_disk("debian-12", environ)
    assert found.path == store.folder(newer.digest) / "disk.qcow2"
    assert (found.digest, found.format, found.virtual_size) == ("cd" * 8, "qcow2", 3 * 1024**3)
    assert found.kernel == store.folder(newer.digest) / "vmlinuz"
    assert (found.cmdline, found.docker) == ("root=LABEL=provision-root", True)


def test_a_tree_is_no_disk(store: Store, environ: dict[str, str]) -> None:
    put(store, TREE)
    assert find_disk("debian-12", environ) is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("debian-13", "provision image build debian-13"),
        ("debian-12-bare", "provision image build debian-12 --bare"),
        ("fedora", "provision image pull URL --name fedora"),
        ("/no/such.qcow2", "name a qcow2 or raw disk that exists"),
    ],
)
def test_missing_disk_says_how_to_come_by_it(name: str, hint: str, environ: dict[str, str]) -> None:
    with pytest.raises(DriverError, match="there is no disk image") as caught:
        require_disk(name, environ)
    assert hint in caught.value.hint


def test_path_is_a_disk_that_changes_with_its_file(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "own.qcow2"
    path.write_bytes(struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1024**3).ljust(512, b"\0"))
    first = require_disk(str(path), environ)
    assert (first.path, first.format, first.virtual_size, first.kernel) == (path, "qcow2", 1024**3, None)
    assert require_disk(str(path), environ).digest == first.digest
    path.write_bytes(path.read_bytes() + b"more")
    assert require_disk(str(path), environ).digest != first.digest


def test_user_who_may_not_write_to_the_system_has_a_folder_and_sees_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SYSTEM_DATA", tmp_path / "system")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert data_folders({"HOME": "/home/u"}) == (Path("/home/u/.local/share/provision"), tmp_path / "system")
    assert data_folder({"HOME": "/home/u", "XDG_DATA_HOME": "/d"}) == Path("/d/provision")
    assert data_folders({"PROVISION_DATA_DIR": "/p"}) == (Path("/p"),)


def test_half_an_image_is_none(store: Store, environ: dict[str, str]) -> None:
    half = store.half(DISK.digest)
    half.mkdir(parents=True)
    write_record(half, DISK)
    assert list(store.all()) == []
    assert find_disk("debian-12", environ) is None


def test_sweep_removes_what_nobody_works_on(store: Store) -> None:
    killed, fetched = store.half("1"), store.partial("2")
    for folder in (killed, fetched, store.root / ".3.removed"):
        (folder / "tree").mkdir(parents=True)
    with locked_made(store.half("4"), seconds=1):
        store.sweep()
    assert sorted(folder.name for folder in store.root.iterdir()) == [".2.fetching", ".4.building"]


def test_list_shows_damaged_images_too(store: Store, environ: dict[str, str], tmp_path: Path) -> None:
    put(store, DISK, TREE)
    store.folder("dddd000000000000").mkdir()
    rows = list_images(place(environ, tmp_path))
    assert [(row.name, row.kind) for row in rows] == [
        ("dddd000000000000", "unknown"),
        ("debian-12", "tree"),
        ("debian-12", "disk"),
    ]


def test_remove_takes_names_and_beginnings_of_digests(
    store: Store, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_users", dict)
    put(store, DISK, TREE, replace(DISK, name="debian-13", digest="eeee000000000000"))
    gone = remove_images(place(environ, tmp_path), ["debian-13", "aaaa"])
    assert [image.digest for image in gone] == ["eeee000000000000", "aaaa000000000000"]
    assert [image.digest for image in store.all()] == [TREE.digest]
    assert [folder.name for folder in store.root.iterdir()] == [TREE.digest]


def test_image_that_machines_stand_on_stays_and_so_do_the_others(
    store: Store, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_users", lambda: {TREE.digest: ("lab-worker-1",)})
    put(store, DISK, TREE)
    with pytest.raises(UsageError, match=r"debian-12 \(bbbb000000000000\) is in use by lab-worker-1"):
        remove_images(place(environ, tmp_path), ["debian-12"])
    assert len(list(store.all())) == 2


def test_name_that_is_none_is_an_error(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no image 'nothing'"):
        remove_images(place(environ, tmp_path), ["nothing"])
