"""What can be wrong with the state on disk."""

from __future__ import annotations

import shlex
from pathlib import Path

from provision.errors import ProvisionError


class StateError(ProvisionError):
    """The state of a cluster cannot be read or written as it is."""


class CorruptStateError(StateError):
    """A state file is cut off or is not what it should be. The hint names the backup where there is one."""

    def __init__(self, path: Path, cause: str, *, backup: Path | None) -> None:
        if backup is None:
            hint = "no backup of it exists; remove the file, and the next run finds the machines by their tags"
        else:
            hint = (
                "the state before the last write is kept; to go back to it: "
                f"cp {shlex.quote(str(backup))} {shlex.quote(str(path))}"
            )
        super().__init__(f"{path} is damaged", detail=cause, hint=hint)
        self.path = path
        self.backup = backup
