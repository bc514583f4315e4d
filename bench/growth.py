"""How time and memory of `provision` grow with the hosts, at sizes that only simulated hosts reach.

    python -m bench.growth 100 1000

Root only: server and provision run in network and mount namespaces of their own. The hosts are simulated
(bench/simulated.py): they answer, and do no work. So these figures are those of provision itself, on a machine that it
shares with the server.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import get_args

from bench.measure import Measured, cpu_seconds, run_measured
from bench.simulated import READY, Mode
from provision.inventory.load import load
from provision.inventory.specs import machine_specs
from provision.state.files import write_atomic
from provision.state.keys import ensure_cluster_key, new_host_key
from provision.state.known_hosts import host_pattern
from provision.state.model import MachineRecord
from provision.state.paths import ClusterPaths, state_root
from provision.state.store import Store
from provision_nspawn.testing import own_namespaces
from provision_ssh import SshDriver

CLUSTER = "simulated"
PORT = 2222
_ROOT = Path(__file__).resolve().parent.parent
_FIRST = IPv4Address("127.1.0.1")
_MANAGERS = 3
_START_SECONDS = 600.0
#: what is measured: a name, how the hosts are, what is run; `adopt` meets converged hosts without any state of them
RUNS: tuple[tuple[str, Mode, tuple[str, ...]], ...] = (
    ("plan, bare", "bare", ("plan",)),
    ("adopt", "converged", ("up", "--progress", "quiet")),
    ("plan", "converged", ("plan",)),
    ("again", "converged", ("up", "--progress", "quiet")),
    ("status", "converged", ("status", "-c", CLUSTER)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run on that many simulated hosts. `server_cpu` are the seconds that the hosts' server spent on it.

    `outcome` is what provision said in the end: a run that failed is no measurement.
    """

    hosts: int
    name: str
    measured: Measured
    server_cpu: float
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An inventory of simulated hosts, and the state folder of who works with them."""

    folder: Path
    inventory: Path
    paths: ClusterPaths
    environ: Mapping[str, str]
    public: Path
    host_key: Path


def growth(
    hosts: int,
    folder: Path,
    *,
    names: Sequence[str] = ("plan, bare", "plan", "again", "status"),
    open_files: int | None = None,
    limit: float = 3600.0,
    prefix: tuple[str, ...] = (),
) -> Iterator[Run]:
    """The named runs, one after another, on that many hosts; call it in namespaces of this run.

    `open_files` is the soft limit on open files that provision gets. A run of more than `limit` seconds is killed.
    `prefix` is a command that runs provision's, such as a profiler.
    """
    site = make_site(hosts, folder)
    limits = ("prlimit", f"--nofile={open_files}:") if open_files else ()
    for mode in get_args(Mode):
        runs = [(name, words) for name, its, words in RUNS if its == mode and name in names]
        if not runs:
            continue
        with served(site, mode) as server:
            for name, words in runs:
                forget(site)
                if mode == "converged" and name != "adopt":
                    remember(site)
                where = () if words[0] == "status" else (str(site.inventory),)
                before = cpu_seconds(server)
                argv = (*limits, *prefix, sys.executable, "-m", "provision", *words, *where)
                measured = run_measured(argv, site.environ, site.folder, limit=limit)
                spent = cpu_seconds(server) - before
                yield Run(hosts=hosts, name=name, measured=measured, server_cpu=spent, outcome=_outcome(measured))


def make_site(hosts: int, folder: Path) -> Site:
    """Write keys and inventory; nothing runs yet."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "XDG_STATE_HOME": str(folder / "state"),
        "DOCKER_CONFIG": str(folder / "docker"),
    }
    environ |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    paths = ClusterPaths(state_root(environ), CLUSTER)
    ensure_cluster_key(paths)
    pair = new_host_key()
    host_key = folder / "ssh_host_ed25519_key"
    write_atomic(host_key, pair.private.encode())
    public = folder / "id_ed25519.pub"  # a copy: the cluster's own folder is cleared between runs
    public.write_bytes(paths.public_key.read_bytes())
    identity = folder / "id_ed25519"
    write_atomic(identity, paths.private_key.read_bytes())
    inventory = folder / "inventory.yml"
    inventory.write_text(_inventory(hosts, identity, pair.public))
    return Site(folder=folder, inventory=inventory, paths=paths, environ=environ, public=public, host_key=host_key)


def forget(site: Site) -> None:
    """The state folder as before the first run, but for the cluster's key."""
    for path in (site.paths.state, site.paths.backup, site.paths.known_hosts, site.paths.ssh_config):
        path.unlink(missing_ok=True)


