"""Which folder keeps a user out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision_libvirt.folders import Account, may_use, qemu_account, unsearchable

STRANGER = Account("qemu", 64055, frozenset({64055}))


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder below others, all of which are open."""
    path = tmp_path / "a" / "b" / "c"
    path.mkdir(parents=True)
    for folder in (path, *path.parents[:2]):
        folder.chmod(0o755)
    return path


def test_open_folders_keep_nobody_out(deep: Path, tmp_path: Path) -> None:
    assert unsearchable(deep / "disk", STRANGER, root=tmp_path / "a") is None


def test_topmost_closed_folder_is_named(deep: Path, tmp_path: Path) -> None:
    for folder in (deep.parent, deep):
        folder.chmod(0o750)
    assert unsearchable(deep / "disk", STRANGER, root=tmp_path / "a") == deep.parent


def test_group_s_right_counts_for_its_members(deep: Path, tmp_path: Path) -> None:
    deep.chmod(0o710)
    member = Account("qemu", 64055, frozenset({deep.stat().st_gid}))
    assert unsearchable(deep / "disk", member, root=tmp_path / "a") is None
    assert unsearchable(deep / "disk", STRANGER, root=tmp_path / "a") == deep


def test_owner_s_right_counts_before_the_others(deep: Path, tmp_path: Path) -> None:
    if deep.stat().st_uid == 0:
        os.chown(deep, STRANGER.uid, 0)
    owner = Account("me", deep.stat().st_uid, frozenset())
    deep.chmod(0o700)
    assert unsearchable(deep / "disk", owner, root=tmp_path / "a") is None
    deep.chmod(0o077)
    assert unsearchable(deep / "disk", owner, root=tmp_path / "a") == deep


def test_root_is_kept_out_of_nothing(deep: Path) -> None:
    deep.chmod(0)
    assert unsearchable(deep / "disk", Account("root", 0, frozenset())) is None


def test_folder_that_is_yet_to_be_made_is_no_obstacle(deep: Path, tmp_path: Path) -> None:
    assert unsearchable(deep / "later" / "disk", STRANGER, root=tmp_path / "a") is None


@pytest.mark.parametrize(("mode", "may"), [(0o666, True), (0o660, False), (0o664, False)])
def test_use_is_reading_and_writing(tmp_path: Path, mode: int, may: bool) -> None:
    (tmp_path / "socket").touch()
    (tmp_path / "socket").chmod(mode)
    assert may_use(tmp_path / "socket", STRANGER) is may


def test_qemu_s_user_is_the_configured_one(tmp_path: Path) -> None:
    config = tmp_path / "qemu.conf"
    config.write_text('#user = "nobody"\nuser = "root"\n')
    account = qemu_account(config)
    assert account is not None
    assert (account.name, account.uid) == ("root", 0)
    config.write_text('user = "no-such-user-here"\n')
    assert qemu_account(config) is None
