"""image build, pull, ls, rm, load: what machines boot from, and what their engines run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provision.cli import calls
from provision.cli.group import add_family
from provision.cli.options import ClusterOption, FormatOption, NamesOption, Output, OutputOption
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.operations.images import ImageView

_MIB = 1024**2


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_family(app, "image", build, pull, ls, rm, load, help="Build, fetch and remove what machines boot from.")


def build(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="What to build: debian-12 or debian-13.")],
    disk: Annotated[bool, typer.Option("--disk", help="A bootable disk, for virtual machines. The default.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="A tree, for driver nspawn; needs root.")] = False,
    bare: Annotated[bool, typer.Option("--bare", help="Without Docker inside.")] = False,
    archives: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="ARCHIVE", help="Container images (docker save) that a disk brings along."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="A Debian mirror; without one, that of this machine's apt.")
    ] = None,
) -> None:
    """Build an image from packages, unless it is there. Prints its path."""
    from provision.images.build import build_disk, build_tree
    from provision.images.recipes import Kind
    from provision.images.recipes import recipe as find_recipe
    from provision.images.store import own_store
    from provision.operations.images import read_archives

    if disk and tree:
        raise UsageError("an image is a disk or a tree", hint="build one after the other")
    read_archives(archives or ())
    made_of = find_recipe(
        recipe,
        kind=Kind.TREE if tree else Kind.DISK,
        docker=not bare,
        mirror=mirror,
        archives=[path.absolute() for path in archives or ()],
    )
    store = own_store()
    if tree and os.geteuid() != 0:
        raise UsageError("to build a tree, whose files have owners, needs root", hint="sudo provision image build …")
    if store.get(made_of.digest) is None:
        typer.echo(f"{made_of.image_name}: building a {made_of.kind}, which takes a minute or two", err=True)
    if tree:
        typer.echo(str(build_tree(made_of, store)))
    else:
        typer.echo(str(build_disk(made_of, store, say=lambda what: _say(f"{made_of.image_name}: {what}")).path))


def pull(
    url: Annotated[str, typer.Argument(metavar="URL", help="A qcow2 or raw disk: https://, http:// or file://.")],
    sha256: Annotated[str | None, typer.Option(help="What the file must come to, in hex.")] = None,
    sha512: Annotated[str | None, typer.Option(help="The same, where only a SHA-512 is published.")] = None,
    name: Annotated[str | None, typer.Option(help="The image's name; without one, the file's.")] = None,
) -> None:
    """Fetch a distribution's cloud image and verify it. Broken off, it carries on the next time. Prints its path."""
    from provision.images.pull import Checksum
    from provision.images.pull import pull as fetch
    from provision.images.store import own_store

    if (sha256 is None) == (sha512 is None):
        raise UsageError("a disk is fetched only with one checksum", hint="--sha256 HEX, or --sha512 HEX")
    checksum = Checksum.of("sha256", sha256) if sha256 else Checksum.of("sha512", sha512 or "")
    typer.echo(str(fetch(url, checksum, own_store(), name=name, progress=_progress()).path))


def ls(output: OutputOption = Output.TABLE, template: FormatOption = None, quiet: NamesOption = False) -> None:
    """List the images of this machine; of several with one name, the first is the one that it means."""
    from provision.display.table import Column, render
    from provision.operations.images import list_images

    columns = (
        Column("NAME", "name"),
        Column("KIND", "kind"),
        Column("DIGEST", "digest"),
        Column("SIZE", lambda row: _size(row.size)),
        Column("DOCKER", lambda row: "yes" if row.docker else "no"),
        Column("CREATED", "created"),
        Column("MACHINES", lambda row: len(row.machines)),
    )
    wide = (Column("VIRTUAL", lambda row: _size(row.virtual_size)), Column("SOURCE", "source"), Column("PATH", "path"))
    rows = list_images(calls.place())
    typer.echo(render(rows, columns, wide, output="name" if quiet else output, template=template), nl=False)


def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME|DIGEST…", help="Images, or the beginning of a digest.")],
) -> None:
    """Remove images from this machine. Those that machines stand on stay."""
    from provision.operations.images import remove_images

    for image in remove_images(calls.place(), names):
        typer.echo(f"{_label(image)}: removed")


def load(
    archives: Annotated[list[Path], typer.Argument(metavar="ARCHIVE…", help="Archives of `docker save`, or OCI's.")],
    cluster: ClusterOption = None,
) -> None:
    """Load container images onto every node of a cluster whose engine lacks them."""
    from provision.cli.selection import select
    from provision.operations.images import load_onto_nodes

    where = calls.place()
    failed = False
    for loaded in load_onto_nodes(where, select(where, None, cluster).name, archives):
        failed = failed or bool(loaded.error)
        typer.echo(f"{loaded.machine}: {loaded.error or loaded.note}", err=bool(loaded.error))
    if failed:
        raise typer.Exit(1)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _progress() -> Callable[[int, int | None], None]:
    """Tells how far a download is, on a terminal in place, elsewhere at its end."""
    terminal = sys.stderr.isatty()
    shown = -1

    def show(here: int, total: int | None) -> None:
        nonlocal shown
        done = here // _MIB
        end = here == total
        if done == shown and not end:
            return
        shown = done
        text = f"{done} of {total // _MIB} MiB" if total else f"{done} MiB"
        if terminal:
            typer.echo(f"\r{text}", nl=end, err=True)
        elif end:
            typer.echo(text, err=True)

    return show


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / _MIB:.0f} MiB"


def _label(image: ImageView) -> str:
    return image.name if image.name == image.digest else f"{image.name} ({image.digest})"
