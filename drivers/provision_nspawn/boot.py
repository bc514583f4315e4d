"""Start a machine whose disk and network are there, and end one: through systemd where it rules, directly elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.errors import DeadlineError, DriverError, ProvisionError
from provision.local.commands import SEARCH_PATH, Commands
from provision_nspawn import cgroups
from provision_nspawn.layout import KernelNames, Layout, MachinePaths
from provision_nspawn.network import NAMESPACES
from provision_nspawn.options import parse_bind
from provision_nspawn.processes import children, ends_within, is_alive, kill_all, open_alive, start_time
from provision_nspawn.records import MachineRecord, read_process

#: Seconds until a machine's own PID 1 must be there; a busy host is slow, a wrong flag is quick.
START_SECONDS = 60.0
#: Seconds that a machine has for an orderly shutdown; dockerd gives each container ten.
STOP_SECONDS = 60.0
KILL_SECONDS = 20.0

#: systemd's signal for an orderly power-off.
_POWER_OFF = signal.SIGRTMIN + 4
_LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Subject:
    """A machine to start or end: where it is, what its things are called, and whether systemd is to run it."""

    paths: MachinePaths
    names: KernelNames
    systemd: bool

    @classmethod
    def of(cls, layout: Layout, cluster: str, name: str) -> Subject:
        """The machine of this name; it need not exist."""
        return cls(layout.machine(cluster, name), layout.kernel_names(cluster, name), systemd_rules())


def systemd_rules() -> bool:
    """Whether PID 1 is a systemd that shares our network and mounts.

    From within a namespace of one's own its services would start outside, where the machine's network is not.
    """
    if not Path("/run/systemd/system").is_dir():
        return False
    try:
        return all(
            Path(f"/proc/self/ns/{kind}").readlink() == Path(f"/proc/1/ns/{kind}").readlink() for kind in ("net", "mnt")
        )
    except PermissionError:  # not root: the question is asked for a report only
        return True


def start(subject: Subject, record: MachineRecord, layout: Layout, commands: Commands) -> None:
    """Boot it. Returns when its PID 1 is there. Raises DriverError or DeadlineError with the console's last lines."""
    paths, unit = subject.paths, subject.names.unit
    where = cgroups.hierarchies()
    limits = cgroups.groups(unit, where, memory=record.memory, cpus=record.cpus)
    if not subject.systemd and any("memory.max" in each or "cpu.max" in each for _, each in limits):
        try:
            cgroups.offer_controllers(where, wanted=("memory", "cpu"))
        except OSError as exc:
            raise DriverError(
                f"{record.name} cannot be limited here: the kernel does not hand on memory and cpu control groups",
                detail=str(exc),
                hint="leave out `memory` and `cpus`",
            ) from exc
    launch = {
        "argv": nspawn_argv(subject, record, hosts=layout.cluster(record.cluster) / "hosts"),
        "environ": {
            "PATH": SEARCH_PATH,
            "LC_ALL": "C.UTF-8",
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes",
        },
        "tree": str(layout.image(record.digest) / "tree"),
        "disk": str(paths.disk),
        "console": str(paths.console),
        "process": str(paths.process),
        "groups": [] if subject.systemd else [(str(path), settings) for path, settings in limits],
        "detach": not subject.systemd,
    }
    paths.process.unlink(missing_ok=True)
    paths.launch.write_text(json.dumps(launch, indent=2) + "\n")
    launcher = (sys.executable, "-I", "-S", str(_LAUNCHER), str(paths.launch))
    try:
        if subject.systemd:
            commands.run(*systemd_argv(unit, record), *launcher)
        else:
            commands.run(*launcher, *map(str, commands.held))
    except DriverError as exc:
        raise DriverError(f"{record.name} could not be started", detail=exc.detail, hint=exc.hint) from exc
    _await_init(paths, record.name)


def end(subject: Subject, commands: Commands) -> None:
    """Kill it now, with everything in it, and remove its control groups. Not running is fine.

    Only processes that are known to be the machine's are killed: the recorded one, its children, its groups' members.
    """
    unit = subject.names.unit
    if subject.systemd:
        # It knows the unit from the moment systemd-run has asked, before the launcher has recorded itself.
        commands.attempt("systemctl", "kill", "--signal=SIGKILL", f"{unit}.service")
        commands.attempt("systemctl", "stop", f"{unit}.service")
        commands.attempt("systemctl", "reset-failed", f"{unit}.service")
    where = cgroups.hierarchies()
    deadline = time.monotonic() + KILL_SECONDS
    while pids := _processes(subject.paths, unit, where):
        kill_all(pids, seconds=max(1.0, deadline - time.monotonic()))
        if time.monotonic() > deadline:
            raise DeadlineError(f"killing {unit}", KILL_SECONDS, f"processes {sorted(pids)} came back")
    cgroups.remove_groups(unit, where, seconds=KILL_SECONDS)
    subject.paths.process.unlink(missing_ok=True)


