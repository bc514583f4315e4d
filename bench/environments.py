"""The virtual environments of the tools that provision is measured against: pinned, and made once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent

#: below the repository, and ignored by git
DEFAULT_FOLDER = _HERE.parent / ".bench"


def environment(tool: str, folder: Path = DEFAULT_FOLDER) -> Path:
    """The `bin` folder of the tool's environment, with exactly what bench/constraints-TOOL.txt lists inside.

    Made at the first call, which needs the package index that pip is configured for, and again when the list or the
    Python has changed. Raises subprocess.CalledProcessError when pip fails; nothing half made is used later.
    """
    pins = _HERE / f"constraints-{tool}.txt"
    made_of = hashlib.sha256(f"{sys.version}\n{pins.read_text()}".encode()).hexdigest()
    home = folder.resolve() / tool
    mark = home / ".made-of"
    if not mark.exists() or mark.read_text() != made_of:
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run((sys.executable, "-m", "venv", str(home)), check=True)
        pip = (str(home / "bin" / "pip"), "install", "--quiet", "--no-deps", "--requirement", str(pins))
        subprocess.run(pip, check=True)
        mark.write_text(made_of)
    return home / "bin"
