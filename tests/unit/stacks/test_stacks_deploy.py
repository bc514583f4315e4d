"""The deploy script, run by a real shell with a fake docker that writes down what it sees."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provision.inventory.cluster import Stack
from provision.stacks.bundle import read_bundle
from provision.stacks.deploy import deploy_script

FAKE_DOCKER = """#!/bin/sh
value=$PATH; PATH=/usr/bin:/bin
printf '%s\\n' "$@" > "$SEEN/argv"
pwd > "$SEEN/pwd"; stat -c %a . > "$SEEN/mode"; cp -r . "$SEEN/files"; PATH=$value /usr/bin/env -0 > "$SEEN/env"
exit ${FAKE_STATUS:-0}
"""
TEXT = "services: {web: {image: $TAG, env_file: a.env, environment: [dir, PATH, GONE]}}\n"


def run(tmp_path: Path, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    seen = tmp_path / "seen"
    seen.mkdir()
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    fake.write_text(FAKE_DOCKER)
    fake.chmod(0o755)
    # the script's own directory is under /run, which a test need not be able to write
    script = script.replace("/run/provision-stack", f"{tmp_path}/provision-stack")
    path = f"{fake.parent}:{os.environ['PATH']}"
    env = {"PATH": path, "SEEN": str(seen), "HOME": "/root", **environ}
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, env=env, timeout=20, check=False)


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "c.yml").write_text(TEXT)
    (tmp_path / "a.env").write_text("A=1\n")
    env = {"TAG": "it's $HOME\n`id`", "dir": "/precious", "PATH": "/nowhere"}
    stack = Stack(name="hello", files=(tmp_path / "c.yml",), env=env, with_registry_auth=True)
    return deploy_script(read_bundle(stack, {}))


def test_docker_sees_the_files_and_the_variables(tmp_path: Path, script: str) -> None:
    done = run(tmp_path, script, GONE="from the manager")
    assert (done.returncode, done.stderr) == (0, "")
    seen = tmp_path / "seen"
    argv = (seen / "argv").read_text().split("\n")
    assert argv[argv.index("stack") : -1] == [
        "stack", "deploy", "--compose-file", "0-c.yml", "--resolve-image", "always",
        "--prune", "--with-registry-auth", "hello",
    ]  # fmt: skip
    assert (seen / "files" / "files" / "0-a.env").read_text() == "A=1\n"
    env = dict(item.split("=", 1) for item in (seen / "env").read_text().split("\0") if item)
    assert (env["TAG"], env["dir"], env["PATH"]) == ("it's $HOME\n`id`", "/precious", "/nowhere")
    assert "GONE" not in env


def test_its_directory_is_private_and_gone_afterwards(tmp_path: Path, script: str) -> None:
    run(tmp_path, script)
    assert (tmp_path / "seen" / "mode").read_text() == "700\n"
    assert list(tmp_path.glob("provision-stack*")) == []


def test_a_failure_is_dockers_own_and_leaves_nothing(tmp_path: Path, script: str) -> None:
    assert run(tmp_path, script, FAKE_STATUS="3").returncode == 3
    assert list(tmp_path.glob("provision-stack*")) == []


def test_a_script_that_is_cut_off_runs_nothing(tmp_path: Path, script: str) -> None:
    run(tmp_path, script[: script.rindex("deploy")])
    assert list((tmp_path / "seen").iterdir()) == []


def test_no_value_is_an_argument(tmp_path: Path, script: str) -> None:
    run(tmp_path, script)
    argv = (tmp_path / "seen" / "argv").read_text()
    assert "precious" not in argv
    assert "id" not in argv.split()
