"""A stack read from its files into all that a manager needs to deploy it: texts, files and variables."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provision.errors import InventoryError, Problem
from provision.inventory.cluster import Stack
from provision.stacks import nodes
from provision.stacks.compose import ComposeFile, FileReference, read_compose
from provision.stacks.interpolate import InterpolationError, substitute

#: Debian 12's docker (20.10) takes a file without a version for version 1; newer ones ignore it.
COMPOSE_VERSION = "3.9"
#: Before 3.5, configs and secrets had no `name:`.
_NAMELESS_VERSION = re.compile(r"3(?:\.[0-4])?")
#: What Swarm takes, in bytes.
_LIMITS = {"config": 1000 * 1024, "secret": 500 * 1024}
_NAME_LIMIT = 64


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of the bundle: its path in the bundle (relative, safe characters only) and its content."""

    path: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All of a stack. Equal content has an equal `digest` (hex), wherever its files lie.

    `compose` are the compose files in order, with every path replaced by one in the bundle. `variables` are
    those that the texts use and that are set; `unset` are used and not set, of which `undefined` have no
    default and become empty. `objects` are the names of configs and secrets that were made from their
    content. `service_names` are the keys in the compose files, without the stack's name.
    """

    stack: str
    compose: tuple[BundleFile, ...]
    files: tuple[BundleFile, ...]
    variables: Mapping[str, str] = field(repr=False)
    unset: tuple[str, ...]
    undefined: tuple[str, ...]
    objects: frozenset[str]
    service_names: tuple[str, ...]
    prune: bool
    resolve_image: str
    with_registry_auth: bool
    digest: str


def read_bundle(stack: Stack, environ: Mapping[str, str]) -> Bundle:
    """Read a stack's compose files and what they refer to. Variables come from `stack.env`, then `environ`.

    A relative path is relative to the compose file that names it. Raises `InventoryError` with every problem
    at once.
    """
    return _Reader(stack, {**environ, **stack.env}).read()


class _Reader:
    """One reading of one stack; collects files, edits and problems on the way."""

    def __init__(self, stack: Stack, values: Mapping[str, str]) -> None:
        self._stack = stack
        self._values = values
        self._problems: list[Problem] = []
        self._files: dict[str, BundleFile] = {}
        self._objects: set[str] = set()
        self._env_file_names: set[str] = set()

    def read(self) -> Bundle:
        sources = [source for path in self._stack.files if (source := self._source(path)) is not None]
        edits = [self._edits(source) for source in sources]
        names = {use.reference.name for source in sources for use in source.uses} | self._env_file_names
        undefined = self._check_variables(sources)
        if self._problems:
            raise InventoryError(tuple(self._problems))
        version = self._version(sources)
        compose = tuple(
            BundleFile(
                f"{index}-{_safe(source.path.name)}",
                nodes.apply_edits(source.text, edit | _version_edits(source, version)).encode(),
            )
            for index, (source, edit) in enumerate(zip(sources, edits, strict=True))
        )
        files = tuple(self._files.values())
        variables = {name: self._values[name] for name in sorted(names) if name in self._values}
        stack = self._stack
        return Bundle(
            stack=stack.name,
            compose=compose,
            files=files,
            variables=variables,
            unset=tuple(sorted(names - variables.keys())),
            undefined=undefined,
            objects=frozenset(self._objects),
            service_names=tuple(dict.fromkeys(name for source in sources for name in source.services)),
            prune=stack.prune,
            resolve_image=stack.resolve_image,
            with_registry_auth=stack.with_registry_auth,
            digest=_digest(stack, compose, files, variables),
        )

    def _source(self, path: Path) -> ComposeFile | None:
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            self._problems.append(
                Problem(
                    f"stack {self._stack.name!r}: cannot read the compose file: {_reason(exc)}",
                    file=str(path),
                    line=1,
                    column=1,
                )
            )
            return None
        source = read_compose(path, text)
        if isinstance(source, Problem):
            self._problems.append(source)
            return None
        self._problems += source.problems
        return source

    def _edits(self, source: ComposeFile) -> set[nodes.Edit]:
        edits: set[nodes.Edit] = set()
        # one mapping may stand for several keys through an anchor; its first key names it
        named: set[int] = set()
        for reference in source.references:
            file = self._take(source, reference)
            if file is None:
                continue
            edits.add(nodes.replace(source.text, reference.whole, file.path))
            if reference.mapping is not None and id(reference.mapping) not in named:
                named.add(id(reference.mapping))
                name = _object_name(self._stack.name, reference.owner, file.data)
                self._objects.add(name)
                edits.add(nodes.insert_key(reference.mapping, "name", name))
        return edits

    def _take(self, source: ComposeFile, reference: FileReference) -> BundleFile | None:
        """Read a file that is referred to into the bundle, once; None when there is a problem with it."""
        try:
            text = substitute(reference.path.value, self._values)
        except InterpolationError:
            return None  # reported with all variables
        path = (source.path.parent / Path(text).expanduser()).resolve()
        if (known := self._files.get(str(path))) is not None:
            return known
        what = f"{reference.kind} of service" if reference.kind == "env_file" else reference.kind
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            if reference.required:
                hint = f"looked for {path}; paths are relative to the compose file"
                message = f"the file {text!r} of {what} {reference.owner!r} does not exist"
                self._problems.append(source.problem(reference.path, message, hint))
                return None
            data = b""
        except OSError as exc:
            message = f"cannot read the file {text!r} of {what} {reference.owner!r}: {_reason(exc)}"
            self._problems.append(source.problem(reference.path, message))
            return None
        limit = _LIMITS.get(reference.kind)
        if limit is not None and not 0 < len(data) < limit:
            message = f"the file of {what} {reference.owner!r} has {len(data)} bytes"
            hint = f"swarm takes 1 to {limit - 1} bytes"
            self._problems.append(source.problem(reference.path, message, hint))
            return None
        if reference.kind == "env_file":
            self._env_file_names |= _inherited(data)
        file = BundleFile(f"files/{len(self._files)}-{_safe(path.name)}", data)
        self._files[str(path)] = file
        return file

    def _check_variables(self, sources: list[ComposeFile]) -> tuple[str, ...]:
        undefined: set[str] = set()
        for source in sources:
            for use in source.uses:
                try:
                    use.reference.resolve(self._values)
                except InterpolationError as exc:
                    hint = f"set it in the stack's env, or in the environment: export {use.reference.name}=…"
                    self._problems.append(source.problem(use.node, str(exc), hint))
                if not use.optional and use.reference.is_unset(self._values):
                    undefined.add(use.reference.name)
        return tuple(sorted(undefined))

    def _version(self, sources: list[ComposeFile]) -> str:
        """The version for files that have none: that of the others, since docker wants them equal."""
        stated = [source.version.value for source in sources if source.version is not None]
        enough = not any(_NAMELESS_VERSION.fullmatch(version) for version in stated) or not self._objects
        return stated[0] if stated and enough else COMPOSE_VERSION


def _version_edits(source: ComposeFile, version: str) -> set[nodes.Edit]:
    if source.version is None:
        return {nodes.insert_key(source.root, "version", version)}
    if version == COMPOSE_VERSION and _NAMELESS_VERSION.fullmatch(source.version.value):
        return {nodes.replace(source.text, source.version, version)}
    return set()


def _object_name(stack: str, key: str, data: bytes) -> str:
    """Configs cannot change, so a changed content needs a new name; Swarm allows 64 characters."""
    suffix = "-" + hashlib.sha256(data).hexdigest()[:10]
    return f"{stack}_{key}"[: _NAME_LIMIT - len(suffix)] + suffix


def _inherited(env_file: bytes) -> set[str]:
    """The names in an env file without a value, which docker takes from its own environment."""
    names = set()
    for line in env_file.decode(errors="replace").removeprefix("\ufeff").splitlines():
        name, _, value = line.lstrip().partition("=")
        if name and not name.startswith("#") and not value and re.fullmatch(r"[A-Za-z_]\w*", name):
            names.add(name)
    return names


def _digest(
    stack: Stack, compose: tuple[BundleFile, ...], files: tuple[BundleFile, ...], variables: Mapping[str, str]
) -> str:
    content = {
        "compose": [hashlib.sha256(file.data).hexdigest() for file in compose],
        "files": [[file.path, hashlib.sha256(file.data).hexdigest()] for file in files],
        "variables": dict(variables),
        "options": [stack.name, stack.prune, stack.resolve_image, stack.with_registry_auth],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-60:]


def _reason(exc: OSError | UnicodeDecodeError) -> str:
    return "not utf-8" if isinstance(exc, UnicodeDecodeError) else (exc.strerror or str(exc)).lower()
