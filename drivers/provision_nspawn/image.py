"""Build lab images: Debian trees made by mmdebstrap, cached by the hash of their recipe.

`python -m provision_nspawn.image [debian-12 …] [--bare] [--mirror URL]` builds those that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from provision.errors import DriverError, ProvisionError
from provision_nspawn.apt_sources import host_sources, image_sources
from provision_nspawn.commands import Commands
from provision_nspawn.layout import Layout
from provision_nspawn.locks import locked_made
from provision_nspawn.recipes import Recipe, image_names

#: Seconds that one build may take; a slow mirror is the usual reason.
BUILD_SECONDS = 1800.0


def build_image(made_of: Recipe, layout: Layout) -> Path:
    """The image's tree, built if it is not there; root only. Takes a minute, or as long as another's build takes.

    Two builds of one recipe at once are one build and one wait. A build that fails or is killed leaves no image; what a
    killed one left half-made is removed by the next. Raises DriverError with mmdebstrap's last lines.
    """
    final = layout.image(made_of.digest)
    half = layout.half_image(made_of.digest)
    if final.is_dir():
        return final / "tree"
    with locked_made(half, seconds=BUILD_SECONDS, mode=0o700) as held:
        if final.is_dir():
            half.rmdir()
            return final / "tree"
        # Guests' files keep their owners and set-uid bits: nobody but root may walk in.
        half.chmod(0o700)
        _clear(half)
        try:
            _bootstrap(made_of, half / "tree", Commands((held,)))
            finish_tree(made_of, half / "tree")
            (half / "recipe.json").write_text(json.dumps(asdict(made_of), indent=2) + "\n")
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        half.rename(final)
    return final / "tree"


def finish_tree(made_of: Recipe, tree: Path) -> None:
    """What the packages' own scripts leave wrong for a tree that many machines share: identity, masks, files."""
    for key in tree.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    for name in ("etc/hostname", "etc/resolv.conf", "var/lib/dbus/machine-id"):
        (tree / name).unlink(missing_ok=True)
    (tree / "etc/machine-id").write_text("")
    units = tree / "etc/systemd/system"
    for unit in made_of.masks:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for file in made_of.files:
        path = tree / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)


def _bootstrap(made_of: Recipe, tree: Path, commands: Commands) -> None:
    sources = image_sources(made_of.suite, mirror=made_of.mirror, host=host_sources())
    argv = (
        # Dies with this process, and takes its children and their mounts along: a killed build leaves only files.
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"),
        f"--include={','.join(made_of.packages)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "info", "locale")),
        *(made_of.suite, str(tree), *sources),
    )
    try:
        commands.run(*argv, seconds=BUILD_SECONDS, environ=_proxy(commands))
    except DriverError as exc:
        place = sources[0].split()[1] if sources else "Debian's default mirror"
        raise DriverError(
            f"image {made_of.name} could not be built from {place}",
            detail=exc.detail,
            hint=exc.hint or "if the mirror cannot be reached from here, name another with `mirror:`",
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


def _clear(directory: Path) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """Build the named images (the default one if none is named) and print the path of each tree."""
    parser = argparse.ArgumentParser(prog="python -m provision_nspawn.image", description=main.__doc__)
    parser.add_argument("image", nargs="*", default=["debian-12"], help=f"one of {', '.join(image_names())}")
    parser.add_argument("--bare", action="store_true", help="without Docker inside")
    parser.add_argument("--mirror", help="a Debian mirror instead of the one of this machine's apt")
    asked = parser.parse_args(argv)
    # Imported here: the privileged module imports this one.
    from provision_nspawn.privileged import call

    try:
        for name in asked.image:
            made_of = {"name": name, "docker": not asked.bare, "mirror": asked.mirror}
            answer = call("build-image", {"data": str(Layout.from_environ(os.environ).data), **made_of})
            sys.stdout.write(f"{answer['tree']}\n")
    except ProvisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
