"""state.json on disk: one writer at a time, each write durable before it is reported."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from provision.inventory.cluster import SshSettings
from provision.state import document
from provision.state.errors import CorruptStateError, StateError
from provision.state.files import sync_folder, write_atomic
from provision.state.model import ClusterState
from provision.state.paths import ClusterPaths
from provision.state.redact import holds_secret
from provision.state.together import Together

StateChange: TypeAlias = Callable[[ClusterState], ClusterState]


class Store:
    """Reads and writes one cluster's state.json.

    Threads of one run share a Store. Between processes the cluster's lock orders writers
    (`provision.state.lock`); should a run have lost it, its next write is refused instead of undoing the
    other's.
    """

    def __init__(self, paths: ClusterPaths) -> None:
        self._paths = paths
        self._guard = threading.Lock()
        self._seen: tuple[str, int] | None = None
        self._together = Together(self._update)

    def read(self) -> ClusterState | None:
        """The state, or None when the cluster has none.

        Raises CorruptStateError, or StateError when it is too new.
        """
        with self._guard:
            return self._read()

    def create(
        self,
        *,
        inventory: str | None = None,
        drivers: Mapping[str, Mapping[str, Any]] | None = None,
        ssh: SshSettings | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> ClusterState:
        """The state as it is, or a first one, written, with a new lineage. Makes the folders."""
        with self._guard:
            state = self._read()
            if state is not None:
                return state
            self._paths.make()
            return self._write(
                ClusterState(
                    cluster=self._paths.cluster,
                    lineage=str(uuid.uuid4()),
                    created=now(),
                    inventory=inventory,
                    drivers=drivers or {},
                    ssh=ssh or SshSettings(),
                )
            )

    def update(self, change: Callable[[ClusterState], ClusterState]) -> ClusterState:
        """Write what `change` makes of the present state, durable on return; returns it, with its new serial.

        `change` must be quick and must not call this Store. What it raises passes through, and it changes nothing.
        Changes that come at the same moment are written together. Raises StateError when there is no state, or when
        another process wrote since this Store last looked.
        """
        return self._together(change)

    def _update(self, changes: Sequence[StateChange]) -> Sequence[ClusterState | BaseException]:
        with self._guard:
            seen = self._seen
            state = self._read()
            if state is None:
                raise StateError(f"cluster {self._paths.cluster!r} has no state", detail=str(self._paths.state))
            if seen is not None and seen != (state.lineage, state.serial):
                self._seen = seen  # stay refused: this run's view is out of date
                raise StateError(
                    f"the state of cluster {self._paths.cluster!r} was written by another command meanwhile",
                    detail=f"expected serial {seen[1]}, found {state.serial}",
                    hint="was its lock removed by force? run the command again when the other one is done",
                )
            refused: list[BaseException | None] = []
            for change in changes:
                try:
                    state = change(state)
                except Exception as error:  # noqa: BLE001  # the caller's own, which goes back to it
                    refused.append(error)
                else:
                    refused.append(None)
            if None in refused:
                state = self._write(state)
            return [error or state for error in refused]

    def _read(self) -> ClusterState | None:
        path = self._paths.state
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {path}", detail=str(error)) from error
        try:
            state = document.parse(text)
        except document.DocumentError as error:
            raise CorruptStateError(path, str(error), backup=self._sound_backup()) from error
        if state.cluster != self._paths.cluster:
            raise StateError(
                f"{path} is the state of cluster {state.cluster!r}",
                hint="a cluster's folder cannot be renamed; move it back",
            )
        self._seen = (state.lineage, state.serial)
        return state

    def _write(self, state: ClusterState) -> ClusterState:
        state = replace(state, serial=state.serial + 1)
        text = document.serialize(state)
        if holds_secret(text):
            raise StateError(
                f"refusing to write a secret into the state of cluster {state.cluster!r}",
                hint="this is a mistake in provision or in a driver, please report it",
            )
        try:
            self._keep_backup()
            write_atomic(self._paths.state, text.encode())
        except OSError as error:
            raise StateError(f"cannot write {self._paths.state}", detail=str(error)) from error
        self._seen = (state.lineage, state.serial)
        return state

    def _keep_backup(self) -> None:
        # a hard link, so that state.json itself is never absent, not even for a moment
        link = self._paths.folder / ".state.json.bak"
        link.unlink(missing_ok=True)
        try:
            os.link(self._paths.state, link)
        except FileNotFoundError:
            return
        link.replace(self._paths.backup)
        sync_folder(self._paths.folder)

    def _sound_backup(self) -> Path | None:
        try:
            document.parse(self._paths.backup.read_bytes())
        except (OSError, document.DocumentError, StateError):
            return None
        return self._paths.backup
