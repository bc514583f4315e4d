"""ls, inspect, status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import calls
from provision.cli.options import ClusterOption, FormatOption, InventoryArgument, NamesOption, Output, OutputOption
from provision.errors import ProvisionError

if TYPE_CHECKING:
    from provision.operations.look import MachineView, View
    from provision.operations.place import Place


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ls)
    app.command()(inspect)
    app.command()(status)


def ls(
    cluster: ClusterOption = None,
    output: OutputOption = Output.TABLE,
    template: FormatOption = None,
    quiet: NamesOption = False,
) -> None:
    """List the machines of one cluster, or of all."""
    from provision.cli.selection import select
    from provision.display.table import Column, render
    from provision.state.paths import clusters

    where = calls.place()
    names = [select(where, None, cluster).name] if cluster else list(clusters(where.root))
    rows = [machine for name in names for machine in _machines(where, name)]
    columns = (
        Column("NAME", "name"),
        Column("CLUSTER", "cluster"),
        Column("ROLE", "role"),
        Column("DRIVER", "driver"),
        Column("STATE", _state),
        Column("ADDRESS", "address"),
        Column("NODE", _node_state),
    )
    wide = (
        Column("GROUP", "group"),
        Column("IMAGE", "image"),
        Column("USER", "user"),
        Column("PORT", "port"),
        Column("ENGINE", lambda row: row.node.engine_version if row.node else ""),
        Column("NODE ID", lambda row: row.node.id if row.node else ""),
    )
    shown = Output.NAME if quiet else output
    typer.echo(render(rows, columns, wide, output=shown, template=template), nl=False)


def _machines(where: Place, name: str) -> tuple[MachineView, ...]:
    """The machines of one cluster; one that cannot be looked at must not hide the others."""
    try:
        return _look(where, name).machines
    except ProvisionError as problem:
        typer.echo(f"warning: cluster {name}: {problem}", err=True)
        return ()


def _look(where: Place, name: str, *, everywhere: bool = False) -> View:
    from provision.operations.look import look

    return look(where, name, None, everywhere=everywhere)


def _state(machine: MachineView) -> str:
    return f"{machine.state} (unfinished)" if machine.unfinished else machine.state


def _node_state(machine: MachineView) -> str:
    node = machine.node
    if node is None:
        return ""
    words = [node.state]
    if node.availability != "active":
        words.append(str(node.availability))
    if node.leader:
        words.append("leader")
    elif node.reachability and node.reachability != "reachable":
        words.append(node.reachability)
    return ", ".join(words)


def inspect(
    machine: Annotated[str, typer.Argument(help="The machine.")],
    template: FormatOption = None,
) -> None:
    """Show all that is known of a machine, as JSON."""
    from provision.cli.selection import machine_cluster
    from provision.display.table import plain, render

    where = calls.place()
    view = _look(where, machine_cluster(where, machine), everywhere=True)
    rows = [row for row in view.machines if row.name == machine]
    if template is not None:
        typer.echo(render(rows, (), template=template), nl=False)
        return
    typer.echo(json.dumps(plain(rows[0]), indent=2))


def status(
    inventory: InventoryArgument = None,
    cluster: ClusterOption = None,
) -> None:
    """Show how a cluster does: machines, quorum, nodes, services. Exits with 1 when something is amiss."""
    from provision.cli.selection import select
    from provision.operations.look import look

    where = calls.place()
    selected = select(where, inventory, cluster)
    view = look(where, selected.name, selected.cluster, everywhere=True)
    lines, good = _status(view)
    typer.echo("\n".join(lines))
    if not good:
        raise typer.Exit(1)


def _status(view: View) -> tuple[list[str], bool]:
    from provision.display.table import Column, render
    from provision.planning.plan import count
    from provision.swarm.quorum import has_quorum, tolerates

    managers = [node for node in view.nodes if node.reachability]
    reachable = sum(1 for node in managers if node.is_reachable_manager)
    silent = [machine for machine in view.machines if machine.facts is None]
    down = [node for node in view.nodes if node.state != "ready"]
    short = [service for service in view.services if service.running < service.desired and not service.is_job]
    lines = [f"{view.name}: {count(len(view.machines), 'machine')}, {count(len(view.nodes), 'node')}"]
    if not view.machines:
        return [f"{view.name}: no machines"], False
    if view.seen_from is None:
        lines.append("swarm: no manager answers")
    else:
        leader = next((node.hostname for node in managers if node.leader), "none")
        margin = f"can lose {tolerates(len(managers), reachable)} more"
        word = margin if has_quorum(len(managers), reachable) else "QUORUM LOST"
        lines.append(f"swarm: {reachable} of {count(len(managers), 'manager')} reachable, {word}; leader {leader}")
    for machine in silent:
        lines.append(f"machine {machine.name}: {machine.state}, {machine.cause or 'not asked'}")
    for node in down:
        lines.append(f"node {node.hostname}: {node.state}" + (f", {node.message}" if node.message else ""))
    if view.services:
        columns = (
            Column("SERVICE", "name"),
            Column("MODE", "mode"),
            Column("RUNNING", lambda service: f"{service.running}/{service.desired}"),
            Column("IMAGE", "image"),
        )
        lines += ["", render(view.services, columns).rstrip("\n")]
    good = view.seen_from is not None and not (silent or down or short)
    return lines, good
