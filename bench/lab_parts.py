"""The third table: the lab by `provision up`, by step, against its unavoidable parts, each measured by itself.

The parts are done by hand in machines of the same driver: no SSH, no probe, no plan, no firewall, only the engine's own
commands in the guest. What the lab does on several machines at once is done on as many at once here, since they share
this machine's cores.
"""

from __future__ import annotations

import base64
import json
import shlex
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from bench.critical import account, edges_of_up
from bench.fleet import BenchHost, quiet
from bench.lab_place import LabPlace, lab_place
from bench.measure import run_measured
from bench.results import guest_versions
from provision.driver import Machine, MachineSpec, Role
from provision.state.keys import new_host_key
from provision_nspawn import NspawnDriver
from provision_nspawn.processes import children
from provision_nspawn.records import read_process

_Subject = TypeVar("_Subject")
_Made = TypeVar("_Made")

_PROVISION = str(Path(sys.executable).with_name("provision"))
_LAB, _PARTS = "lab", "parts"
_MANAGERS, _WORKERS = 3, 2
_SECONDS = 120.0
#: what is waited for is looked at so often
_EVERY = 0.02

#: an engine that has never run: no data, no key of its own
_UNSTART = """\
systemctl stop docker.socket docker.service containerd.service
find /var/lib/docker /var/lib/containerd -mindepth 1 -delete 2>/dev/null
rm -f /etc/docker/key.json
systemctl start containerd.service
"""


def lab_parts(each: int, *, say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, str]]:
    """The lab and the parts in turn, that often; and the versions of what ran.

    The value: `ups`, the seconds from nothing to a page from the stack; `run`, the critical.Account of the run whose
    seconds are the median's (the lower one's of two); `page`, the seconds from its end to the page; `parts`, the
    seconds of each part, a value a round.
    """
    ups: list[tuple[float, float, dict[str, Any]]] = []
    parts: dict[str, list[float]] = {}
    with lab_place(_LAB, _PARTS) as place:
        for number in range(1, each + 1):
            ups.append(_up(place))
            measured, versions = _by_hand(place)
            place.destroy(_PARTS)
            for part, seconds in measured.items():
                parts.setdefault(part, []).append(seconds)
            say(f"lab, round {number}: up {ups[-1][0]:.2f}, parts {sum(measured.values()):.2f}")
    _, page, run = sorted(ups, key=lambda one: one[0])[(len(ups) - 1) // 2]
    return {"ups": [seconds for seconds, _, _ in ups], "run": run, "page": page, "parts": parts}, versions


def _up(place: LabPlace) -> tuple[float, float, dict[str, Any]]:
    """From nothing to a page; the seconds, those of them after the command had ended, and what the steps took."""
    edges = edges_of_up(place.lab, place.environ)
    quiet()
    began = time.time()
    ran = run_measured((_PROVISION, "up", str(place.lab), "--progress", "json"), place.environ, place.lab.parent)
    if ran.status != 0:
        raise RuntimeError(f"provision failed ({ran.status}):\n{ran.stderr[-3000:]}")
    found = {machine.name: machine for machine in NspawnDriver({}).discover(_LAB)}
    page = _taken(lambda: _wait_for_pages([found["lab-worker-1"]]))
    events = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]
    _forget(place)
    return ran.seconds + page, page, asdict(account(events, edges, began=began, seconds=ran.seconds))


def _forget(place: LabPlace) -> None:
    """What `up` keeps here: the machines are left, and `down` removes both."""
    done = run_measured((_PROVISION, "down", str(place.lab), "--yes"), place.environ, place.lab.parent)
    if done.status != 0:
        raise RuntimeError(f"provision down failed ({done.status}):\n{done.stderr[-3000:]}")


def _by_hand(place: LabPlace) -> tuple[dict[str, float], dict[str, str]]:
    """The seconds of each part, in the order in which they are done; and what the machines run."""
    specs = [_spec(number) for number in range(1, _MANAGERS + _WORKERS + 1)]
    driver = NspawnDriver({})
    machines: list[Machine] = []
    quiet()

    def boot() -> None:
        machines.extend(_at_once(driver.create, specs))
        _at_once(_wait_for_sshd, machines)

    taken = {"boot, until sshd answers": _taken(boot)}
    hosts = [BenchHost(machine, _init(place, machine)) for machine in machines]
    _at_once(_settled, hosts)
    taken |= engine_parts(hosts, place.archive)
    return taken, guest_versions(hosts[0])


