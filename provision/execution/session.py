"""What is open to one machine: its connection, its last known facts, its engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from provision.hosts.facts import HostFacts
from provision.hosts.host import Host
from provision.swarm.channel import OpenChannel

if TYPE_CHECKING:
    from provision.swarm.engine import Engine


class Session:
    """Usable from several threads. It may rest: then it holds no connection until it is woken."""

    def __init__(
        self,
        host: Host,
        facts: HostFacts,
        api_versions: dict[str, str] | None = None,
        *,
        reopen: Callable[[], Host] | None = None,
    ) -> None:
        """`api_versions`, by engine version, is shared by sessions: one answer serves all engines of that version.
        `reopen` makes a new connection after a rest."""
        self.host = host
        self._reopen = reopen
        self._resting = False
        self._api_versions = {} if api_versions is None else api_versions
        self._facts = facts
        self._stale = False
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def facts(self) -> HostFacts:
        """The host's facts; asked for again after a change."""
        with self._lock:
            if self._stale:
                self._facts = self.host.probe()
                self._stale = False
            return self._facts

    def thoroughly(self) -> HostFacts:
        """The host's facts, asked for again with all that its engine knows of its swarm."""
        with self._lock:
            self._facts, self._stale = self.host.probe(thorough=True), False
            return self._facts

    @property
    def known(self) -> HostFacts:
        """The host's facts as they were last seen; for what no change of ours touches, like its addresses."""
        return self._facts

    def changed(self) -> None:
        """The host was changed: what is known of it no longer counts."""
        self._stale = True

    @property
    def engine(self) -> Engine:
        """The Engine API through this connection, opened at the first use."""
        from provision.swarm.engine import connect_engine

        with self._lock:
            if self._engine is None:
                channels = cast("OpenChannel", self.host.open_engine)  # paramiko's stubs name some arguments otherwise
                version = self._facts.engine.version or ""
                known = self._api_versions.get(version)
                self._engine = connect_engine(self.host.machine, channels, known)
                if version:
                    self._api_versions[version] = self._engine.api_version
            return self._engine

    @property
    def usable(self) -> bool:
        """Whether the connection is open, or rests and may be opened again."""
        return self._resting or self.host.alive

    def rest(self) -> None:
        """Close the connection until `wake`; what is known stays. Nobody may be using it."""
        with self._lock:
            if self._reopen is not None and self.host.alive:
                self.close()
                self._engine, self._resting = None, True

    def wake(self) -> None:
        """Have the connection open again after a rest. Raises what connecting raises."""
        with self._lock:
            if self._resting and self._reopen is not None:
                self.host, self._resting = self._reopen(), False

    def close(self) -> None:
        """Close all of it."""
        if self._engine is not None:
            self._engine.close()
        self.host.close()
