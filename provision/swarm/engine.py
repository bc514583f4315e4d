"""One machine's Docker Engine: its node, its swarm, its services. Nothing else calls the docker SDK."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
from docker.utils import version_lt

from provision.errors import DeadlineError
from provision.swarm import parse
from provision.swarm.channel import OpenChannel
from provision.swarm.errors import EngineRefusedError, JoinError
from provision.swarm.translate import translated
from provision.swarm.transport import engine_client
from provision.swarm.values import (
    EngineInfo,
    JoinTokens,
    Node,
    NodeSpec,
    Service,
    SwarmConfig,
    SwarmIdentity,
    SwarmObject,
    Task,
)

LISTEN = "0.0.0.0:2377"
#: The first API version whose list of services says how many tasks run.
SERVICE_STATUS_API = "1.41"
#: Seconds in which a load must show some progress; unpacking a big layer on a slow disk is silent.
LOAD_TIMEOUT = 600.0
#: How often a node's update is tried again when someone else changed the node in between.
UPDATE_TRIES = 5
_JOIN_GOES_ON = "continue in the background"
_OUT_OF_SEQUENCE = "out of sequence"


def connect_engine(machine: str, open_channel: OpenChannel, api_version: str | None = None) -> Engine:
    """The engine of a machine through channels of its SSH connection, as `engine_client` makes them."""
    with translated(machine, "connect to the engine"):
        return Engine(machine, engine_client(open_channel, api_version))


class Engine:
    """Typed calls to one engine. Each is one request unless it says otherwise; they fail with `EngineError`.

    `EngineRefusedError` carries the engine's answer; `EngineUnavailableError` means there was none. Calls
    that ask about the swarm need a manager. May be shared by threads. A context manager; `close` leaves the
    SSH connection.
    """

    def __init__(self, machine: str, client: docker.APIClient) -> None:
        self.machine = machine
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the channels. A later call would open new ones."""
        self._client.close()

    @property
    def api_version(self) -> str:
        """The version that calls are made in."""
        return str(self._client._version)

    # --- membership ---

    def info(self) -> EngineInfo:
        """What the engine says of itself; works on any engine, member or not."""
        with translated(self.machine, "ask the engine for its state"):
            return parse.engine_info(self._client.info())

    def swarm_init(
        self,
        *,
        advertise: str | None = None,
        data_path: str | None = None,
        data_path_port: int | None = None,
        listen: str = LISTEN,
        pools: Iterable[str] = (),
        subnet_size: int | None = None,
        task_history: int | None = None,
        autolock: bool = False,
    ) -> str:
        """Make a swarm of this engine alone; returns its node id. Addresses may name an interface.

        `subnet_size` (bits) counts only with `pools`. Refused with status 503 on a node that is in a swarm
        already.
        """
        spec: dict[str, Any] = {}
        if task_history is not None:
            spec["Orchestration"] = {"TaskHistoryRetentionLimit": task_history}
        if autolock:
            spec["EncryptionConfig"] = {"AutoLockManagers": True}
        networks = list(pools) or None
        with translated(self.machine, "start a swarm"):
            node_id: str = self._client.init_swarm(
                advertise_addr=advertise,
                listen_addr=listen,
                data_path_addr=data_path,
                data_path_port=data_path_port,
                default_addr_pool=networks,
                subnet_size=subnet_size if networks else None,
                swarm_spec=spec,
            )
            return node_id

    def swarm_join(
        self,
        remote_addrs: Iterable[str],
        token: str,
        *,
        advertise: str | None = None,
        data_path: str | None = None,
        listen: str = LISTEN,
        timeout: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> EngineInfo:
        """Join the swarm that one of `remote_addrs` (`address:port`) manages; the token decides the role.

        Returns, when the node is active, what the engine says of itself then. Where the engine gives up waiting and
        goes on by itself, its state is asked for until `timeout` seconds after the call: `JoinError` when it says no,
        `DeadlineError` when it says nothing.
        """
        start = clock()
        try:
            with translated(self.machine, "join the swarm"):
                self._client.join_swarm(
                    list(remote_addrs),
                    token,
                    listen_addr=listen,
                    advertise_addr=advertise,
                    data_path_addr=data_path,
                )
        except EngineRefusedError as exc:
            if _JOIN_GOES_ON not in exc.message:
                raise
        while not (info := self.info()).is_member:
            cause = info.error or f"the node is {info.local_node_state}"
            if info.local_node_state not in ("pending", "active"):
                raise JoinError(self.machine, "join the swarm", cause)
            if clock() - start >= timeout:
                raise DeadlineError(
                    f"{self.machine}: joining the swarm",
                    timeout,
                    cause,
                    hint="can this machine reach the managers' port 2377/tcp?",
                )
            sleep(0.5)
        return info

    def leave(self, *, force: bool = False) -> None:
        """Leave the swarm; being in none is success. A manager leaves only by `force`."""
        try:
            with translated(self.machine, "leave the swarm"):
                self._client.leave_swarm(force=force)
        except EngineRefusedError as exc:
            if "not part of a swarm" not in exc.message:
                raise

    def swarm(self) -> SwarmIdentity:
        """The swarm's id, and the tokens that let machines join."""
        with translated(self.machine, "read the join tokens"):
            found = self._client.inspect_swarm()
            tokens = JoinTokens(worker=found["JoinTokens"]["Worker"], manager=found["JoinTokens"]["Manager"])
            return SwarmIdentity(found["ID"], tokens)

    def unlock_key(self) -> str:
        """The key that unlocks a restarted manager; empty when autolock is off. A secret."""
        with translated(self.machine, "read the unlock key"):
            return str(self._client.get_unlock_key().get("UnlockKey") or "")

    def unlock(self, key: str) -> None:
        """Unlock this manager after its restart."""
        with translated(self.machine, "unlock the swarm"):
            self._client.unlock_swarm(key)

    # --- nodes ---

    def nodes(self) -> tuple[Node, ...]:
        """Every member that the swarm knows, those that are down too."""
        with translated(self.machine, "list the nodes"):
            return tuple(parse.node(item) for item in self._client.nodes())

    def node(self, node_id: str) -> Node:
        """One member. Refused with status 404 when the managers do not know it."""
        with translated(self.machine, f"inspect node {node_id}"):
            return parse.node(self._client.inspect_node(node_id))

    def update_node(self, node_id: str, change: Callable[[NodeSpec], NodeSpec], *, seen: Node | None = None) -> bool:
        """Make a node what `change` makes of its present spec; False when that is what it was.

        `seen` is how the managers listed it a moment ago, which saves a request. `change` may be called again with a
        newer spec, when someone else changes the node at the same time.
        """
        for attempt in range(1, UPDATE_TRIES + 1):
            node = seen if seen is not None and attempt == 1 else self.node(node_id)
            new = change(node.spec)
            if new == node.spec:
                return False
            try:
                with translated(self.machine, f"update node {node_id}"):
                    self._client.update_node(node_id, node.version, parse.node_spec_document(new))
            except EngineRefusedError as exc:
                if _OUT_OF_SEQUENCE not in exc.message or attempt == UPDATE_TRIES:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def remove_node(self, node_id: str, *, force: bool = False) -> None:
        """Take a node off the list; already gone is success. One that is not down goes only by `force`."""
        self._gone_is_fine(f"remove node {node_id}", lambda: self._client.remove_node(node_id, force=force))

    # --- services ---

    def services(self, *, stack: str | None = None) -> tuple[Service, ...]:
        """All services, or those of one stack. One request; before API 1.41 a second one, for their tasks."""
        filters = _namespace(stack)
        with translated(self.machine, "list the services"):
            if not version_lt(self.api_version, SERVICE_STATUS_API):
                return tuple(parse.service(item) for item in self._client.services(filters=filters, status=True))
            items = self._client.services(filters=filters)
        tasks = self.tasks(stack=stack)
        return tuple(parse.service(item, [task for task in tasks if task.service_id == item["ID"]]) for item in items)

    def tasks(self, *, stack: str | None = None, service: str | None = None) -> tuple[Task, ...]:
        """Tasks, history included: all, of a stack, or of a service (name or id)."""
        filters = _namespace(stack)
        if service is not None:
            filters["service"] = service
        with translated(self.machine, "list the tasks"):
            return tuple(parse.task(item) for item in self._client.tasks(filters=filters))

    # --- what stacks leave in the swarm ---

    def networks(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        """Networks that this engine knows, or those of one stack."""
        with translated(self.machine, "list the networks"):
            return tuple(parse.network(item) for item in self._client.networks(filters=_namespace(stack)))

    def secrets(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        """The swarm's secrets (their names, never their data), or those of one stack."""
        with translated(self.machine, "list the secrets"):
            return tuple(parse.secret(item) for item in self._client.secrets(filters=_namespace(stack)))

    def configs(self, *, stack: str | None = None) -> tuple[SwarmConfig, ...]:
        """The swarm's configs with their data, or those of one stack."""
        with translated(self.machine, "list the configs"):
            return tuple(parse.config(item) for item in self._client.configs(filters=_namespace(stack)))

    def create_config(self, name: str, labels: Mapping[str, str], data: bytes) -> str:
        """Make a config; returns its id. Refused with status 409 when the name is taken."""
        with translated(self.machine, f"create config {name}"):
            answer = self._client.create_config(name, data, labels=dict(labels))
            return str(answer["ID"])

    def remove_config(self, config_id: str) -> None:
        """Remove a config; already gone is success. Refused (400) while a service uses it."""
        self._gone_is_fine(f"remove config {config_id}", lambda: self._client.remove_config(config_id))

    def remove_secret(self, secret_id: str) -> None:
        """Remove a secret; already gone is success. Refused (400) while a service uses it."""
        self._gone_is_fine(f"remove secret {secret_id}", lambda: self._client.remove_secret(secret_id))

    # --- images ---

    def image_ids(self) -> frozenset[str]:
        """The ids (`sha256:…`) of the images on this machine."""
        with translated(self.machine, "list the images"):
            return frozenset(str(item["Id"]) for item in self._client.images())

    def image_tags(self) -> Mapping[str, str]:
        """The image id that each tag (`name:tag`) on this machine points to."""
        with translated(self.machine, "list the images"):
            images = self._client.images()
        return {str(tag): str(item["Id"]) for item in images for tag in item.get("RepoTags") or ()}

    def load_image(self, archive: Path) -> tuple[str, ...]:
        """Stream an archive of `docker save` (plain, or compressed as the engine reads it) to this machine.

        Returns the tags and ids that the engine says it loaded. The file is never held in memory.
        """
        loaded: list[str] = []
        with translated(self.machine, f"load {archive.name}"), archive.open("rb") as data:
            # by hand: the SDK's load_image reads the answer without looking at its status
            response = self._client._post(
                self._client._url("/images/load"), data=data, stream=True, timeout=LOAD_TIMEOUT
            )
            self._client._raise_for_status(response)
            for line in response.iter_lines():
                message = json.loads(line) if line else {}
                if "error" in message:
                    raise EngineRefusedError(self.machine, f"load {archive.name}", 200, str(message["error"]))
                text = str(message.get("stream", "")).strip()
                if text.startswith("Loaded image"):
                    loaded.append(text.partition(": ")[2])
        return tuple(loaded)

    def _gone_is_fine(self, what: str, call: Callable[[], object]) -> None:
        try:
            with translated(self.machine, what):
                call()
        except EngineRefusedError as exc:
            if exc.status != 404:
                raise


def _namespace(stack: str | None) -> dict[str, str]:
    return {} if stack is None else {"label": f"{parse.NAMESPACE_LABEL}={stack}"}
