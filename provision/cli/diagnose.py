"""doctor, console: why it does not work."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import calls
from provision.cli.options import Output, OutputOption

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from provision.operations.diagnose import Diagnosis
    from provision.operations.place import Place


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(doctor)
    app.command()(console)


def doctor(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="DRIVER", help="The drivers; without any, all that are installed.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", "-c", help="A cluster or its inventory file: look with the settings of its drivers."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what drivers lack on this machine, and the command that mends it. Exits with 1 where one cannot work."""
    from provision import drivers
    from provision.display.table import render
    from provision.operations.diagnose import doctor as diagnose

    settings = _settings(calls.place(), cluster) if cluster else {}
    found = diagnose(names or sorted(settings) or drivers.available(), settings)
    if output is Output.TABLE:
        typer.echo("\n".join(line for name, lacks in found.items() for line in _lines(name, lacks)))
    else:
        rows = [{"name": lack.driver, **asdict(lack)} for lacks in found.values() for lack in lacks]
        typer.echo(render(rows, _columns(), output=output), nl=False)
    if any(lack.fatal for lacks in found.values() for lack in lacks):
        raise typer.Exit(1)


def _settings(where: Place, cluster: str) -> dict[str, Mapping[str, Any]]:
    from provision.cli.selection import read_state, select
    from provision.operations.opened import settings_of

    selected = select(where, None, cluster)
    return settings_of(selected.cluster, read_state(where, selected.name))


def _lines(name: str, lacks: tuple[Diagnosis, ...]) -> list[str]:
    if not lacks:
        return [f"{name}: ready"]
    head = f"{name}: cannot work here" if any(lack.fatal for lack in lacks) else f"{name}: ready, but"
    lines = [head]
    for lack in lacks:
        lines.append(f"  - {lack.summary}")
        if lack.fix:
            lines.append(f"      {lack.fix}")
    return lines


def _columns() -> tuple[Any, ...]:
    from provision.display.table import Column

    return (Column("DRIVER", "driver"), Column("WHAT", "summary"), Column("FIX", "fix"))


def console(
    machine: Annotated[str, typer.Argument(help="The machine.")],
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=1, help="Only so many lines of its end.")] = None,
) -> None:
    """Print what a machine has printed on its console so far: why it does not boot, or cannot be reached."""
    from provision.cli.selection import machine_cluster
    from provision.operations.diagnose import console as read

    where = calls.place()
    text = read(where, machine_cluster(where, machine), machine)
    if lines is not None:
        text = "\n".join(text.splitlines()[-lines:])
    if text:
        typer.echo(text, nl=not text.endswith("\n"))
