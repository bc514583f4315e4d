"""add-worker, add-manager, rm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

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

if TYPE_CHECKING:
    from provision.driver import Role
    from provision.operations.place import Place

CountOption: TypeAlias = Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")]
GroupOption: TypeAlias = Annotated[str | None, typer.Option(help="The group that grows, where several have the role.")]
HostOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--host", help="A machine that already runs: user@address:port. May be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(add_worker)
    app.command()(add_manager)
    app.command()(rm)


def add_worker(
    inventory: InventoryArgument = None,
    cluster: ClusterOption = None,
    count: CountOption = 1,
    group: GroupOption = None,
    host: HostOption = None,
    accept_new_host_keys: AcceptOption = False,
    ask_pass: AskPassOption = False,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Add workers: to the inventory, its comments kept, and to the swarm. Touches only what is new."""
    from provision.driver import Role

    where = calls.place(accept_new_host_keys=accept_new_host_keys, ask_pass=ask_pass)
    _grow(where, Role.WORKER, inventory, cluster, count, group, host, progress, verbose)


def add_manager(
    inventory: InventoryArgument = None,
    cluster: ClusterOption = None,
    count: CountOption = 1,
    group: GroupOption = None,
    host: HostOption = None,
    accept_new_host_keys: AcceptOption = False,
    ask_pass: AskPassOption = False,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Add managers: to the inventory, its comments kept, and to the swarm. Touches only what is new."""
    from provision.driver import Role

    where = calls.place(accept_new_host_keys=accept_new_host_keys, ask_pass=ask_pass)
    _grow(where, Role.MANAGER, inventory, cluster, count, group, host, progress, verbose)


def _grow(  # the two commands above differ in the role only
    where: Place,
    role: Role,
    inventory: Path | None,
    cluster: str | None,
    count: int,
    group: str | None,
    host: list[str] | None,
    progress: Progress,
    verbose: int,
) -> None:
    from provision.cli.selection import select
    from provision.operations.apply import check
    from provision.operations.grow import grow

    selected = select(where, inventory, cluster)
    selected.require()
    assert selected.inventory is not None
    with calls.call(where, selected.name, f"add-{role}", progress=progress, verbose=verbose) as call:
        _, summary = grow(
            selected.inventory,
            where,
            call,
            role=role,
            count=count,
            group=group,
            hosts=host or [],
            agree=calls.asks(selected.name, yes=False),
        )
        if summary is not None:
            check(summary, call, again=f"provision up {selected.inventory}")


def rm(
    machines: Annotated[list[str], typer.Argument(help="The machines to remove.")],
    cluster: ClusterOption = None,
    yes: YesOption = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Even where the swarm loses its quorum, no manager answers, or an adopted host is gone."
        ),
    ] = False,
    accept_new_host_keys: AcceptOption = False,
    ask_pass: AskPassOption = False,
    progress: ProgressOption = Progress.AUTO,
    verbose: VerboseOption = 0,
) -> None:
    """Remove machines: demote, drain, leave the swarm, destroy. The inventory loses them too."""
    from provision.cli.selection import machine_cluster, select
    from provision.operations.apply import check
    from provision.operations.shrink import shrink

    where = calls.place(accept_new_host_keys=accept_new_host_keys, ask_pass=ask_pass)
    selected = select(where, None, cluster or machine_cluster(where, machines[0]))
    selected.require()
    assert selected.inventory is not None
    with calls.call(where, selected.name, "rm", progress=progress, verbose=verbose) as call:
        agree = calls.asks(selected.name, yes=yes)
        _, summary = shrink(selected.inventory, where, call, machines, agree=agree, force=force)
        if summary is not None:
            check(summary, call, again=f"provision rm {' '.join(machines)}")
