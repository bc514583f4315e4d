"""The part of a disk's building that must be root, or in a user namespace: `python -m provision.images.inside`.

Reads what to build as JSON from standard input, and prints a JSON object a line: what it does, then `done` or `error`.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError
from provision.images.disk import make_disk
from provision.images.recipes import Kind, recipe
from provision.images.store import Store, clear
from provision.local.commands import Commands


def main() -> int:
    """Build one disk. Whatever ends it, its tree is removed, whose files only this side may remove."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = json.load(sys.stdin)
    folder = Path(asked["folder"])
    made = False
    try:
        _build(asked, folder)
        made = True
        _tell(done=True)
    except ProvisionError as error:
        _tell(error={"summary": error.summary, "detail": error.detail, "hint": error.hint})
    except OSError as error:
        _tell(error={"summary": f"the disk could not be built: {error}", "detail": "", "hint": ""})
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one must not keep this from being tidy
            signal.signal(number, signal.SIG_IGN)
        if not made:
            clear(folder)
    return 0 if made else 1


def _build(asked: dict[str, Any], folder: Path) -> None:
    archives = [Path(path) for path in asked["archives"]]
    made_of = recipe(**asked["recipe"], kind=Kind.DISK, archives=archives)
    Store(Path(asked["data"])).sweep()
    clear(folder)
    make_disk(made_of, folder, Commands((asked["held"],)), say=lambda text: _tell(say=text))


def _tell(**what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
