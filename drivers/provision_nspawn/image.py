"""Build the trees that machines boot from: `python -m provision_nspawn.image [debian-12 …] [--bare] [--mirror URL]`.

The same as `provision image build --tree`, but as any user who may use sudo.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from provision.errors import ProvisionError
from provision.images.build import build_tree
from provision.images.recipes import Recipe, recipe_names
from provision.images.store import Store
from provision_nspawn.layout import Layout


def build_image(made_of: Recipe, layout: Layout) -> Path:
    """The image's tree, built if it is not there; root only. Raises DriverError."""
    return build_tree(made_of, Store(layout.data))


def main(argv: Sequence[str] | None = None) -> int:
    """Build the named images (the default one if none is named) and print the path of each tree."""
    parser = argparse.ArgumentParser(prog="python -m provision_nspawn.image", description=main.__doc__)
    parser.add_argument("image", nargs="*", default=["debian-12"], help=f"one of {', '.join(recipe_names())}")
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
