"""A place where the command `provision` runs as a user runs it, and a way to look at what came of it.

`Lab` runs the command line as a process and keeps its output; `Guest` looks into a machine without the product's help
(through its namespaces), so that what a test asserts is the machine's own word.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from provision.driver import Machine, MachineState
from provision_nspawn import NspawnDriver
from provision_nspawn.layout import Layout
from provision_nspawn.processes import children
from provision_nspawn.records import read_process

PROVISION = Path(sys.prefix) / "bin" / "provision"

#: (cluster's name, inventory's text) -> the inventory's file
Up = Callable[[str, str], Path]


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended. `ok` and `fails` return it for more, or fail with all that it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return (
            f"$ {shlex.join(self.argv)}\nexit code {self.status}\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"
        )

    def ok(self) -> Ran:
        """It exited with 0."""
        assert self.status == 0, f"this should have worked:\n{self}"
        return self

    def fails(self, status: int, *words: str) -> Ran:
        """It exited with this code, and stderr says these words."""
        assert self.status == status, f"this should have ended with {status}:\n{self}"
        for word in words:
            assert word in self.stderr, f"stderr should say {word!r}:\n{self}"
        return self

    def json(self) -> Any:
        """Its stdout, parsed."""
        return json.loads(self.ok().stdout)

    def events(self) -> list[dict[str, Any]]:
        """The run's events, where it was called with `--progress json`."""
        return [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The shared cluster `lab`: its inventory (the repository's own, with labels), and how its `up` went."""

    inventory: Path
    up: Ran


class Running:
    """A `provision … --progress json` that goes on while the test looks; its events can be waited for."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._argv = tuple(argv)
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            argv, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def until(self, verb: str, type_: str = "step_started") -> dict[str, Any]:
        """Read on until a step of this verb has begun (or what `type_` says of it). The run must not end before."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)
            if line.startswith("{"):
                event: dict[str, Any] = json.loads(line)
                if event["type"] == type_ and event["verb"] == verb:
                    return event
        raise AssertionError(f"no step {verb!r} before the end:\n{self.end()}")

    def send(self, number: signal.Signals) -> None:
        """Signal this process alone."""
        self.process.send_signal(number)

    def end(self, seconds: float = 180.0) -> Ran:
        """Wait for its end and return all that it printed."""
        stdout, stderr = self.process.communicate(timeout=seconds)
        return Ran(self._argv, self.process.returncode, stdout, "".join(self._lines) + stderr)


@dataclass(frozen=True, slots=True)
class Guest:
    """A booted machine of the nspawn driver, looked at from outside."""

    machine: Machine
    layout: Layout

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def address(self) -> str:
        assert self.machine.address is not None
        return self.machine.address

    @property
    def pid(self) -> int:
        """Its init, as this host numbers it. Fails when the machine is not up."""
        process = read_process(self.layout.machine(self.machine.cluster, self.name))
        assert process is not None, f"{self.name} is not running"
        inits = children(process.pid)
        assert len(inits) == 1, f"{self.name}: systemd-nspawn has {len(inits)} children"
        return inits[0]

    def run(self, script: str, *, seconds: float = 60.0) -> Ran:
        """Run a shell script in it as root, without SSH."""
        argv = ("nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "sh", "-c", script)
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=seconds, stdin=subprocess.DEVNULL
        )
        return Ran((f"{self.name}:", script), done.returncode, done.stdout, done.stderr)

    def sh(self, script: str, *, seconds: float = 60.0) -> str:
        """The same, for a script that must work; returns what it printed, stripped."""
        return self.run(script, seconds=seconds).ok().stdout.strip()

    def docker(self, *words: str) -> str:
        """Ask its own engine."""
        return self.sh(shlex.join(("docker", *words)))

    def inspect(self, *words: str) -> Any:
        """Ask its own engine for JSON: `inspect("node", "inspect", "self")` is a list of one."""
        return json.loads(self.docker(*words))

    def engine_started(self) -> str:
        """A word that changes whenever the engine's process does."""
        return self.sh("systemctl show docker --property=MainPID,ExecMainStartTimestampMonotonic")

    def firewall(self) -> str:
        """What its kernel's tables say."""
        return self.sh("nft list ruleset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as the swarm's own manager tells of it."""

    id: str
    name: str
    role: str
    availability: str
    ready: bool
    labels: Mapping[str, str]
    manager_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One user's place: a home, a state folder, inventories, in network and mounts that nobody else sees.

    `environ` is what every command gets: HOME, XDG_STATE_HOME, DOCKER_CONFIG, PROVISION_DATA_DIR are the lab's own, and
    the password database says that home too, which is what OpenSSH goes by. `archive` is the hello stack's image.
    """

    root: Path
    home: Path
    layout: Layout
    environ: Mapping[str, str] = field(repr=False)
    archive: Path

    @property
    def states(self) -> Path:
        """The folder of all clusters' state."""
        return self.root / "state" / "provision"

    @property
    def docker_config(self) -> Path:
        return self.root / "docker"

    @property
    def inventories(self) -> Path:
        return self.root / "inventories"

    def run(
        self,
        *words: str | Path,
        seconds: float = 180.0,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> Ran:
        """Run `provision WORDS` as a user would, without a terminal."""
        return self.command(PROVISION, *words, seconds=seconds, environ=environ, cwd=cwd, stdin=stdin)

    def command(
        self,
        *words: str | Path,
        seconds: float = 60.0,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> Ran:
        """Run any program in this place."""
        argv = tuple(map(str, words))
        try:
            done = subprocess.run(
                argv,
                env={**self.environ, **(environ or {})},
                cwd=cwd or self.root,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as late:
            raise AssertionError(
                f"{shlex.join(argv)} took more than {seconds} s\n{late.stdout!r}\n{late.stderr!r}"
            ) from late
        return Ran(argv, done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def start(self, *words: str | Path) -> Iterator[Running]:
        """The same while the test goes on, with `--progress json`; it is killed at the end of the block."""
        argv = (str(PROVISION), *map(str, words), "--progress", "json")
        running = Running(argv, self.environ)
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.send(signal.SIGKILL)
            running.process.communicate()

    def write(self, name: str, text: str) -> Path:
        """Write a file among the inventories; `name` is a path relative to them."""
        path = self.inventories / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def guests(self, cluster: str) -> dict[str, Guest]:
        """The machines that the driver has of a cluster, by name."""
        found = NspawnDriver({}).discover(cluster)
        return {machine.name: Guest(machine, self.layout) for machine in found}

    def guest(self, name: str) -> Guest:
        """The machine of this name (`<cluster>-<group>-<n>`)."""
        guests = self.guests(name.rsplit("-", 2)[0])
        assert name in guests, f"there is no {name}, only {', '.join(guests) or 'nothing'}"
        return guests[name]

    def power(self, name: str) -> MachineState:
        """Whether a machine runs, as its driver sees it."""
        return self.guest(name).machine.state

    def nodes(self, manager: str) -> dict[str, Node]:
        """The swarm's nodes by hostname, as the engine of this manager tells. Two of one name fail."""
        guest = self.guest(manager)
        ids = guest.docker("node", "ls", "-q").split()
        found = [_node(entry) for entry in guest.inspect("node", "inspect", *ids)]
        assert len({node.name for node in found}) == len(found), f"nodes of one name: {found}"
        return {node.name: node for node in found}

    def state(self, cluster: str) -> Path:
        """The folder of a cluster's state."""
        return self.states / cluster

    def elsewhere(self, root: Path) -> Lab:
        """The same user with other, empty state and docker folders below `root`: there is no cluster there yet."""
        (root / "inventories").mkdir()
        own = {"XDG_STATE_HOME": str(root / "state"), "DOCKER_CONFIG": str(root / "docker")}
        return replace(self, root=root, environ={**self.environ, **own})

    def traces(self, cluster: str) -> list[str]:
        """All that there is of a cluster on this host: what `down` must remove. Empty for one that never was."""
        folder = str(self.layout.cluster(cluster))
        names = self.layout.kernel_names(cluster)
        links = self.command("ip", "-oneline", "link", "show").ok().stdout
        found = [f"file {path}" for path in self.layout.machines.glob(f"*{cluster}*/**/*")]
        found += [f"link {names.bridge}"] if names.bridge in links else []
        found += [f"link {machine}" for machine in _veths(self, cluster) if machine in links]
        found += [f"namespace {path.name}" for path in Path("/run/netns").glob(f"provision-{cluster}-*")]
        found += [f"nftables {names.table}"] if names.table in self.command("nft", "list", "tables").ok().stdout else []
        found += [f"control group {path}" for path in Path("/sys/fs/cgroup").glob(f"**/provision-{cluster}-*")]
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{folder}/" in path.joinpath("cmdline").read_bytes().decode(errors="replace"):
                    found.append(f"process {path.name}")
                if f"{folder}/" in path.joinpath("mountinfo").read_text():
                    found.append(f"mount in process {path.name}")
        found += [f"state {name}" for name in files_below(self.state(cluster))]
        contexts = [path for path in self.docker_config.rglob("meta.json") if f'"{cluster}"' in path.read_text()]
        return found + [f"docker context {path}" for path in contexts]

    def remove(self, cluster: str) -> None:
        """Make sure that nothing of a cluster is left, whatever a test did to it or to the product."""
        if self.states.joinpath(cluster, "state.json").exists():
            self.run("down", "-c", cluster, "--yes")
        driver = NspawnDriver({})
        for machine in driver.discover(cluster):
            driver.destroy(machine)
        shutil.rmtree(self.state(cluster), ignore_errors=True)


def _veths(lab: Lab, cluster: str) -> list[str]:
    """The names that interfaces of the cluster's machines may have; tests' groups have fewer than 10 machines."""
    machines = [f"{cluster}-{group}-{number}" for group in ("manager", "worker") for number in range(1, 10)]
    return [lab.layout.kernel_names(cluster, machine).veth for machine in machines]


def _node(entry: Mapping[str, Any]) -> Node:
    manager = entry.get("ManagerStatus") or {}
    return Node(
        id=entry["ID"],
        name=entry["Description"]["Hostname"],
        role=entry["Spec"]["Role"],
        availability=entry["Spec"]["Availability"],
        ready=entry["Status"]["State"] == "ready",
        labels=entry["Spec"].get("Labels") or {},
        manager_status="leader" if manager.get("Leader") else manager.get("Reachability", ""),
    )


def inventory(
    name: str,
    *,
    managers: int = 1,
    workers: int = 1,
    head: str = "",
    manager: str = "",
    worker: str = "",
    stacks: str = "",
) -> str:
    """An inventory's text; `manager` and `worker` are further lines of their group, `head` of the whole."""
    text = f"name: {name}\ndriver: nspawn\n{_indented(head, 0)}machines:\n"
    text += f"  manager:\n    role: manager\n    count: {managers}\n{_indented(manager, 4)}"
    if workers:
        text += f"  worker:\n    role: worker\n    count: {workers}\n{_indented(worker, 4)}"
    return text + (f"stacks:\n{_indented(stacks, 2)}" if stacks else "")


def _indented(text: str, width: int) -> str:
    return "".join(f"{' ' * width}{line}\n" for line in text.strip("\n").splitlines())


def eventually(look: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Look until it returns something true; fails with the last thing that it returned or raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            last: object = look()
            if last:
                return
        except AssertionError as not_yet:
            last = not_yet
        assert time.monotonic() < deadline, f"not within {seconds} s, last: {last}"
        time.sleep(0.2)


def fetch(address: str, *, port: int = 8080, path: str = "/", seconds: float = 20.0) -> str:
    """The page that a node serves, waited for."""
    deadline = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"http://{address}:{port}{path}", timeout=5) as answer:
                body: bytes = answer.read()
                return body.decode()
        except (urllib.error.URLError, OSError) as not_yet:
            assert time.monotonic() < deadline, f"http://{address}:{port}{path} does not answer: {not_yet}"
            time.sleep(0.2)


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path, with its content; empty where there is no folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def secrets_in(folder: Path) -> list[str]:
    """Files that hold a swarm token or a private key, the cluster's own key file apart."""
    found = []
    for name, content in files_below(folder).items():
        if Path(name).name != "id_ed25519" and re.search(rb"SWMTKN-|PRIVATE KEY", content):
            found.append(name)
    return found


def user_environment(root: Path, layout: Layout) -> dict[str, str]:
    """This process's environment without what would lead a command out of the lab."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PROVISION_", "DOCKER_", "XDG_", "SSH_", "FORCE_COLOR", "NO_COLOR"))
    }
    return {
        **kept,
        "HOME": str(root / "home"),
        "XDG_STATE_HOME": str(root / "state"),
        "DOCKER_CONFIG": str(root / "docker"),
        "PROVISION_DATA_DIR": str(layout.data),
        "LC_ALL": "C.UTF-8",
    }
