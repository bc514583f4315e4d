"""What a compose file refers to: files, variables, services. Pure; every place is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from provision.errors import Problem
from provision.stacks import nodes
from provision.stacks.interpolate import InterpolationError, Reference, references


@dataclass(frozen=True, slots=True)
class FileReference:
    """A path of this machine that a compose file names.

    `kind` is config, secret or env_file; `owner` the config's, secret's or service's key. `whole` is the node
    to replace, which for `{path: …, required: …}` is more than the path. `mapping` is set where the config or
    secret has no name of its own, so one may be inserted there.
    """

    kind: str
    owner: str
    path: ScalarNode
    whole: Node
    required: bool = True
    mapping: MappingNode | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """A variable used at a place; docker passes over an `optional` one that its environment lacks."""

    node: ScalarNode
    reference: Reference
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """A compose file that was read: its text, and what it refers to."""

    path: Path
    text: str
    root: MappingNode
    version: ScalarNode | None
    services: tuple[str, ...]
    references: tuple[FileReference, ...]
    uses: tuple[Use, ...]
    problems: tuple[Problem, ...]

    def problem(self, node: Node, message: str, hint: str = "") -> Problem:
        """A problem at a node of this file."""
        return _problem(self.path, self.text, node.start_mark, message, hint)


def read_compose(path: Path, text: str) -> ComposeFile | Problem:
    """Read a compose file's text; a `Problem` where it is no mapping, else its problems are part of it."""
    try:
        root = nodes.parse(text)
    except yaml.MarkedYAMLError as exc:
        return _problem(path, text, exc.problem_mark or exc.context_mark, f"not valid yaml: {exc.problem}")
    except yaml.YAMLError as exc:
        return Problem(f"not valid yaml: {exc}", file=str(path), line=1, column=1)
    if not isinstance(root, MappingNode) or not root.value:
        return Problem(
            "a compose file must be a mapping", file=str(path), line=1, column=1, hint="begin with services:"
        )
    version = nodes.get(root, "version")
    uses, problems = _uses(path, text, root)
    services = nodes.get(root, "services")
    return ComposeFile(
        path=path,
        text=text,
        root=root,
        version=version if isinstance(version, ScalarNode) else None,
        services=tuple(key.value for key, _ in nodes.items(services)),
        references=(*_env_files(services), *_objects(root, "configs"), *_objects(root, "secrets")),
        uses=(*uses, *_environment(services)),
        problems=(*problems, *_key_problems(path, text, root), *_bind_mounts(path, text, services)),
    )


def _uses(path: Path, text: str, root: Node) -> tuple[list[Use], list[Problem]]:
    uses, problems = [], []
    for node in nodes.scalars(root):
        try:
            uses += [Use(node, reference) for reference in references(node.value)]
        except InterpolationError as exc:
            hint = "write $$ for a dollar sign"
            problems.append(_problem(path, text, node.start_mark, str(exc), hint))
    return uses, problems


def _environment(services: Node | None) -> Iterator[Use]:
    """Variables named without a value (`- KEY`, `KEY:`), which docker fills in from its own environment."""
    for _, service in nodes.items(services):
        environment = nodes.get(service, "environment")
        for key, value in nodes.items(environment):
            if isinstance(value, ScalarNode) and (nodes.is_null(value) or value.value == ""):
                yield Use(key, Reference(key.value, "", ""), optional=True)
        for element in nodes.elements(environment):
            if isinstance(element, ScalarNode) and "$" not in element.value:
                name, _, value_text = element.value.partition("=")
                if not value_text:
                    yield Use(element, Reference(name, "", ""), optional=True)


def _env_files(services: Node | None) -> Iterator[FileReference]:
    for service_key, service in nodes.items(services):
        given = nodes.get(service, "env_file")
        single = [] if given is None else [given]
        for entry in nodes.elements(given) or single:
            if isinstance(entry, ScalarNode) and not nodes.is_null(entry):
                yield FileReference("env_file", service_key.value, entry, entry)
            path = nodes.get(entry, "path")
            if isinstance(path, ScalarNode):
                required = nodes.get(entry, "required")
                optional = required is not None and not nodes.is_true(required)
                yield FileReference("env_file", service_key.value, path, entry, required=not optional)


def _objects(root: Node, section: str) -> Iterator[FileReference]:
    kind = section.removesuffix("s")
    for key, value in nodes.items(nodes.get(root, section)):
        external, path = nodes.get(value, "external"), nodes.get(value, "file")
        if nodes.is_true(external) or isinstance(external, MappingNode):
            continue
        if isinstance(path, ScalarNode) and isinstance(value, MappingNode) and not nodes.is_null(path):
            named = not nodes.is_null(nodes.get(value, "name"))
            yield FileReference(kind, key.value, path, path, mapping=None if named else value)


def _bind_mounts(path: Path, text: str, services: Node | None) -> Iterator[Problem]:
    for key, service in nodes.items(services):
        for mount in nodes.elements(nodes.get(service, "volumes")):
            source: Node | None = mount
            if isinstance(mount, MappingNode):
                kind = nodes.get(mount, "type")
                source = nodes.get(mount, "source") if kind is not None and kind.value == "bind" else None
            if isinstance(source, ScalarNode) and source.value.startswith(("./", "../", "~/", ".:")):
                yield _problem(
                    path,
                    text,
                    source.start_mark,
                    f"service {key.value!r} mounts {source.value.partition(':')[0]!r}, "
                    "a path of this machine that the nodes do not have",
                    "send files with configs: or secrets:, or name an absolute path that the nodes have",
                )


def _key_problems(path: Path, text: str, root: Node) -> Iterator[Problem]:
    """Names such as `n`, `on` or `8080`, which yaml reads as something else than text, and docker refuses."""
    for section in ("services", "networks", "volumes", "configs", "secrets"):
        for key, _ in nodes.items(nodes.get(root, section)):
            # docker's yaml takes y and n for booleans too, as version 1.1 says; pyyaml does not
            boolean = key.style is None and key.value in ("y", "Y", "n", "N")
            if boolean or key.tag != "tag:yaml.org,2002:str":
                kind = "bool" if boolean else key.tag.rpartition(":")[2]
                message = f"the name {key.value!r} in {section} is read as a yaml {kind}"
                yield _problem(path, text, key.start_mark, message, f'put it in quotes: "{key.value}":')


def _problem(path: Path, text: str, mark: yaml.Mark | None, message: str, hint: str = "") -> Problem:
    if mark is None:
        return Problem(message, file=str(path), line=1, column=1, hint=hint)
    lines = text.splitlines()
    source = lines[mark.line] if mark.line < len(lines) else ""
    return Problem(message, str(path), mark.line + 1, mark.column + 1, source, hint)