def remember(site: Site) -> None:
    """What an `up` that adopted all hosts leaves: the state, and their host keys."""
    cluster = load(site.inventory, environ=site.environ)
    driver = SshDriver({})
    specs = machine_specs(cluster)
    machines = [driver.create(spec) for spec in specs]
    records = [MachineRecord.of(machine, role=spec.role) for machine, spec in zip(machines, specs, strict=True)]
    store = Store(site.paths)
    store.create(inventory=str(cluster.source), drivers={driver.name: {}}, ssh=cluster.ssh)
    store.update(lambda state: state.put(*records))
    lines = (
        f"{machine.name},{host_pattern(machine.address or '', machine.port)} {key}\n"
        for machine in machines
        for key in machine.host_keys
    )
    write_atomic(site.paths.known_hosts, "".join(sorted(lines)).encode())


@contextmanager
def served(site: Site, mode: Mode) -> Iterator[int]:
    """The server of the hosts runs; yields its process id. Raises RuntimeError when it does not start."""
    words = ("--mode", mode, "--key", site.public, "--host-key", site.host_key, "--port", PORT)
    argv = [sys.executable, "-m", "bench.simulated", str(site.inventory), *map(str, words)]
    # it ends when its stdin does, so that it does not outlive this process
    with subprocess.Popen(argv, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            with selectors.DefaultSelector() as selector:
                selector.register(server.stdout, selectors.EVENT_READ)
                said = server.stdout.readline() if selector.select(_START_SECONDS) else ""
            if said.strip() != READY:
                raise RuntimeError(f"the server of {site.inventory} did not start")
            yield server.pid
        finally:
            server.kill()


@contextmanager
def own_home(folder: Path) -> Iterator[None]:
    """In this process's mounts, root's home is in `folder`: OpenSSH's files are found by the password database."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    entries = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines() if line]
    changed = folder / "passwd"
    changed.write_text("".join(":".join([*e[:5], str(home), *e[6:]] if e[2:3] == ["0"] else e) + "\n" for e in entries))
    changed.chmod(0o644)
    subprocess.run(("mount", "--bind", str(changed), "/etc/passwd"), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", "/etc/passwd"), check=True)


def table(runs: Sequence[Run]) -> str:
    """The runs as a table in Markdown."""
    head = "| simulated hosts | run | wall s | CPU s | peak MB | threads | files | server CPU s | outcome |"
    rows = [
        f"| {run.hosts} | {run.name} | {run.measured.seconds:.1f} | {run.measured.cpu:.1f} |"
        f" {run.measured.peak_memory / 1e6:.0f} | {run.measured.threads} | {run.measured.files} |"
        f" {run.server_cpu:.1f} | {run.outcome} |"
        for run in runs
    ]
    return "\n".join([head, "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |", *rows])


def _outcome(measured: Measured) -> str:
    """The line that says how it ended: the plan's first, or the error's."""
    lines = (measured.stdout if measured.status == 0 else measured.stderr).strip().splitlines()
    errors = [line for line in lines if line.startswith("error")]
    said = next(iter([*errors, *lines]), "nothing")
    text = re.sub(r"\s+", " ", said)[:80]
    return text if measured.status == 0 else f"status {measured.status}: {text}"


def _inventory(hosts: int, identity: Path, host_key: str) -> str:
    managers = min(_MANAGERS, hosts)
    entries = [f"      - {{address: {_FIRST + n}, port: {PORT}, host_key: {host_key}}}" for n in range(hosts)]
    groups = [f"  manager:\n    role: manager\n    hosts:\n{_lines(entries[:managers])}"]
    if hosts > managers:
        groups.append(f"  worker:\n    role: worker\n    hosts:\n{_lines(entries[managers:])}")
    return f"""\
name: {CLUSTER}
driver: ssh
machines:
{_lines(groups)}
ssh: {{user: root, identity_file: {identity}, authorized_keys: []}}
engine: {{daemon: {{log-driver: local, log-opts: {{max-file: "3", max-size: 10m}}}}}}
"""


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(parts)


def main() -> None:
    """Measure the sizes that are named, and print the table."""
    names = [name for name, _, _ in RUNS]
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__.splitlines()[0])
    parser.add_argument("hosts", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--run", action="append", choices=names, help="only this one; may be given again")
    parser.add_argument("--open-files", type=int, help="soft limit on the open files of provision")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which a run is killed")
    given = parser.parse_args()
    wanted = given.run or [name for name in names if name != "adopt"]
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="growth-") as scratch, own_namespaces(), own_home(Path(scratch)):
        for hosts in given.hosts:
            folder = Path(scratch, str(hosts))
            found = growth(hosts, folder, names=wanted, open_files=given.open_files, limit=given.limit)
            for run in found:
                runs.append(run)
                print(table([run]).splitlines()[-1], file=sys.stderr, flush=True)  # noqa: T201
                if run.measured.status != 0:
                    print(run.measured.stderr[-2000:], file=sys.stderr, flush=True)  # noqa: T201
    print(table(runs))  # noqa: T201


if __name__ == "__main__":
    main()
