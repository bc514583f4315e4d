"""up, plan, down."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import calls
from provision.cli.options import (
    AcceptOption,
    AskPassOption,
    ClusterOption,
    InventoryArgument,
    Progress,
    ProgressOption,
    VerboseOption,
    YesOption,
)
from provision.errors import InventoryError

if TYPE_CHECKING:
    from provision.operations.apply import Call
    from provision.planning.plan import Plan

#: `plan --detailed-exitcode`: there is something to do
CHANGES = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(plan)
    app.command()(down)


def up(
    inventory: InventoryArgument = None,
    cluster: ClusterOption = None,
    yes: YesOption = False,
    wait: Annotated[bool, typer.Option(help="Wait until the stacks run as wanted.")] = True,
    accept_new_host_keys: AcceptOption = False,
    ask_pass: AskPassOption = False,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Make the cluster what its inventory says. Running it again changes nothing."""
    from provision.cli.selection import select
    from provision.inventory.advice import warnings
    from provision.operations.apply import check
    from provision.operations.up import up as run_up

    where = calls.place(accept_new_host_keys=accept_new_host_keys, ask_pass=ask_pass)
    selected = select(where, inventory, cluster)
    target = selected.require()
    for warning in warnings(target):
        typer.echo(f"warning: {warning}", err=True)
    with calls.call(where, target.name, "up", progress=progress, verbose=verbose) as call:
        made, summary = run_up(target, where, call, agree=calls.asks(target.name, yes=yes), wait=wait)
        if summary is None:
            _say_empty(made, call, progress)
            return
        check(summary, call, again=f"provision up {selected.inventory}")


def _say_empty(made: Plan, call: Call, progress: Progress) -> None:
    from provision.events import RunFinished, RunStarted

    if progress is not Progress.JSON:
        typer.echo(str(made))
        return
    with call.display() as display:
        display(RunStarted(made.cluster, call.command, 0))
        display(RunFinished(done=0, changed=0, failed=0, skipped=0, seconds=0.0))


def plan(
    inventory: InventoryArgument = None,
    cluster: ClusterOption = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help=f"Exit with {CHANGES} when there is something to do.")
    ] = False,
    accept_new_host_keys: AcceptOption = False,
    ask_pass: AskPassOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Show what `up` would do, and why. Changes nothing."""
    from provision.cli.selection import select
    from provision.inventory.advice import warnings
    from provision.operations.up import planned

    where = calls.place(accept_new_host_keys=accept_new_host_keys, ask_pass=ask_pass)
    target = select(where, inventory, cluster).require()
    with planned(target, where) as made:
        for notice in () if made.plan.empty else (*warnings(target), *made.plan.notices):
            typer.echo(f"warning: {notice}", err=True)
        typer.echo(made.plan.text(details=verbose > 0))
        if detailed_exitcode and not made.plan.empty:
            raise typer.Exit(CHANGES)


def down(
    inventory: InventoryArgument = None,
    cluster: ClusterOption = None,
    yes: YesOption = False,
    purge: Annotated[bool, typer.Option("--purge", help="On adopted hosts, remove Docker and its data too.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Forget adopted hosts that do not answer, as they are.")
    ] = False,
    accept_new_host_keys: AcceptOption = False,
    ask_pass: AskPassOption = False,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Remove every machine of the cluster, and all that is known of it here. Adopted hosts stay, cleaned up."""
    from provision.cli.selection import select
    from provision.operations.apply import check
    from provision.operations.down import down as run_down

    where = calls.place(accept_new_host_keys=accept_new_host_keys, ask_pass=ask_pass)
    try:
        selected = select(where, inventory, cluster)
    except InventoryError:
        typer.echo("hint: down needs no inventory: provision down -c NAME", err=True)
        raise
    with calls.call(where, selected.name, "down", progress=progress, verbose=verbose) as call:
        agree = calls.asks(selected.name, yes=yes, always=True)
        made, summary = run_down(selected.name, selected.cluster, where, call, agree=agree, purge=purge, force=force)
        if summary is None:
            typer.echo(str(made))
            return
        check(summary, call, again=f"provision down {selected.inventory or '-c ' + selected.name}")
    typer.echo(f"{selected.name}: nothing is left", err=os.isatty(1))
