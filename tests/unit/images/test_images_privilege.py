"""Building without root: what is missing is named, with the command that mends it."""

from __future__ import annotations

import getpass
import os
import shutil
from pathlib import Path

import pytest

from provision.errors import DriverError
from provision.images import privilege
from provision.images.privilege import as_root
from provision.local.commands import Commands


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user who has the program."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(getpass, "getuser", lambda: "nobody-here")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/newuidmap")


def test_root_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert as_root(Commands()) == ()


@pytest.mark.usefixtures("user")
def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(DriverError, match="newuidmap") as caught:
        as_root(Commands())
    assert "apt-get install uidmap" in caught.value.hint


@pytest.mark.usefixtures("user")
def test_user_without_ids_of_his_own_is_told_how_to_get_some() -> None:
    with pytest.raises(DriverError, match="ids of its own") as caught:
        as_root(Commands())
    assert "usermod --add-subuids" in caught.value.hint
    assert "sudo provision image build" in caught.value.hint


@pytest.mark.usefixtures("user")
def test_kernel_that_refuses_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(privilege, "_check_ids", lambda: None)
    monkeypatch.setattr(privilege, "_NAMESPACE", ("false",))
    setting = tmp_path / "refuses"
    setting.write_text("1\n")
    monkeypatch.setattr(privilege, "_REFUSALS", ((str(setting), "1", "kernel.refuses=0"),))
    with pytest.raises(DriverError, match="no ordinary user") as caught:
        as_root(Commands())
    assert "sysctl -w kernel.refuses=0" in caught.value.hint