def shut_down(subject: Subject, *, seconds: float = STOP_SECONDS) -> None:
    """Ask it to shut down in order and wait; returns after so many seconds at the latest, ended or not."""
    process = read_process(subject.paths)
    descriptor = open_alive(process)
    if process is None or descriptor is None:
        return
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            # An init that has just started ignores what it has no handler for yet, so it is told again: to one that
            # is on its way down that is nothing new. (systemd-nspawn would take a second SIGTERM for "at once".)
            for child in children(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, _POWER_OFF)
            if ends_within(descriptor, 1.0):
                return
    finally:
        os.close(descriptor)


def nspawn_argv(subject: Subject, record: MachineRecord, *, hosts: Path) -> Sequence[str]:
    """The whole command line; what a machine is allowed is what an engine in it needs."""
    disk = subject.paths.disk
    return (
        _nspawn(),
        *("--quiet", "--boot", "--settings=no", "--register=no", "--keep-unit", "--console=read-only"),
        *(f"--directory={disk / 'root'}", f"--machine={subject.names.unit}", f"--hostname={record.name}"),
        f"--network-namespace-path={NAMESPACES / subject.names.unit}",
        *("--capability=all", "--system-call-filter=add_key keyctl bpf"),
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        f"--notify-ready={'yes' if subject.systemd else 'no'}",
        # overlay2 does not stack on overlayfs: the engine's data is in plain folders
        f"--bind={disk / 'docker'}:/var/lib/docker",
        f"--bind={disk / 'containerd'}:/var/lib/containerd",
        f"--bind-ro={hosts}:/etc/hosts",
        *(_bind_flag(entry) for entry in record.binds),
    )


def systemd_argv(unit: str, record: MachineRecord) -> Sequence[str]:
    """`systemd-run` up to the command: a service outlives the login session that asked for it."""
    properties: Mapping[str, str] = {
        "Delegate": "yes",
        "Type": "notify",
        "NotifyAccess": "all",
        "KillMode": "mixed",
        "TasksMax": "infinity",
        "TimeoutStartSec": "600",
        "TimeoutStopSec": f"{STOP_SECONDS:.0f}",
        **({"MemoryMax": str(record.memory)} if record.memory is not None else {}),
        **({"CPUQuota": f"{max(1, round(record.cpus * 100))}%"} if record.cpus is not None else {}),
    }
    return (
        *("systemd-run", "--quiet", "--collect", "--no-block", f"--unit={unit}.service"),
        f"--description=machine {record.name} of cluster {record.cluster} (provision)",
        *(f"--property={key}={value}" for key, value in properties.items()),
        "--",
    )


def console_tail(paths: MachinePaths, lines: int = 12) -> str:
    """The console's last lines, for an error's detail; empty when it printed nothing."""
    try:
        text = paths.console.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def _bind_flag(entry: str) -> str:
    host, guest, read_only = parse_bind(entry)
    return f"--bind{'-ro' if read_only else ''}={host}:{guest}"


def _nspawn() -> str:
    found = shutil.which("systemd-nspawn", path=SEARCH_PATH)
    if found is None:
        raise DriverError("the program 'systemd-nspawn' is not here", hint="apt-get install systemd-container")
    return found


def _await_init(paths: MachinePaths, name: str) -> None:
    """Wait for the machine's own PID 1. Polled, since neither the kernel nor systemd-nspawn tells of it."""
    deadline = time.monotonic() + START_SECONDS
    seen = False
    while True:
        process = read_process(paths)
        if process is not None:
            seen = True
            if _has_init(process.pid):
                return
            if not is_alive(process):
                raise DriverError(
                    f"{name} ended as it started",
                    detail=console_tail(paths),
                    hint=f"its console is in {paths.console}",
                )
        if time.monotonic() > deadline:
            cause = "systemd-nspawn runs, but no init in it" if seen else "it was not launched"
            raise DeadlineError(f"starting {name}", START_SECONDS, cause, hint=f"see {paths.console}")
        time.sleep(0.005)


def _has_init(nspawn: int) -> bool:
    for child in children(nspawn):
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{child}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            # "(sd-…" are systemd-nspawn's own forks that have yet to become the guest's init.
            if fields["NSpid"].split()[-1] == "1" and not fields["Name"].startswith("(sd"):
                return True
    return False


def _processes(paths: MachinePaths, unit: str, where: cgroups.Hierarchies) -> frozenset[int]:
    pids = set(cgroups.members(unit, where))
    with contextlib.suppress(ProvisionError):
        process = read_process(paths)
        if process is not None and is_alive(process):
            pids |= {process.pid, *children(process.pid)}
    return frozenset(pid for pid in pids if start_time(pid) is not None)
