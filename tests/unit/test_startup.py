"""What a command line imports before it answers: imports are most of the time that a quick command takes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provision.driver import Role
from provision.state.model import MachineRecord, MachineStatus
from provision.state.paths import ClusterPaths
from provision.state.store import Store

#: what only some commands need, and every other one must not wait for
LIBRARIES = {
    *("asyncio", "boto3", "cryptography", "docker", "fabric", "invoke", "jinja2", "libvirt"),
    *("paramiko", "pydantic", "requests", "rich", "urllib3", "yaml"),
}

#: runs a command line as the console script does; the last line on stderr names what was imported
RUN = """
import sys
from provision.cli.main import main
sys.argv[0] = "provision"
try:
    main()
finally:
    print(*sorted(name for name, module in sys.modules.items() if module is not None), file=sys.stderr)
"""


@dataclass(frozen=True)
class Ran:
    """What a command line said, and which modules it had imported when it ended."""

    code: int
    out: str
    err: str
    modules: frozenset[str]

    @property
    def libraries(self) -> set[str]:
        """Those of the libraries that it has imported."""
        return {name.partition(".")[0] for name in self.modules} & LIBRARIES

    @property
    def parts(self) -> set[str]:
        """Those parts of `provision` that it has imported."""
        return {name.split(".")[1] for name in self.modules if name.startswith("provision.")}


def ran(place: Path, *words: str, **environ: str) -> Ran:
    """Run a command line in an interpreter of its own, with `place` for home, state and working folder."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        cwd=place,
        env={"PATH": os.environ["PATH"], "HOME": str(place), "XDG_STATE_HOME": str(place / "state"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    *err, modules = done.stderr.splitlines()
    return Ran(done.returncode, done.stdout, "\n".join(err), frozenset(modules.split()))


@pytest.mark.parametrize("words", [("--help",), ("up", "--help"), ("exec", "-h"), ("--version",), ("version",)])
def test_what_only_says_something_imports_no_library(tmp_path: Path, words: tuple[str, ...]) -> None:
    said = ran(tmp_path, *words)
    assert (said.code, said.err) == (0, "")
    assert "provision" in said.out
    assert said.libraries == set()
    assert said.parts == {"cli", "errors"}


def bash(place: Path, line: str) -> Ran:
    """What bash asks when Tab is pressed at the end of `line`."""
    words = line.split()
    return ran(
        place,
        _PROVISION_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) if line.endswith(" ") else len(words) - 1),
    )


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("provision add-", ["add-worker", "add-manager"]),
        ("provision --vers", ["--version"]),
        ("provision up --pro", ["--progress"]),
        ("provision up --progress ", ["auto", "tty", "plain", "json", "quiet"]),
        ("provision -h ls --output j", ["json"]),
        ("provision init --managers 0 --dri", ["--driver"]),
        ("provision no-such-command --", ["--version", "--install-completion", "--show-completion", "--help"]),
    ],
)
def test_completion_in_bash_imports_no_library(tmp_path: Path, line: str, offered: list[str]) -> None:
    said = bash(tmp_path, line)
    assert (said.code, said.err, said.out.split()) == (0, "", offered)
    assert said.libraries == set()


def test_completion_offers_every_command_and_what_it_does(tmp_path: Path) -> None:
    line = {"_TYPER_COMPLETE_ARGS": "provision ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    fish = ran(tmp_path, _PROVISION_COMPLETE="complete_fish", **line)
    zsh = ran(tmp_path, _PROVISION_COMPLETE="complete_zsh", **line)
    offered = dict(row.split("\t") for row in fish.out.splitlines())
    assert list(offered) == bash(tmp_path, "provision ").out.split()
    assert offered["ls"] == "List the machines of one cluster, or of all."
    assert all(f'"{name}":' in zsh.out for name in offered)
    assert (fish.libraries, zsh.libraries) == (set(), set())


def test_a_list_of_no_machines_imports_nothing_that_connects(tmp_path: Path) -> None:
    said = ran(tmp_path, "ls")
    assert (said.code, said.err) == (0, "")
    assert said.libraries <= {"pydantic"}  # typer's, which converts the values of options with it


def test_a_list_without_a_manager_to_ask_imports_nothing_that_connects(tmp_path: Path) -> None:
    store = Store(ClusterPaths(tmp_path / "state" / "provision", "lab"))
    worker = MachineRecord(
        name="lab-worker-1",
        driver="ssh",
        group="worker",
        number=1,
        role=Role.WORKER,
        status=MachineStatus.CREATED,
        address="127.0.0.1",
        provider_id="root@127.0.0.1:1",
    )
    store.create(drivers={"ssh": {}})
    store.update(lambda state: replace(state, machines={worker.name: worker}))
    said = ran(tmp_path, "ls")
    assert (said.code, said.err) == (0, "")
    assert "lab-worker-1" in said.out
    assert said.libraries <= {"pydantic"}
    assert "provision.stacks.bundle" not in said.modules
