"""Where a cluster's state lives on this machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.errors import UsageError
from provision.state.errors import StateError

#: one folder name, so that no cluster's name can lead out of the state folder
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ClusterPaths:
    """The files of one cluster. Nothing exists until `make`; folders are 0700, files 0600."""

    root: Path
    cluster: str

    def __post_init__(self) -> None:
        """Raise UsageError for a name that is no folder's."""
        if not _NAME.fullmatch(self.cluster):
            raise UsageError(
                f"{self.cluster!r} is not a cluster's name",
                hint="a name is made of letters, digits, '-', '_' and '.', and starts with a letter or digit",
            )

    @property
    def folder(self) -> Path:
        """Holds everything that this machine knows of the cluster."""
        return self.root / self.cluster

    @property
    def state(self) -> Path:
        """`state.json`; the cluster exists for this machine when it does."""
        return self.folder / "state.json"

    @property
    def backup(self) -> Path:
        """`state.json` as it was before the last write."""
        return self.folder / "state.json.bak"

    @property
    def private_key(self) -> Path:
        """The cluster's SSH key."""
        return self.folder / "id_ed25519"

    @property
    def public_key(self) -> Path:
        """The public half of the cluster's SSH key."""
        return self.folder / "id_ed25519.pub"

    @property
    def known_hosts(self) -> Path:
        """The host keys of the cluster's machines, OpenSSH's format."""
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """What the user's own ssh config includes."""
        return self.folder / "ssh_config"

    @property
    def lock(self) -> Path:
        """Held, with flock, by the command that works on the cluster."""
        return self.folder / "lock"

    @property
    def logs(self) -> Path:
        """One debug log for each run."""
        return self.folder / "logs"

    @property
    def history(self) -> Path:
        """One line for each run."""
        return self.folder / "history.jsonl"

    def make(self) -> None:
        """Create the folders that are missing, and close those that are too open.

        Idempotent. Raises StateError.
        """
        try:
            self._make()
        except OSError as error:
            raise StateError(f"cannot make the folder {self.folder}", detail=str(error)) from error

    def remove(self) -> None:
        """Remove all of it, keys and logs too, and the root with its last cluster.

        Already gone is success. Raises StateError when something cannot be removed.
        """
        try:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            if self.root.is_dir() and not any(self.root.iterdir()):
                self.root.rmdir()
        except OSError as error:
            raise StateError(f"cannot remove {self.folder}", detail=str(error)) from error

    def _make(self) -> None:
        for folder in (self.folder, self.logs):
            for attempt in range(_ATTEMPTS):
                try:
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    break
                except FileNotFoundError:
                    # another command that ends removes its empty folders, perhaps just above this one
                    if attempt == _ATTEMPTS - 1:
                        raise
        for folder in (self.root, self.folder, self.logs):
            if folder.stat().st_mode & 0o077:
                folder.chmod(0o700)


def state_root(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/provision`, or `~/.local/state/provision`.

    A relative XDG_STATE_HOME counts as unset.
    """
    configured = environ.get("XDG_STATE_HOME", "")
    if configured and Path(configured).is_absolute():
        return Path(configured) / "provision"
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".local" / "state" / "provision"


def clusters(root: Path) -> tuple[str, ...]:
    """The names of the clusters that have a state.json under `root`, sorted.

    Also those whose state is damaged.
    """
    if not root.is_dir():
        return ()
    return tuple(
        sorted(
            entry.name for entry in root.iterdir() if _NAME.fullmatch(entry.name) and (entry / "state.json").exists()
        )
    )
