"""ssh, exec, docker, env, context, ip: ways into a cluster."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from provision.cli import calls
from provision.cli.options import ClusterOption
from provision.errors import ProvisionError, UsageError

if TYPE_CHECKING:
    from provision.operations.place import Place

#: the words behind the command's own are somebody else's
_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(context_settings=_PASS_ON)(ssh)
    app.command("exec", context_settings=_PASS_ON)(exec_)
    app.command(context_settings=_PASS_ON)(docker)
    app.command()(env)
    app.command()(context)
    app.command()(ip)


def ssh(
    machine: Annotated[str, typer.Argument(help="The machine.")],
    command: Annotated[list[str] | None, typer.Argument(help="A command to run there, or options of ssh.")] = None,
) -> None:
    """Log in to a machine, or run a command on it, with the system's ssh. Its host key is checked."""
    from provision.cli.selection import machine_cluster

    where = calls.place()
    _become(_ssh(where, machine_cluster(where, machine), machine, command or []))


def _ssh(where: Place, cluster: str, machine: str, rest: list[str]) -> list[str]:
    from provision.client.ssh_include import included

    config = where.paths(cluster).ssh_config
    if not config.exists():
        raise ProvisionError(f"there is no ssh config of cluster {cluster!r} yet", hint=f"provision up -c {cluster}")
    options = rest[: _first_word(rest)]
    # through the user's own config where it includes ours: its jump hosts may have aliases and keys there
    file = [] if included(where.root) else ["-F", str(config)]
    return ["ssh", *file, *options, machine, *rest[len(options) :]]


def _first_word(words: list[str]) -> int:
    """Where options of ssh without a value (`-t`, `-v`, `-A`) end and the command begins."""
    return next((index for index, word in enumerate(words) if not word.startswith("-")), len(words))


def _become(argv: list[str], environ: dict[str, str] | None = None) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(argv[0], argv, environ or dict(os.environ))  # to become it is the point
    except FileNotFoundError as missing:
        raise ProvisionError(
            f"{argv[0]!r} is not installed here", hint=f"apt install {_PACKAGES[argv[0]]}"
        ) from missing


_PACKAGES = {"ssh": "openssh-client", "docker": "docker-cli (or docker.io)"}


def exec_(
    words: Annotated[
        list[str], typer.Argument(help="Machines (names or globs like 'lab-*'; none: all), then the command.")
    ],
    cluster: ClusterOption = None,
    role: Annotated[str | None, typer.Option(help="Only machines of this role: manager or worker.")] = None,
    group: Annotated[str | None, typer.Option(help="Only machines of this group.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that the command may take.")] = 600.0,
) -> None:
    """Run a command on many machines at once; its output is shown by machine, the exit code is the worst."""
    from provision.cli.selection import select
    from provision.operations.everywhere import run_everywhere, split_targets

    where = calls.place()
    chosen = select(where, None, cluster).name if cluster else None
    cluster_name, machines, command = split_targets(where, words, chosen, role=role, group=group)
    if not command:
        raise UsageError("no command is given", hint="like: provision exec lab-worker-1 -- uptime")
    worst = 0
    for answer in run_everywhere(where, cluster_name, machines, command, seconds=timeout):
        for line in answer.stdout.splitlines():
            typer.echo(f"{answer.machine} | {line}")
        for line in answer.stderr.splitlines():
            typer.echo(f"{answer.machine} | {line}", err=True)
        worst = max(worst, answer.status)
    raise typer.Exit(worst)


def docker(
    words: Annotated[list[str], typer.Argument(help="The words behind `docker`.")],
    cluster: ClusterOption = None,
) -> None:
    """Run any docker command against a live manager of the cluster."""
    from provision.cli.selection import select
    from provision.operations.everywhere import live_manager

    where = calls.place()
    name = select(where, None, cluster).name
    manager = live_manager(where, name)
    if shutil.which("docker"):
        environ = {
            key: value for key, value in os.environ.items() if key not in ("DOCKER_CONTEXT", "DOCKER_TLS_VERIFY")
        }
        _become(["docker", *words], {**environ, "DOCKER_HOST": f"ssh://{manager}"})
    # no docker here: the manager has one
    tty = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    remote = "$([ -w /var/run/docker.sock ] || echo sudo -n) docker " + shlex.join(words)
    _become(_ssh(where, name, manager, [*tty, remote]))


def env(
    cluster: ClusterOption = None,
    shell: Annotated[str | None, typer.Option(help="bash, fish, tcsh, powershell; guessed from SHELL.")] = None,
    unset: Annotated[bool, typer.Option("--unset", "-u", help="Print how to undo it.")] = False,
) -> None:
    """Print the lines that make this shell's docker talk to the cluster: eval "$(provision env)"."""
    from provision.cli.selection import select
    from provision.client.shell import export_lines, unset_lines
    from provision.operations.everywhere import live_manager

    where = calls.place()
    kind = shell or Path(os.environ.get("SHELL", "bash")).name
    if unset:
        typer.echo(unset_lines(kind, ("DOCKER_HOST", "PROVISION_CLUSTER")), nl=False)
        return
    name = select(where, None, cluster).name
    values = {"DOCKER_HOST": f"ssh://{live_manager(where, name)}", "PROVISION_CLUSTER": name}
    typer.echo(export_lines(kind, values), nl=False)


def context(
    cluster: ClusterOption = None,
    use: Annotated[bool, typer.Option("--use", help="Make it docker's current context.")] = False,
) -> None:
    """Write the docker context of the cluster anew, pointing at a live manager, and print its name."""
    from provision.cli.selection import select
    from provision.client.docker_context import docker_config_folder, write_context
    from provision.operations.everywhere import live_manager

    where = calls.place()
    name = select(where, None, cluster).name
    folder = docker_config_folder(where.environ)
    write_context(name, live_manager(where, name), config=folder)
    if use:
        _become(["docker", "context", "use", name])
    typer.echo(name)


def ip(machine: Annotated[str, typer.Argument(help="The machine.")]) -> None:
    """Print the address of a machine."""
    from provision.cli.selection import machine_cluster, read_state

    where = calls.place()
    state = read_state(where, machine_cluster(where, machine))
    assert state is not None
    address = state.machines[machine].address
    if not address:
        raise ProvisionError(f"{machine} has no address yet", hint="provision up finishes it")
    typer.echo(address)
