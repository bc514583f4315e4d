"""The command line in this process: its folders in a temporary place, its output caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.cli.main import run


@dataclass(frozen=True)
class Said:
    """What a command line came to; its repr explains a failed assertion."""

    code: int
    out: str
    err: str


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with home and state beside it; nobody is at the terminal."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "docker"))
    monkeypatch.setenv("PROVISION_SSH_CONFIG", str(home / "no-ssh-config"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for name in ("PROVISION_CLUSTER", "PROVISION_PROGRESS", "PROVISION_SSH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def provision(place: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`provision("plan", "lab.yml")`."""

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = run(list(words))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call
