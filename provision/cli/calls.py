"""From a command line to an operation's arguments: the place, the display, the log, the user's consent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from provision.cli.options import Progress
from provision.errors import ProvisionError, UsageError

if TYPE_CHECKING:
    from provision.operations.apply import Call
    from provision.operations.place import Place
    from provision.planning.plan import Plan
    from provision.state.runlog import RunLog


def place(*, accept_new_host_keys: bool = False, ask_pass: bool = False) -> Place:
    """This process's place; asks for the password where that is wanted."""
    from provision.operations.place import this_place

    password = None
    if ask_pass:
        if not _somebody_is_there():
            raise UsageError("--ask-pass needs a terminal", hint="elsewhere, set PROVISION_SSH_PASSWORD")
        password = typer.prompt("SSH password", hide_input=True, err=True)
    return this_place(password=password, accept_new_host_keys=accept_new_host_keys)


def _somebody_is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


@contextmanager
def call(where: Place, cluster: str, command: str, *, progress: Progress, verbose: int) -> Iterator[Call]:
    """An operation's call with its log open; the log gets the error that the operation raises."""
    from provision.display.select import make_display
    from provision.operations.apply import Call
    from provision.operations.opened import tidy
    from provision.state.redact import Redactor
    from provision.state.runlog import open_run_log, prune_logs

    words = ("provision", *sys.argv[1:])
    redactor = Redactor()
    paths = where.paths(cluster)
    with open_run_log(paths, command, redactor) as log:
        prune_logs(paths)
        log.line(" ".join(words))
        try:
            yield Call(
                command=command,
                words=words,
                display=lambda: make_display(progress, sys.stderr, where.environ, verbosity=verbose),
                log=log,
                redactor=redactor,
                warn=lambda text: _warn(log, text),
            )
        except ProvisionError as error:
            log.line(str(error), source="error")
            raise
        finally:
            tidy(paths)


def _warn(log: RunLog, text: str) -> None:
    log.line(text, source="warning")
    typer.echo(f"warning: {text}", err=True)


def asks(cluster: str, *, yes: bool, always: bool = False) -> Callable[[Plan], None]:
    """What an operation calls with its plan: asks for the cluster's name before anything is destroyed.

    `always`: the whole command destroys, so that what goes need not be listed by name first.
    """

    def agree(plan: Plan) -> None:
        gone = plan.destroys
        if yes or not (gone or always):
            return
        what = ", ".join(gone) if len(gone) <= 12 else f"{', '.join(gone[:12])} and {len(gone) - 12} more"
        confirm(cluster, asked=f"This removes {what}.", otherwise=f"this would remove {what}")

    return agree


def confirm(cluster: str, *, asked: str, otherwise: str) -> None:
    """Have the user type the cluster's name. Raises UsageError for anything else; `otherwise` where nobody can."""
    if not _somebody_is_there():
        raise UsageError(otherwise, hint="nobody is there to be asked: add --yes")
    typer.echo(asked, err=True)
    answer = typer.prompt(f"Type the cluster's name ({cluster}) to go on", default="", show_default=False, err=True)
    if answer != cluster:
        raise UsageError("that is not its name; nothing was changed")
