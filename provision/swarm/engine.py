"""One machine's Docker Engine: its node, its swarm, its services. Nothing else speaks to the Engine API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from provision.errors import DeadlineError
from provision.swarm import parse
from provision.swarm.channel import OpenChannel
from provision.swarm.errors import EngineRefusedError, JoinError
from provision.swarm.translate import translated
from provision.swarm.transport import EngineClient, as_data
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
    """The engine of a machine through channels of its SSH connection, asked for its version where that is None."""
    with translated(machine, "connect to the engine"):
        return Engine(machine, EngineClient(open_channel, api_version))


class Engine:
    """Typed calls to one engine. Each is one request unless it says otherwise; they fail with `EngineError`.

    `EngineRefusedError` carries the engine's answer; `EngineUnavailableError` means there was none. Calls
    that ask about the swarm need a manager. May be shared by threads. A context manager; `close` leaves the
    SSH connection.
    """

    def __init__(self, machine: str, client: EngineClient) -> None:
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
        return self._client.api_version

    # --- membership ---

    def info(self) -> EngineInfo:
        """What the engine says of itself; works on any engine, member or not."""
        with translated(self.machine, "ask the engine for its state"):
            return parse.engine_info(self._client.get("info"))

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
        body = {
            "AdvertiseAddr": advertise,
            "ListenAddr": listen,
            "DataPathAddr": data_path,
            "DataPathPort": data_path_port,
            "DefaultAddrPool": networks,
            "SubnetSize": subnet_size if networks else None,
            "Spec": spec,
        }
        with translated(self.machine, "start a swarm"):
            node_id: str = self._client.post("swarm", "init", body=_without_none(body))
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
        body = {
            "RemoteAddrs": list(remote_addrs),
            "JoinToken": token,
            "ListenAddr": listen,
            "AdvertiseAddr": advertise,
            "DataPathAddr": data_path,
        }
        try:
            with translated(self.machine, "join the swarm"):
                self._client.post("swarm", "join", body=_without_none(body))
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
                self._client.post("swarm", "leave", force=force)
        except EngineRefusedError as exc:
            if "not part of a swarm" not in exc.message:
                raise

    def swarm(self) -> SwarmIdentity:
        """The swarm's id, and the tokens that let machines join."""
        with translated(self.machine, "read the join tokens"):
            found = self._client.get("swarm")
            tokens = JoinTokens(worker=found["JoinTokens"]["Worker"], manager=found["JoinTokens"]["Manager"])
            return SwarmIdentity(found["ID"], tokens)

    def unlock_key(self) -> str:
        """The key that unlocks a restarted manager; empty when autolock is off. A secret."""
        with translated(self.machine, "read the unlock key"):
            return str(self._client.get("swarm", "unlockkey").get("UnlockKey") or "")

    def unlock(self, key: str) -> None:
        """Unlock this manager after its restart."""
        with translated(self.machine, "unlock the swarm"):
            self._client.post("swarm", "unlock", body={"UnlockKey": key})

    # --- nodes ---

    def nodes(self) -> tuple[Node, ...]:
        """Every member that the swarm knows, those that are down too."""
        with translated(self.machine, "list the nodes"):
            return tuple(parse.node(item) for item in self._client.get("nodes"))

    def node(self, node_id: str) -> Node:
        """One member. Refused with status 404 when the managers do not know it."""
        with translated(self.machine, f"inspect node {node_id}"):
            return parse.node(self._client.get("nodes", node_id))

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
                    self._client.post(
                        "nodes", node_id, "update", body=parse.node_spec_document(new), version=node.version
                    )
            except EngineRefusedError as exc:
                if _OUT_OF_SEQUENCE not in exc.message or attempt == UPDATE_TRIES:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def remove_node(self, node_id: str, *, force: bool = False) -> None:
        """Take a node off the list; already gone is success. One that is not down goes only by `force`."""
        self._gone_is_fine(f"remove node {node_id}", lambda: self._client.delete("nodes", node_id, force=force))

    # --- services ---

    def services(self, *, stack: str | None = None) -> tuple[Service, ...]:
        """All services, or those of one stack. One request; before API 1.41 a second one, for their tasks."""
        filters = _filters(stack)
        with translated(self.machine, "list the services"):
            if _number(self.api_version) >= _number(SERVICE_STATUS_API):
                return tuple(parse.service(item) for item in self._client.get("services", status=True, **filters))
            items = self._client.get("services", **filters)
        tasks = self.tasks(stack=stack)
        return tuple(parse.service(item, [task for task in tasks if task.service_id == item["ID"]]) for item in items)

    def tasks(self, *, stack: str | None = None, service: str | None = None) -> tuple[Task, ...]:
        """Tasks, history included: all, of a stack, or of a service (name or id)."""
        filters = _filters(stack) if service is None else _filters(stack, service=service)
        with translated(self.machine, "list the tasks"):
            return tuple(parse.task(item) for item in self._client.get("tasks", **filters))

    # --- what stacks leave in the swarm ---

    def networks(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        """Networks that this engine knows, or those of one stack."""
        with translated(self.machine, "list the networks"):
            return tuple(parse.network(item) for item in self._client.get("networks", **_filters(stack)))

    def secrets(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        """The swarm's secrets (their names, never their data), or those of one stack."""
        with translated(self.machine, "list the secrets"):
            return tuple(parse.secret(item) for item in self._client.get("secrets", **_filters(stack)))

    def configs(self, *, stack: str | None = None) -> tuple[SwarmConfig, ...]:
        """The swarm's configs with their data, or those of one stack."""
        with translated(self.machine, "list the configs"):
            return tuple(parse.config(item) for item in self._client.get("configs", **_filters(stack)))

    def create_config(self, name: str, labels: Mapping[str, str], data: bytes) -> str:
        """Make a config; returns its id. Refused with status 409 when the name is taken."""
        with translated(self.machine, f"create config {name}"):
            body = {"Name": name, "Labels": dict(labels), "Data": as_data(data)}
            answer = self._client.post("configs", "create", body=body)
            return str(answer["ID"])

    def remove_config(self, config_id: str) -> None:
        """Remove a config; already gone is success. Refused (400) while a service uses it."""
        self._gone_is_fine(f"remove config {config_id}", lambda: self._client.delete("configs", config_id))

    def remove_secret(self, secret_id: str) -> None:
        """Remove a secret; already gone is success. Refused (400) while a service uses it."""
        self._gone_is_fine(f"remove secret {secret_id}", lambda: self._client.delete("secrets", secret_id))

    # --- images ---

    def image_ids(self) -> frozenset[str]:
        """The ids (`sha256:…`) of the images on this machine."""
        with translated(self.machine, "list the images"):
            return frozenset(str(item["Id"]) for item in self._client.get("images", "json"))

    def image_tags(self) -> Mapping[str, str]:
        """The image id that each tag (`name:tag`) on this machine points to."""
        with translated(self.machine, "list the images"):
            images = self._client.get("images", "json")
        return {str(tag): str(item["Id"]) for item in images for tag in item.get("RepoTags") or ()}

    def load_image(self, archive: Path) -> tuple[str, ...]:
        """Stream an archive of `docker save` (plain, or compressed as the engine reads it) to this machine.

        Returns the tags and ids that the engine says it loaded. The file is never held in memory.
        """
        loaded: list[str] = []
        with (
            translated(self.machine, f"load {archive.name}"),
            archive.open("rb") as data,
            self._client.upload("images", "load", data=data, timeout=LOAD_TIMEOUT) as response,
        ):
            for line in response:
                message = json.loads(line) if line.strip() else {}
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


def _filters(stack: str | None = None, **more: str) -> dict[str, str]:
    """The `filters` of a list, as the API wants them: JSON in the query."""
    wanted = {key: [value] for key, value in more.items()}
    if stack is not None:
        wanted["label"] = [f"{parse.NAMESPACE_LABEL}={stack}"]
    return {"filters": json.dumps(wanted)} if wanted else {}


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
