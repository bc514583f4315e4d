"""The door to root: `python -m provision_nspawn.privileged VERB`, a JSON object on standard input and one on output.

Whoever is root already calls in process; others get here through `sudo -n`. Nothing secret is ever an argument.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import provision
import provision_nspawn
from provision.errors import DeadlineError, DriverError, ProvisionError
from provision.images.recipes import recipe
from provision.images.tree import BUILD_SECONDS
from provision.local.commands import SEARCH_PATH
from provision_nspawn import machines
from provision_nspawn.image import build_image
from provision_nspawn.layout import Layout
from provision_nspawn.registry import sweep_if_needed
from provision_nspawn.requests import CreateRequest

Payload: TypeAlias = Mapping[str, Any]

#: Seconds for one call: an image may have to be built first.
_SECONDS = BUILD_SECONDS + 300


def call(verb: str, payload: Payload) -> dict[str, Any]:
    """Do it as root and return the answer. Raises the error that the privileged side raised, as DriverError.

    Without root and without password-free sudo the error says what to do about it.
    """
    if os.geteuid() == 0:
        return perform(verb, payload)
    sudo = shutil.which("sudo", path=SEARCH_PATH)
    if sudo is None:
        raise DriverError(
            "driver nspawn needs root, and there is no sudo here",
            hint="run as root, or as root: apt-get install sudo && adduser $USER sudo",
        )
    # -P: root must not import what happens to lie in the folder that we are called from.
    module = (sys.executable, "-P", "-m", "provision_nspawn.privileged", verb)
    argv = (sudo, "-n", "--", "env", *_import_path(), *module)
    try:
        done = subprocess.run(
            argv, input=json.dumps(payload), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise DeadlineError(f"nspawn {verb}", _SECONDS, "sudo did not return") from exc
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as exc:
        raise _sudo_error(verb, done.stderr) from exc
    if "error" in answer:
        problem = answer["error"]
        raise DriverError(problem["summary"], detail=problem["detail"], hint=problem["hint"])
    return answer


def perform(verb: str, payload: Payload) -> dict[str, Any]:
    """Do it in this process, which is root's. What the system refuses (a full disk, say) is a DriverError too."""
    try:
        return _VERBS[verb](Layout(Path(payload["data"])), payload)
    except OSError as exc:
        raise DriverError(f"nspawn {verb} failed: {exc}") from exc


def _create(layout: Layout, payload: Payload) -> dict[str, Any]:
    return {"machine": asdict(machines.create(layout, CreateRequest.from_json(payload["request"])))}


def _destroy(layout: Layout, payload: Payload) -> dict[str, Any]:
    machines.destroy(layout, payload["cluster"], payload["name"])
    return {}


def _start(layout: Layout, payload: Payload) -> dict[str, Any]:
    return {"machine": asdict(machines.start_machine(layout, payload["cluster"], payload["name"]))}


def _stop(layout: Layout, payload: Payload) -> dict[str, Any]:
    machines.stop_machine(layout, payload["cluster"], payload["name"])
    return {}


def _kill(layout: Layout, payload: Payload) -> dict[str, Any]:
    machines.kill_machine(layout, payload["cluster"], payload["name"])
    return {}


def _console(layout: Layout, payload: Payload) -> dict[str, Any]:
    try:
        text = layout.machine(payload["cluster"], payload["name"]).console.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        text = ""
    return {"text": text}


def _sweep(layout: Layout, _: Payload) -> dict[str, Any]:
    sweep_if_needed(layout)
    return {}


def _build_image(layout: Layout, payload: Payload) -> dict[str, Any]:
    made_of = recipe(payload["name"], docker=payload["docker"], mirror=payload["mirror"])
    return {"tree": str(build_image(made_of, layout))}


def _busybox(layout: Layout, payload: Payload) -> dict[str, Any]:
    made_of = recipe(payload["name"], docker=payload["docker"], mirror=payload["mirror"])
    binary = build_image(made_of, layout) / "usr/bin/busybox"
    return {"busybox": base64.b64encode(binary.read_bytes()).decode()}


_VERBS: Mapping[str, Callable[[Layout, Payload], dict[str, Any]]] = {
    "create": _create,
    "destroy": _destroy,
    "start": _start,
    "stop": _stop,
    "kill": _kill,
    "console": _console,
    "sweep": _sweep,
    "build-image": _build_image,
    "busybox": _busybox,
}


def _import_path() -> tuple[str, ...]:
    """sudo drops PYTHONPATH; without it a source tree that is not installed is not found."""
    roots = {str(Path(package.__path__[0]).parent) for package in (provision, provision_nspawn)}
    outside = sorted(root for root in roots if not root.startswith((sys.prefix, sys.base_prefix)))
    return (f"PYTHONPATH={os.pathsep.join(outside)}",) if outside else ()


def _sudo_error(verb: str, stderr: str) -> DriverError:
    said = stderr.strip().splitlines()
    detail = "\n".join(f"    {line}" for line in said[-8:])
    if any(line.startswith("sudo:") for line in said):
        return DriverError(
            "driver nspawn needs root, and sudo asks for a password",
            detail=detail,
            hint="run `sudo -v` first, run as root, or allow your user NOPASSWD in /etc/sudoers.d",
        )
    return DriverError(f"nspawn {verb} failed under sudo", detail=detail)


def main() -> int:
    """Answer one call."""
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb not in _VERBS:
        sys.stderr.write(f"usage: python -m provision_nspawn.privileged {'|'.join(_VERBS)}\n")
        return 2
    try:
        answer = perform(verb, json.load(sys.stdin))
    except ProvisionError as error:
        answer = {"error": {"summary": error.summary, "detail": error.detail, "hint": error.hint}}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
