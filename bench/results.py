"""Results on disk: `.bench/results/NAME.json`, each with when, on what and with which versions it was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.environments import DEFAULT_FOLDER
from bench.fleet import BenchHost

RESULTS = DEFAULT_FOLDER / "results"
_REPOSITORY = Path(__file__).parent.parent
#: what provision runs on; a simulated host runs on asyncssh
_LIBRARIES = ("paramiko", "fabric", "cryptography", "pydantic", "typer", "asyncssh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measurement. `value` is its own shape; `machine` and `versions` are words for the report, by topic."""

    name: str
    date: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    value: Any


def store(name: str, value: Any, versions: Mapping[str, str], folder: Path = RESULTS) -> Path:
    """Write a result of now, over the one before it; returns its file. `value` is anything that JSON has."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    result = Result(name=name, date=now, machine=this_machine(), versions={**own_versions(), **versions}, value=value)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(asdict(result), indent=1) + "\n")
    whole.replace(path)
    return path


def read(folder: Path = RESULTS) -> dict[str, Result]:
    """All results that are there, by name."""
    found = (Result(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json")))
    return {result.name: result for result in found}


def this_machine() -> dict[str, str]:
    """What it is, and not who: no name of it."""
    cpu = _after("model name", Path("/proc/cpuinfo")) or platform.machine()
    memory = int(_after("MemTotal", Path("/proc/meminfo")).split()[0]) / 2**20
    return {
        "CPU": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
    }


def measured_now() -> str:
    """When and of which commit, for a table that is kept beside others."""
    return f"{datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')}, {_checkout()}"


def own_versions() -> dict[str, str]:
    """What this side runs with."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    nspawn = _said("systemd-nspawn", "--version").partition("\n")[0]
    return {"checkout": _checkout(), "Python": platform.python_version(), "libraries": libraries, "nspawn": nspawn}


def guest_versions(host: BenchHost) -> dict[str, str]:
    """What a booted host runs."""
    asked = '. /etc/os-release; echo "$PRETTY_NAME"; docker version --format "{{.Server.Version}}"; ssh -V 2>&1'
    system, engine, ssh = host.run(asked).splitlines()
    return {"hosts": f"{system}, Docker Engine {engine}, {ssh.split(',')[0].replace('_', ' ')}"}


def _checkout() -> str:
    """The commit that was measured, and whether files differed from it."""
    git = ("git", "-c", f"safe.directory={_REPOSITORY}", "-C", str(_REPOSITORY))
    commit = _said(*git, "rev-parse", "--short=10", "HEAD").strip()
    changed = _said(*git, "status", "--porcelain", "--untracked-files=no").strip()
    return f"{commit or 'no commit'}{', with changes' if changed else ''}"


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _after(field: str, path: Path) -> str:
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == field:
            return rest.strip()
    return ""
