"""The docker context, judged by the docker CLI where there is one."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from provision.client.docker_context import (
    DockerContextError,
    docker_config_folder,
    remove_context,
    write_context,
)

needs_docker = pytest.mark.skipif(shutil.which("docker") is None, reason="the docker CLI is missing")


def docker(config: Path, *words: str) -> str:
    environ = {k: v for k, v in os.environ.items() if k not in {"DOCKER_HOST", "DOCKER_CONTEXT"}}
    done = subprocess.run(
        ["docker", *words],
        env={**environ, "DOCKER_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker"


@needs_docker
def test_the_docker_cli_lists_inspects_and_uses_it(config: Path) -> None:
    assert write_context("lab", "lab-manager-1", config=config)
    rows = [json.loads(line) for line in docker(config, "context", "ls", "--format", "json").splitlines()]
    assert [(row["Name"], row["DockerEndpoint"], row["Description"]) for row in rows if row["Name"] == "lab"] == [
        ("lab", "ssh://lab-manager-1", "provision cluster lab")
    ]
    assert json.loads(docker(config, "context", "inspect", "lab"))[0]["Endpoints"] == {
        "docker": {"Host": "ssh://lab-manager-1", "SkipTLSVerify": False}
    }
    docker(config, "context", "use", "lab")
    assert docker(config, "context", "show") == "lab\n"


@needs_docker
def test_removing_the_current_one_makes_dockers_default_current(config: Path) -> None:
    config.mkdir()
    file = config / "config.json"
    file.write_text('{"auths": {"r.example": {"auth": "YTpi"}}, "psFormat": "{{.Names}} é", "x": [1, {"y": 2}]}')
    file.chmod(0o600)
    write_context("lab", "lab-manager-1", config=config)
    docker(config, "context", "use", "lab")
    before = json.loads(file.read_text())
    assert remove_context("lab", config=config)
    assert docker(config, "context", "show") == "default\n"
    assert {**json.loads(file.read_text()), "currentContext": "lab"} == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@needs_docker
def test_one_that_docker_itself_rewrote_is_still_ours(config: Path) -> None:
    write_context("lab", "lab-manager-1", config=config)
    docker(config, "context", "update", "lab", "--docker", "host=ssh://elsewhere")
    assert write_context("lab", "lab-manager-2", config=config)
    assert "ssh://lab-manager-2" in docker(config, "context", "inspect", "lab")


@needs_docker
def test_one_that_the_user_made_is_left_alone(config: Path) -> None:
    docker(config, "context", "create", "lab", "--description", "mine", "--docker", "host=ssh://mine")
    before = docker(config, "context", "inspect", "lab")
    with pytest.raises(DockerContextError, match="provision did not make") as caught:
        write_context("lab", "lab-manager-1", config=config)
    assert "docker context rm lab" in caught.value.hint
    assert not remove_context("lab", config=config)
    assert docker(config, "context", "inspect", "lab") == before


def test_the_same_again_writes_nothing(config: Path) -> None:
    assert write_context("lab", "lab-manager-1", config=config)
    meta = next(config.rglob("meta.json"))
    before = meta.stat()
    assert not write_context("lab", "lab-manager-1", config=config)
    assert meta.stat() == before
    assert write_context("lab", "lab-manager-2", config=config)


def test_a_damaged_one_is_not_overwritten(config: Path) -> None:
    write_context("lab", "lab-manager-1", config=config)
    meta = next(config.rglob("meta.json"))
    meta.write_text("{")
    with pytest.raises(DockerContextError):
        write_context("lab", "lab-manager-1", config=config)
    assert meta.read_text() == "{"


def test_nothing_is_left_of_the_last_one(config: Path) -> None:
    write_context("lab", "lab-manager-1", config=config)
    assert remove_context("lab", config=config)
    assert not config.exists()
    assert not remove_context("lab", config=config)


def test_other_contexts_and_the_current_one_of_another_stay(config: Path) -> None:
    write_context("lab", "lab-manager-1", config=config)
    write_context("other", "other-manager-1", config=config)
    text = '{"currentContext":"other","x":1}'
    (config / "config.json").write_text(text)
    remove_context("lab", config=config)
    assert (config / "config.json").read_text() == text
    assert [json.loads(meta.read_text())["Name"] for meta in config.rglob("meta.json")] == ["other"]


def test_a_config_behind_a_symlink_stays_one(config: Path, tmp_path: Path) -> None:
    write_context("lab", "lab-manager-1", config=config)
    target = tmp_path / "dotfiles.json"
    target.write_text('{"currentContext": "lab", "x": 1}')
    (config / "config.json").symlink_to(target)
    remove_context("lab", config=config)
    assert (config / "config.json").readlink() == target
    assert json.loads(target.read_text()) == {"x": 1}


@pytest.mark.parametrize("name", ["default", "a", "_x"])
def test_a_name_that_docker_refuses_is_said_with_the_other_way(config: Path, name: str) -> None:
    with pytest.raises(DockerContextError, match="does not allow") as caught:
        write_context(name, "m", config=config)
    assert "provision docker -c" in caught.value.hint
    assert not config.exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DockerContextError, match="cannot write"):
        write_context("lab", "lab-manager-1", config=tmp_path / "file" / "docker")


def test_docker_config_is_honoured() -> None:
    assert docker_config_folder({"DOCKER_CONFIG": "/d", "HOME": "/h"}) == Path("/d")
    assert docker_config_folder({"HOME": "/h"}) == Path("/h/.docker")
