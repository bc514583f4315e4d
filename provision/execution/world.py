"""All of the outside that a run touches: drivers, state, keys, connections. The only mutable thing in a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provision.driver import Driver, Machine, MachineSpec
from provision.errors import ProvisionError, UnreachableError
from provision.execution.session import Session
from provision.hosts import users_known_hosts
from provision.hosts.connect import Connector
from provision.hosts.host import Host
from provision.hosts.target import target_of
from provision.hosts.trust import Trust
from provision.inventory.cluster import SshSettings
from provision.state.known_hosts import KnownHosts
from provision.state.redact import Redactor
from provision.state.store import Store
from provision.swarm.values import JoinTokens

if TYPE_CHECKING:
    pass


#: machines whose connections a run keeps open. Those of a larger cluster rest between their steps: an open one costs a
#: thread and a file, and wakes ten times a second
OPEN_AT_ONCE = 128


@dataclass(slots=True)
class _Seat:
    """How many steps work on a machine now."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


@dataclass(slots=True)
class World:
    """One cluster's outside. Thread-safe where its methods say nothing else."""

    cluster: str
    drivers: Mapping[str, Driver]
    store: Store
    known_hosts: KnownHosts
    connector: Connector
    ssh: SshSettings
    redactor: Redactor
    #: whether host keys that are accepted are pinned at once; not while only looking
    pins: bool = False
    _accepted: list[tuple[Machine, str]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    machines: dict[str, Machine] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    #: where the managers saw the nodes of machines, for those whose hosts do not answer
    node_addresses: dict[str, str] = field(default_factory=dict)
    #: whether there are more machines than connections to be kept open
    crowded: bool = False
    #: machines that are known to be managers, the best one to ask first
    managers: list[str] = field(default_factory=list)
    _tokens: JoinTokens | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _gates: dict[str, threading.Semaphore] = field(default_factory=dict)
    _api_versions: dict[str, str] = field(default_factory=dict)
    _seats: dict[str, _Seat] = field(default_factory=dict)

    def adopts(self, driver: str) -> bool:
        """Whether machines of a driver exist before us and stay after us."""
        return self.drivers[driver].adopts

    def gate(self, driver: str) -> threading.Semaphore:
        """Lets as many callers at a driver as it takes at once."""
        with self._lock:
            return self._gates.setdefault(driver, threading.Semaphore(self.drivers[driver].parallel))

    def open(
        self,
        machine: Machine,
        *,
        seconds: float,
        images: bool = False,
        spec: MachineSpec | None = None,
        boots: bool = False,
        waiting: Callable[[str], None] = lambda _: None,
        first: Callable[[Host], None] = lambda _: None,
    ) -> Session:
        """Connect to a machine and probe it. One session a machine: an open one is returned as it is.

        `first` is done on the new connection, before the probe.
        """
        known = self.sessions.get(machine.name)
        if known is not None and known.usable:
            known.wake()
            return known
        target = target_of(machine, self.ssh, made=not self.adopts(machine.driver))
        stated = machine.host_keys
        if spec is not None and spec.host is not None and spec.host.host_key:
            stated = (spec.host.host_key,)
        accepted: list[str] = []

        def pin(key: str) -> None:
            accepted.append(key)
            self._pin(machine, key)

        trust = Trust(
            machine=machine.name,
            stated=stated,
            pinned=self.known_hosts.lookup(machine.name),
            users=users_known_hosts.lookup(target.known_hosts, target.alias, target.port),
            revoked=users_known_hosts.revoked(target.known_hosts, target.alias, target.port),
            accept_new=self.ssh.accept_new_host_keys,
            pin=pin,
            pinned_in=str(self.known_hosts.path),
        )
        host = self.connector.connect(
            target, trust, seconds=seconds, boots=boots, stop=self.stop.is_set, waiting=waiting
        )
        try:
            first(host)
            facts = host.probe(images=images)
        except BaseException:
            host.close()
            raise

        def reopen() -> Host:
            # a key that nobody knew before is known now: another one would be a stranger's
            known = replace(trust, pinned=tuple(accepted) or trust.pinned, accept_new=False)
            return self.connector.connect(target, known, seconds=self.ssh.connect_timeout, stop=self.stop.is_set)

        session = Session(host, facts, self._api_versions, reopen=reopen)
        with self._lock:
            self.sessions[machine.name] = session
        return session

    @contextmanager
    def using(self, machine: str) -> Iterator[None]:
        """While a step works on a machine. In a large cluster its connection rests afterwards, unless others ask it as
        a manager."""
        with self._lock:
            seat = self._seats.setdefault(machine, _Seat())
        with seat.lock:
            seat.users += 1
        try:
            yield
        finally:
            with seat.lock:
                seat.users -= 1
                if not seat.users:
                    self.may_rest(machine)

    def may_rest(self, machine: str) -> None:
        """Nobody uses the machine's connection now; in a large cluster it rests."""
        session = self.sessions.get(machine)
        if session is not None and self.crowded and machine not in self.managers and not session.known.node.manager:
            session.rest()

    def session(self, machine: str) -> Session:
        """The open session of a machine. Raises UnreachableError when there is none."""
        found = self.sessions.get(machine)
        if found is None or not found.usable:
            raise UnreachableError(f"{machine}: there is no connection to it", hint="provision up tries it again")
        found.wake()
        return found

    def manager(self) -> Session:
        """A live manager to ask about the swarm, always the same while it lives."""
        for name in list(self.managers):
            session = self.sessions.get(name)
            if session is not None and session.usable:
                try:
                    session.wake()
                except UnreachableError:
                    continue
                return session
        raise ProvisionError(
            "no manager of the swarm answers",
            hint="provision status shows which machines are missing; bring a majority of the managers back",
        )

    def tokens(self) -> JoinTokens:
        """The join tokens, asked for once a run, and never written anywhere."""
        with self._lock:
            if self._tokens is None:
                self.learn(self.manager().engine.swarm().tokens)
            assert self._tokens is not None
            return self._tokens

    def learn(self, tokens: JoinTokens) -> None:
        """The join tokens are known from here on, and kept out of whatever is written."""
        with self._lock:
            self.redactor.add(tokens.worker, tokens.manager)
            self._tokens = tokens

    def add_manager(self, machine: str) -> None:
        """A machine has become a manager."""
        with self._lock:
            if machine not in self.managers:
                self.managers.append(machine)

    def drop_manager(self, machine: str) -> None:
        """A machine is about to be a manager no more; it is not asked from here on."""
        with self._lock:
            if machine in self.managers:
                self.managers.remove(machine)

    def forget(self, machine: str) -> None:
        """A machine is gone: its connection and what we knew of it too."""
        with self._lock:
            session = self.sessions.pop(machine, None)
            self.machines.pop(machine, None)
            if machine in self.managers:
                self.managers.remove(machine)
        if session is not None:
            session.close()
        self.known_hosts.forget(machine)

    def close(self) -> None:
        """Close every connection."""
        for session in list(self.sessions.values()):
            session.close()
        self.connector.close()

    def pin_accepted(self) -> None:
        """Looking is over: pin the host keys that were accepted until now, and each further one at once."""
        self.pins = True
        for machine, key in self._accepted:
            self._pin(machine, key)
        self._accepted.clear()

    def _pin(self, machine: Machine, key: str) -> None:
        if not self.pins:
            self._accepted.append((machine, key))
        else:
            self.known_hosts.pin(machine.name, address=machine.address, port=machine.port, keys=[key])
