"""The inventory's `stacks:` as values. Compose files are looked for, not read; images may be built later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.errors import Problem
from provision.inventory import dotenv
from provision.inventory.cluster import Stack
from provision.inventory.models import StackModel
from provision.inventory.places import Places
from provision.inventory.report import Report

STACK_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"


def resolve_stacks(report: Report, data: Mapping[Any, Any], places: Places) -> tuple[Stack, ...]:
    """The stacks in the file's order; what is wrong with one is noted and leaves it out."""
    return tuple(stack for name, value in data.items() if (stack := _stack(report, name, value, places)))


def _stack(report: Report, name: Any, data: Any, places: Places) -> Stack | None:
    path = ("stacks", name)
    if not isinstance(name, str) or not re.fullmatch(STACK_NAME, name):
        report.add(
            path,
            f"{str(name)!r} is not a stack's name",
            hint="lower-case letters, digits, '-' and '_', 63 at most",
            at_key=True,
        )
        return None
    if not isinstance(data, str | dict):
        report.add(
            path,
            f"stacks.{name} must be a compose file's path or a mapping",
            hint="write: NAME: stacks/NAME.yml",
        )
        return None
    model = report.validate(StackModel, data, path)
    if not model:
        return None
    files = [model.file] if model.file else model.files or []
    for index, file in enumerate(files):
        place = places.path(file)
        if not place.is_file():
            below = path if isinstance(data, str) else (*path, "file") if model.file else (*path, "files", index)
            report.add(below, f"there is no file {file!r}", hint=f"looked for {place}")
    return Stack(
        name=name,
        files=tuple(places.path(file) for file in files),
        env={**_env_files(report, model, name, places), **model.env},
        images=tuple(places.path(image) for image in model.images),
        prune=model.prune,
        wait=model.wait,
        resolve_image=model.resolve_image,
        with_registry_auth=model.with_registry_auth,
        timeout=model.timeout,
    )


def _env_files(report: Report, model: StackModel, name: str, places: Places) -> dict[str, str]:
    values: dict[str, str] = {}
    for index, file in enumerate(model.env_file):
        place = places.path(file)
        try:
            values.update(dotenv.parse(place.read_text("utf-8")))
        except OSError as error:
            path = ("stacks", name, "env_file", index)
            report.add(path, f"cannot read {file!r}: {error.strerror or error}".lower(), hint=f"looked for {place}")
        except UnicodeDecodeError:
            report.add(("stacks", name, "env_file", index), f"{file!r} is not UTF-8 text")
        except dotenv.DotenvError as error:
            report.add_problem(_at_line(place, error))
    return values


def _at_line(file: Path, error: dotenv.DotenvError) -> Problem:
    """No source line: what an env file holds is often secret."""
    return Problem(str(error), file=str(file), line=error.line, column=1, hint=error.hint)