def engine_parts(hosts: Sequence[BenchHost], archive: Path) -> dict[str, float]:
    """The parts after the boot, on hosts in no swarm; the compose file lies beside the stack's archive."""
    first = hosts[0]
    _at_once(lambda host: host.run(_UNSTART), hosts)
    quiet()
    taken = {
        "first start of the engine": _taken(
            lambda: _at_once(lambda host: host.run("systemctl start docker.service"), hosts)
        ),
        "swarm init": _taken(lambda: first.run(f"docker swarm init --advertise-addr {first.machine.address}")),
    }
    tokens = {role: first.run(f"docker swarm join-token -q {role}").strip() for role in Role}
    first.run(_write_stack(archive.parent))
    deploy = "cd /root/stacks && docker stack deploy --resolve-image never --compose-file hello.yml hello"

    def run_stack() -> None:
        first.run(deploy)
        _wait_for_pages([host.machine for host in hosts])

    taken["swarm join, until all nodes are ready"] = _taken(lambda: _join(hosts, tokens))
    taken["load the stack's image"] = _taken(lambda: _at_once(lambda host: _load(host, archive), hosts))
    taken["stack, until all nodes serve its page"] = _taken(run_stack)
    return taken


def _spec(number: int) -> MachineSpec:
    manager = number <= _MANAGERS
    group, own = ("manager", number) if manager else ("worker", number - _MANAGERS)
    return MachineSpec(
        cluster=_PARTS,
        name=f"{_PARTS}-{group}-{own}",
        group=group,
        number=own,
        role=Role.MANAGER if manager else Role.WORKER,
        driver="nspawn",
        image="debian-12",
        host_key=new_host_key(),
    )


def _init(place: LabPlace, machine: Machine) -> int:
    process = read_process(place.layout.machine(machine.cluster, machine.name))
    if process is None:
        raise RuntimeError(f"{machine.name} does not run")
    return children(process.pid)[0]


def _settled(host: BenchHost) -> None:
    """Its boot is over; `running` or not is no matter here, the engine is asked later."""
    host.run("systemctl is-system-running --wait >/dev/null || true")


def _join(hosts: Sequence[BenchHost], tokens: dict[Role, str]) -> None:
    first, *rest = hosts

    def join(host: BenchHost) -> None:
        role = Role.MANAGER if host.machine.group == "manager" else Role.WORKER
        host.run(f"docker swarm join --token {tokens[role]} {first.machine.address}:2377")

    _at_once(join, rest)
    _until(
        lambda: first.run("docker node ls --format '{{.Status}}'").split() == ["Ready"] * len(hosts),
        "the nodes are not ready",
    )


def _load(host: BenchHost, archive: Path) -> None:
    """The archive is put into its file system from outside, which takes no time worth a word."""
    inside = f"/proc/{host.pid}/root/root/hello.tar"
    Path(inside).write_bytes(archive.read_bytes())
    host.run("docker load --quiet --input /root/hello.tar")


def _write_stack(folder: Path) -> str:
    """A script that writes the compose file and what it refers to below /root/stacks.

    Docker's own command line, at the age of Debian 12's, wants a version in the file.
    """
    lines = []
    for path in (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".tar"):
        inside = shlex.quote(f"/root/stacks/{path.relative_to(folder)}")
        text = base64.b64encode(path.read_bytes()).decode()
        head = "echo 'version: \"3.8\"'; " if path.suffix == ".yml" else ""
        lines.append(f"mkdir -p $(dirname {inside}) && {{ {head}echo {text} | base64 -d; }} >{inside}")
    return " && ".join(lines)


def _wait_for_sshd(machine: Machine) -> None:
    def answers() -> bool:
        try:
            with socket.create_connection((machine.address or "", 22), timeout=5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    _until(answers, f"{machine.name}: no sshd")


def _wait_for_pages(machines: Iterable[Machine]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for machine in machines:

        def answers(url: str = f"http://{machine.address}:8080/", name: str = machine.name) -> bool:
            try:
                with opener.open(url, timeout=5) as page:
                    return name.encode() in page.read()
            except OSError:
                return False

        _until(answers, f"{machine.name}: no page")


def _until(true: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{why}, after {_SECONDS:.0f} s")
        time.sleep(_EVERY)


def _taken(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began


def _at_once(do: Callable[[_Subject], _Made], subjects: Sequence[_Subject]) -> list[_Made]:
    with ThreadPoolExecutor(len(subjects)) as pool:
        return list(pool.map(do, subjects))
