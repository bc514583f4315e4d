"""The command `provision`: its list of commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Annotated

import typer

from provision import __version__
from provision.cli import converge, diagnose, grow, image, reach, records, show, snapshot, write
from provision.cli.group import CommandGroup
from provision.errors import ProvisionError

#: 128 + SIGINT, as shells have it
INTERRUPTED = 130

commands = typer.Typer()
for module in (converge, grow, show, reach, write, records, diagnose, image, snapshot):
    module.register(commands)


class _Commands(CommandGroup):
    declared = commands


app = typer.Typer(
    name="provision",
    cls=_Commands,
    help="From one inventory file to a running Docker Swarm: machines, SSH, Docker Engine, firewall, swarm, stacks.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:  # typer's callback
    if value:
        typer.echo(f"provision {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@commands.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"provision {__version__}")


def main() -> None:
    """Run the command line; never returns."""
    # what imports make stays; to look through it again and again while they run finds nothing
    gc.set_threshold(50_000)
    # pydantic would read the metadata of every installed package to look for plugins
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if "_PROVISION_COMPLETE" in os.environ:
        # typer would import it to render what completion says of a command, which is plain text
        sys.modules["rich"] = None  # type: ignore[assignment]
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    code = run(sys.argv[1:])
    if code == INTERRUPTED:
        # threads may still wait for hosts, and the user has asked twice
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    gc.freeze()  # or else the interpreter looks through all of it once more before it ends
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code. What a user must know is on stderr then."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="provision", standalone_mode=False)
    except ProvisionError as error:
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 # the last line of defence: typer's own, and defects of ours
        return _other(error)
    code = result if isinstance(result, int) else 0
    if code == INTERRUPTED:  # typer's way with Ctrl-C
        typer.echo("interrupted", err=True)
    return code


def _other(error: Exception) -> int:
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's: it says how a command line is wrong
        error.show()
        return int(error.exit_code)
    if type(error).__name__ == "Abort":
        typer.echo("aborted; nothing was changed", err=True)
        return INTERRUPTED
    import traceback

    traceback.print_exception(error)
    typer.echo("\nerror: this is a defect of provision; please report it with the lines above", err=True)
    return 1
