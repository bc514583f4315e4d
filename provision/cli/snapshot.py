"""snapshot save, restore, ls, rm: going back to a known state of a whole cluster."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import calls
from provision.cli.group import add_family
from provision.cli.options import (
    ClusterOption,
    FormatOption,
    Output,
    OutputOption,
    Progress,
    ProgressOption,
    VerboseOption,
)

if TYPE_CHECKING:
    from provision.driver import Snapshot

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The snapshot's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_family(
        app, "snapshot", save, restore, ls, rm, help="Keep the state of all machines of a cluster, and go back to it."
    )


def save(
    name: NameArgument,
    cluster: ClusterOption = None,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Save all machines, memory and disks, as they are at one moment. They stand still for it."""
    from provision.cli.selection import select
    from provision.operations import snapshots

    where = calls.place()
    selected = select(where, None, cluster)
    with calls.call(where, selected.name, "snapshot save", progress=progress, verbose=verbose) as call:
        snapshots.save(selected.name, selected.cluster, where, call, name)


def restore(
    name: NameArgument,
    cluster: ClusterOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the present state is given up.")] = False,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Put all machines back to a snapshot, and wait until the swarm is whole. What came after it is lost."""
    from provision.cli.selection import select
    from provision.operations import snapshots

    where = calls.place()
    selected = select(where, None, cluster)

    def agree(saved: Snapshot) -> None:
        if not yes:
            what = f"what became of {', '.join(saved.machines)} since {_time(saved)}"
            calls.confirm(selected.name, asked=f"This gives up {what}.", otherwise=f"this would give up {what}")

    with calls.call(where, selected.name, "snapshot restore", progress=progress, verbose=verbose) as call:
        snapshots.restore(selected.name, selected.cluster, where, call, name, agree=agree)


def ls(
    cluster: ClusterOption = None,
    output: OutputOption = Output.TABLE,
    template: FormatOption = None,
) -> None:
    """List the snapshots of a cluster, the oldest first."""
    from provision.cli.selection import select
    from provision.display.table import Column, render
    from provision.operations.snapshots import snapshots_of

    where = calls.place()
    selected = select(where, None, cluster)
    rows, machines = snapshots_of(selected.name, selected.cluster, where)

    def parts(row: Snapshot) -> str:
        return str(machines) if len(row.machines) == machines else f"{len(row.machines)} of {machines}"

    columns = (Column("NAME", "name"), Column("CREATED", _time), Column("MACHINES", parts))
    wide = (Column("OF", "machines"),)
    typer.echo(render(rows, columns, wide, output=output, template=template), nl=False)


def _time(saved: Snapshot) -> str:
    return datetime.fromisoformat(saved.created).astimezone().isoformat(sep=" ", timespec="seconds")


def rm(
    name: NameArgument,
    cluster: ClusterOption = None,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Remove a snapshot. The machines stay as they are."""
    from provision.cli.selection import select
    from provision.operations import snapshots

    where = calls.place()
    selected = select(where, None, cluster)
    with calls.call(where, selected.name, "snapshot rm", progress=progress, verbose=verbose) as call:
        snapshots.remove(selected.name, selected.cluster, where, call, name)
