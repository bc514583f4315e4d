"""The script that deploys a bundle on a manager; by stdin, so that nothing of it is in an argument list."""

from __future__ import annotations

import base64
import io
import re
import shlex
import tarfile

from provision.stacks.bundle import Bundle

#: Seconds that `docker stack deploy` itself may take; it waits for nothing but registries, for digests.
DEPLOY_TIMEOUT = 180
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# A function called on the last line: a connection that breaks in the middle of the script runs nothing of it.
# The trap holds the directory's name as text, and the command's own words are positional parameters, so that
# no variable of the stack can change either. TMPDIR is for shells that keep here-documents in files.
_SCRIPT = """\
set -eu
umask 077
deploy() {{
dir=$(mktemp -d /run/provision-stack.XXXXXXXXXX)
trap "rm -rf '$dir'" EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$dir"
TMPDIR=$dir
base64 -d <<'END_OF_FILES' | tar -xf -
{archive}
END_OF_FILES
set -- "$(command -v timeout)" -k 5 {timeout} "$(command -v docker)" \\
  --host unix:///var/run/docker.sock --config "${{DOCKER_CONFIG:-${{HOME:-/root}}/.docker}}" \\
  {command}
(
{environment}
exec "$@" </dev/null
)
}}
deploy
"""


def deploy_script(bundle: Bundle, *, timeout: int = DEPLOY_TIMEOUT) -> str:
    """The shell script that deploys the bundle, for the stdin of `sh -s` as root on a manager. Holds secrets.

    The files lie in a directory of their own under /run (memory, 0700) for as long as it runs. It exits with
    docker's status, or 124 after `timeout` seconds; running it again is harmless. It returns when Swarm has
    taken the services, not when they run.
    """
    return _SCRIPT.format(
        archive=_archive(bundle),
        timeout=timeout,
        command=" ".join(shlex.quote(word) for word in _command(bundle)),
        environment=_environment(bundle),
    )


def _command(bundle: Bundle) -> tuple[str, ...]:
    files = [word for file in bundle.compose for word in ("--compose-file", file.path)]
    options = ["--resolve-image", bundle.resolve_image]
    if bundle.prune:
        options.append("--prune")
    if bundle.with_registry_auth:
        options.append("--with-registry-auth")
    return ("stack", "deploy", *files, *options, bundle.stack)


def _environment(bundle: Bundle) -> str:
    """The bundle's variables; what it does not have must not come from the manager's environment."""
    unset = [f"unset {name}" for name in bundle.unset if _SHELL_NAME.fullmatch(name)]
    exports = [
        f"export {name}={shlex.quote(value)}" for name, value in bundle.variables.items() if _SHELL_NAME.fullmatch(name)
    ]
    return "\n".join([*unset, *exports]) or ":"


def _archive(bundle: Bundle) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in (*bundle.compose, *bundle.files):
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mode = len(file.data), 0o600
            tar.addfile(entry, io.BytesIO(file.data))
    return base64.encodebytes(buffer.getvalue()).decode().rstrip("\n")
