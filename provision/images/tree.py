"""The tree that every image starts from: Debian's packages by mmdebstrap, then what they leave wrong put right.

Whoever calls is root, of the machine or of a user namespace.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from provision.errors import DriverError
from provision.images.apt_sources import host_sources, image_sources
from provision.images.recipes import Recipe, RecipeFile
from provision.local.commands import Commands

#: Seconds that one build may take; a slow mirror is the usual reason.
BUILD_SECONDS = 1800.0

#: Documents and translations that nobody reads on a host.
_LEFT_OUT = ("doc", "man", "info", "locale")


def make_tree(made_of: Recipe, tree: Path, commands: Commands, *, hooks: Iterable[str] = ()) -> None:
    """Make the tree in a folder that is not there yet. Raises DriverError with mmdebstrap's last lines.

    `hooks` are mmdebstrap's customize hooks: shell lines that find the tree in `$1`, and apt's settings in
    `$MMDEBSTRAP_APT_CONFIG`.
    """
    early = tree.with_name("early")
    try:
        write_files(early, (file for file in made_of.files if file.early))
        _bootstrap(made_of, tree, commands, early=early, hooks=hooks)
    finally:
        shutil.rmtree(early, ignore_errors=True)
    finish_tree(made_of, tree)


def finish_tree(made_of: Recipe, tree: Path) -> None:
    """What the packages' own scripts leave wrong for a tree that many machines share: identity, masks, files."""
    for key in tree.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    for name in ("etc/hostname", "etc/resolv.conf", "var/lib/dbus/machine-id"):
        (tree / name).unlink(missing_ok=True)
    (tree / "etc/machine-id").write_text("")
    for name in made_of.masks:
        # a generator is named with its folder
        path = tree / "etc/systemd" / (name if "/" in name else f"system/{name}")
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/null")
    write_files(tree, made_of.files)


def write_files(root: Path, files: Iterable[RecipeFile]) -> None:
    """Write the files below a folder, which is made if need be."""
    root.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = root / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)


def source_place(made_of: Recipe) -> str:
    """Where the packages come from, for messages."""
    sources = image_sources(made_of.suite, mirror=made_of.mirror, host=host_sources())
    return sources[0].split()[1] if sources else "Debian's default mirror"


def _bootstrap(made_of: Recipe, tree: Path, commands: Commands, *, early: Path, hooks: Iterable[str]) -> None:
    sources = image_sources(made_of.suite, mirror=made_of.mirror, host=host_sources())
    argv = (
        # Dies with this process, and takes its children and their mounts along: a killed build leaves only files.
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"),
        f"--include={','.join(made_of.packages)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT),
        f"--essential-hook=sync-in {early} /",
        *(f"--customize-hook={hook}" for hook in hooks),
        *(made_of.suite, str(tree), *sources),
    )
    try:
        commands.run(*argv, seconds=BUILD_SECONDS, environ=_proxy(commands))
    except DriverError as exc:
        raise DriverError(
            f"image {made_of.image_name} could not be built from {source_place(made_of)}",
            detail=exc.detail,
            hint=exc.hint or "if the mirror cannot be reached from here, name another with `--mirror`, or `mirror:`",
        ) from exc


def _proxy(commands: Commands) -> dict[str, str]:
    """The proxy of the host's apt, which mmdebstrap's own apt does not read; by environment, it may hold a password."""
    found = {}
    for scheme in ("http", "https"):
        dump = commands.attempt("apt-config", "dump", f"Acquire::{scheme}::Proxy", "--format", "%v%n")
        value = dump.stdout.strip()
        if dump.returncode == 0 and value and value != "DIRECT":
            found[f"{scheme}_proxy"] = value
    return found
