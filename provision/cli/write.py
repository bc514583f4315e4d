"""validate, schema, drivers, init: working on inventories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from provision.cli import calls
from provision.cli.options import Output, OutputOption
from provision.cli.selection import DEFAULT
from provision.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.command()(validate)
    app.command()(schema)
    app.command()(drivers)


def init(
    inventory: Annotated[Path, typer.Argument(help="The file to write.")] = Path(DEFAULT),
    name: Annotated[str, typer.Option(help="The cluster's name.")] = "lab",
    driver: Annotated[str, typer.Option(help="What makes the machines; `provision drivers` lists them.")] = "nspawn",
    managers: Annotated[int, typer.Option(min=1, help="How many managers.")] = 3,
    workers: Annotated[int, typer.Option(min=0, help="How many workers.")] = 2,
    host: Annotated[
        list[str] | None, typer.Option("--host", help="For driver ssh: user@address:port, managers first. Repeat.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write an inventory to start from."""
    from provision.inventory.load import loads
    from provision.inventory.template import render
    from provision.inventory.write import write_inventory

    if inventory.exists() and not force:
        raise UsageError(f"{inventory} is there already", hint="--force replaces it")
    text = render(name=name, driver=driver, managers=managers, workers=workers, hosts=host or [])
    loads(text, inventory, environ=calls.place().environ)
    write_inventory(inventory, text)
    typer.echo(f"{inventory} is written; next: provision up {inventory}", err=True)


def validate(
    inventory: Annotated[Path, typer.Argument(help="The inventory file.")] = Path(DEFAULT),
) -> None:
    """Check an inventory: every mistake at once, each with its place and a hint."""
    from provision.inventory.advice import warnings
    from provision.inventory.load import load
    from provision.planning.plan import count
    from provision.stacks.bundle import read_bundle

    where = calls.place()
    cluster = load(inventory, environ=where.environ)
    for warning in warnings(cluster):
        typer.echo(f"warning: {warning}", err=True)
    for stack in cluster.stacks:
        read_bundle(stack, where.environ)
    machines = count(sum(group.count for group in cluster.groups), "machine")
    typer.echo(f"{inventory}: cluster {cluster.name!r}, {machines}, {count(len(cluster.stacks), 'stack')}")


def schema() -> None:
    """Print the JSON Schema of inventories, for editors."""
    from provision.inventory.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def drivers(output: OutputOption = Output.TABLE) -> None:
    """List the drivers that are installed."""
    from provision.display.table import Column, render
    from provision.drivers import available

    rows = [{"name": name, "origin": origin} for name, origin in available().items()]
    typer.echo(render(rows, (Column("NAME", "name"), Column("FROM", "origin")), output=output), nl=False)
