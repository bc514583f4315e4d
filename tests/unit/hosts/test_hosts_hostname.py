"""A host's name, set and given back, in a folder that stands for /etc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provision.hosts import layout
from provision.hosts.changes import hostname


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `kernel`, where the kernel's name would be; our own files lie in `ours`."""
    monkeypatch.setattr(layout, "DIRECTORY", str(tmp_path / "ours"))
    monkeypatch.setattr(layout, "HOSTNAME_BEFORE", str(tmp_path / "ours" / "before"))
    monkeypatch.setattr(layout, "HOSTNAME_FILE", str(tmp_path / "ours" / "file"))
    (tmp_path / "kernel").write_text("old\n")
    return tmp_path


def run(script: str) -> None:
    subprocess.run(["sh", "-euc", script], check=True, timeout=20)


def named(etc: Path, name: str) -> None:
    run(hostname.set_name(name, etc=str(etc), kernel=str(etc / "kernel")))


def given_back(etc: Path) -> None:
    run(hostname.restore(etc=str(etc), kernel=str(etc / "kernel")))


def test_the_name_is_the_kernels_the_files_and_resolves(etc: Path) -> None:
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    (etc / "hostname").write_text("old\n")
    named(etc, "node-1")
    assert (etc / "kernel").read_text() == "node-1"
    assert (etc / "hostname").read_text() == "node-1\n"
    assert "127.0.1.1 node-1 " in (etc / "hosts").read_text()


@pytest.mark.parametrize("hosts", ["127.0.0.1 localhost\n10.0.0.9 db # provision\n", "", "127.0.0.1 localhost\n\n"])
@pytest.mark.parametrize("file", ["old\n", "other", None])
def test_everything_comes_back_as_it_was_after_two_names(etc: Path, hosts: str, file: str | None) -> None:
    (etc / "hosts").write_text(hosts)
    if file is not None:
        (etc / "hostname").write_text(file)
    named(etc, "node-1")
    named(etc, "node-2")
    assert "node-1" not in (etc / "hosts").read_text()
    given_back(etc)
    assert (etc / "hosts").read_text() == hosts
    assert (etc / "hostname").read_text() == file if file is not None else not (etc / "hostname").exists()
    assert (etc / "kernel").read_text() == "old\n"


def test_a_last_line_without_an_end_stays_a_line_of_its_own(etc: Path) -> None:
    (etc / "hosts").write_text("10.0.0.9 db")
    named(etc, "node-1")
    assert (etc / "hosts").read_text().splitlines()[0] == "10.0.0.9 db"
    given_back(etc)
    assert (etc / "hosts").read_text() == "10.0.0.9 db\n"


def test_a_crash_before_the_old_name_was_kept_loses_nothing(etc: Path) -> None:
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    (etc / "hostname").write_text("old\n")
    (etc / "ours").mkdir()
    (etc / "ours" / "before.new").write_text("")
    named(etc, "node-1")
    given_back(etc)
    assert (etc / "kernel").read_text() == "old\n"
    assert (etc / "hostname").read_text() == "old\n"
