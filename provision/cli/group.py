"""The group of all commands, each built from its function only when it is used.

To build a command is to read its function's annotations and make an option of each. For all of them that takes longer
than their modules take to import, and one run uses one command.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandInfo, TyperInfo


def add_family(app: typer.Typer, name: str, *functions: Callable[..., None], help: str) -> None:  # noqa: A002 # typer's
    """Add a command that has commands of its own, such as `provision image ls`; each is named after its function."""
    declared = typer.Typer()
    for function in functions:
        declared.command()(function)
    family = type("Family", (CommandGroup,), {"declared": declared})
    group = typer.Typer(cls=family, help=help, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(group, name=name)


class CommandGroup(TyperGroup):
    """A group that lists commands by name and docstring, and builds the one that is used.

    A subclass names in `declared` the app on which the commands were registered.
    """

    declared: ClassVar[typer.Typer]
    commands: Any  # typer's own is a dict; this one builds what it is asked for

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands(self.declared)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 # as typer calls it
        """The names, in the order in which they were declared."""
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 # as typer calls it
        """What a list shows of a command: its name and help, no options."""
        return self.commands.outline(cmd_name) if cmd_name in self.commands else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, complete. Raises a usage error for one that is none."""
        name, outline, rest = super().resolve_command(ctx, args)
        if outline is None:
            return name, None, rest
        command = self.commands[outline.name]
        _take_as_typed(command.get_params(ctx), completing=ctx.resilient_parsing)
        return name, command, rest

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options in front of the command."""
        _take_as_typed(self.get_params(ctx), completing=ctx.resilient_parsing)
        return super().parse_args(ctx, args)


class _Commands(Mapping[str, Any]):
    """Commands by name; one is built when it is first asked for."""

    def __init__(self, declared: typer.Typer) -> None:
        infos: list[CommandInfo | TyperInfo] = [*declared.registered_commands, *declared.registered_groups]
        self._declared = {_name(info): info for info in infos}
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _built(self._declared[name])
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def __contains__(self, name: object) -> bool:
        return name in self._declared  # Mapping's own would build it

    def outline(self, name: str) -> TyperCommand:
        """A command without its options, for lists."""
        return TyperCommand(name, help=_help(self._declared[name]), rich_markup_mode=None)


def _name(info: CommandInfo | TyperInfo) -> str:
    if isinstance(info, TyperInfo):
        return str(info.name)
    assert info.callback is not None
    return info.name or typer.main.get_command_name(info.callback.__name__)


def _help(info: CommandInfo | TyperInfo) -> str | None:
    if isinstance(info, TyperInfo):
        return str(info.typer_instance.info.help) if info.typer_instance else None
    return inspect.getdoc(info.callback)


def _built(info: CommandInfo | TyperInfo) -> Any:
    if isinstance(info, TyperInfo):
        assert info.typer_instance is not None
        return typer.main.get_group(info.typer_instance)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.registered_commands.append(info)
    return typer.main.get_command(alone)


def _take_as_typed(params: Iterable[Any], *, completing: bool) -> None:
    """Leave flags as they are, and while completing every value: none needs conversion, and typer's needs pydantic."""
    for param in params:
        if completing or getattr(param, "is_flag", False):
            param.process_value = partial(_called_back, param)


def _called_back(param: Any, ctx: Any, value: Any) -> Any:
    return param.callback(ctx, param, value) if param.callback else value
