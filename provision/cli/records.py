"""unlock, history: what this machine keeps of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import calls
from provision.cli.options import ClusterOption, FormatOption, Output, OutputOption

if TYPE_CHECKING:
    from provision.state.history import RunRecord


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(unlock)
    app.command()(history)


def unlock(
    cluster: ClusterOption = None,
    force: Annotated[bool, typer.Option("--force", help="Even while its owner seems to live.")] = False,
) -> None:
    """Free the lock of a command that is gone. A living owner keeps it, unless by force."""
    from provision.cli.selection import select
    from provision.state.lock import unlock as free

    where = calls.place()
    name = select(where, None, cluster).name
    owner = free(where.paths(name), force=force)
    typer.echo(f"{name}: was locked by {owner}; it is free" if owner else f"{name}: is not locked")


def history(
    cluster: ClusterOption = None,
    output: OutputOption = Output.TABLE,
    template: FormatOption = None,
) -> None:
    """List what was run on a cluster: when, by whom, what came of it."""
    from provision.cli.selection import select
    from provision.display.table import Column, render
    from provision.state.history import read

    where = calls.place()
    rows = read(where.paths(select(where, None, cluster).name))
    columns = (
        Column("TIME", _time),
        Column("USER", "user"),
        Column("COMMAND", lambda row: " ".join(row.command)),
        Column("RESULT", "result"),
        Column("CHANGED", "changed"),
        Column("FAILED", "failed"),
        Column("SECONDS", lambda row: f"{row.seconds:.1f}"),
    )
    typer.echo(render(rows, columns, (Column("LOG", "log"),), output=output, template=template), nl=False)


def _time(row: RunRecord) -> str:
    return row.time.astimezone().isoformat(sep=" ", timespec="seconds")
