"""The Engine API's JSON turned into our values. Pure; a field that is absent gets its Go zero value."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from provision.driver import Role
from provision.inventory.cluster import Availability
from provision.swarm.values import EngineInfo, Node, NodeSpec, Service, SwarmConfig, SwarmObject, Task

Json: TypeAlias = Mapping[str, Any]

NAMESPACE_LABEL = "com.docker.stack.namespace"
_MODES = {
    "Replicated": "replicated",
    "Global": "global",
    "ReplicatedJob": "replicated-job",
    "GlobalJob": "global-job",
}


def digest(value: object) -> str:
    """SHA-256, in hex, of a JSON value written in one canonical way."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def engine_info(data: Json) -> EngineInfo:
    """From `GET /info`."""
    swarm = _map(data, "Swarm")
    return EngineInfo(
        name=_str(data, "Name"),
        server_version=_str(data, "ServerVersion"),
        node_id=_str(swarm, "NodeID"),
        node_address=_str(swarm, "NodeAddr"),
        cluster_id=_str(_map(swarm, "Cluster"), "ID"),
        local_node_state=_str(swarm, "LocalNodeState") or "inactive",
        control_available=bool(swarm.get("ControlAvailable")),
        error=_str(swarm, "Error"),
        nodes=_int(swarm, "Nodes"),
        managers=_int(swarm, "Managers"),
        remote_managers=tuple(_str(peer, "Addr") for peer in _list(swarm, "RemoteManagers")),
    )


def node_spec(spec: Json) -> NodeSpec:
    """From the `Spec` of a node."""
    return NodeSpec(
        role=Role(_str(spec, "Role")),
        availability=Availability(_str(spec, "Availability")),
        labels=dict(_map(spec, "Labels")),
        name=_str(spec, "Name"),
    )


def node_spec_document(spec: NodeSpec) -> dict[str, Any]:
    """The whole `Spec` of a node, as an update sends it."""
    return {
        "Name": spec.name,
        "Role": str(spec.role),
        "Availability": str(spec.availability),
        "Labels": dict(spec.labels),
    }


def node(data: Json) -> Node:
    """From an element of `GET /nodes`, or `GET /nodes/{id}`."""
    status, manager, description = (
        _map(data, "Status"),
        _map(data, "ManagerStatus"),
        _map(data, "Description"),
    )
    return Node(
        id=_str(data, "ID"),
        version=version(data),
        hostname=_str(description, "Hostname"),
        spec=node_spec(_map(data, "Spec")),
        state=_str(status, "State"),
        address=_str(status, "Addr"),
        message=_str(status, "Message"),
        leader=bool(manager.get("Leader")),
        reachability=_str(manager, "Reachability"),
        manager_address=_str(manager, "Addr"),
        engine_version=_str(_map(description, "Engine"), "EngineVersion"),
    )


def version(data: Json) -> int:
    """The version index that an update must name."""
    return _int(_map(data, "Version"), "Index")


def service(data: Json, tasks: Sequence[Task] = ()) -> Service:
    """From an element of `GET /services`; `tasks` are its own, needed where that has no `ServiceStatus`."""
    spec, status, update = _map(data, "Spec"), _map(data, "ServiceStatus"), _map(data, "UpdateStatus")
    template = _map(spec, "TaskTemplate")
    mode, replicas = _mode(_map(spec, "Mode"))
    iteration = _iteration(_map(data, "JobStatus"))
    used = (template, _map(_map(data, "PreviousSpec"), "TaskTemplate"))
    return Service(
        id=_str(data, "ID"),
        name=_str(spec, "Name"),
        stack=_str(_map(spec, "Labels"), NAMESPACE_LABEL),
        mode=mode,
        running=_int(status, "RunningTasks") if status else _count(tasks, state="running"),
        desired=replicas if replicas is not None else _desired(status, tasks),
        completed=_int(status, "CompletedTasks") if status else _count(tasks, state="complete"),
        image=_str(_map(template, "ContainerSpec"), "Image"),
        spec_digest=digest(spec),
        task_digest=_task_digest(template),
        update_state=_str(update, "State"),
        update_message=_str(update, "Message"),
        job_iteration=iteration,
        configs=_references(used, "Configs", "ConfigID"),
        secrets=_references(used, "Secrets", "SecretID"),
    )


def task(data: Json) -> Task:
    """From an element of `GET /tasks`."""
    status = _map(data, "Status")
    return Task(
        id=_str(data, "ID"),
        service_id=_str(data, "ServiceID"),
        node_id=_str(data, "NodeID"),
        slot=_int(data, "Slot"),
        state=_str(status, "State"),
        desired_state=_str(data, "DesiredState"),
        message=_str(status, "Message"),
        error=_str(status, "Err"),
        timestamp=_str(status, "Timestamp"),
        created=_str(data, "CreatedAt"),
        updated=_str(data, "UpdatedAt"),
        task_digest=_task_digest(_map(data, "Spec")),
        job_iteration=_iteration(data),
    )


def network(data: Json) -> SwarmObject:
    """From an element of `GET /networks`."""
    return SwarmObject(
        id=_str(data, "Id"),
        name=_str(data, "Name"),
        labels=dict(_map(data, "Labels")),
        created=_str(data, "Created"),
    )


def secret(data: Json) -> SwarmObject:
    """From an element of `GET /secrets`; the API never sends a secret's data."""
    spec = _map(data, "Spec")
    return SwarmObject(
        id=_str(data, "ID"),
        name=_str(spec, "Name"),
        labels=dict(_map(spec, "Labels")),
        created=_str(data, "CreatedAt"),
    )


def config(data: Json) -> SwarmConfig:
    """From an element of `GET /configs`."""
    spec = _map(data, "Spec")
    return SwarmConfig(
        id=_str(data, "ID"),
        name=_str(spec, "Name"),
        labels=dict(_map(spec, "Labels")),
        created=_str(data, "CreatedAt"),
        data=base64.b64decode(_str(spec, "Data")),
    )


def _mode(mode: Json) -> tuple[str, int | None]:
    for key, name in _MODES.items():
        if key in mode:
            body = _map(mode, key)
            if key == "Replicated":
                return name, int(body.get("Replicas", 1))
            if key == "ReplicatedJob":
                return name, int(body.get("TotalCompletions", body.get("MaxConcurrent", 1)))
            return name, None
    return "replicated", 1


def _desired(status: Json, tasks: Sequence[Task]) -> int:
    """Global services want as many tasks as there are eligible nodes, which only Swarm's own tasks tell."""
    return _int(status, "DesiredTasks") if status else sum(task.desired_state == "running" for task in tasks)


def _count(tasks: Sequence[Task], *, state: str) -> int:
    return sum(task.state == state for task in tasks)


def _task_digest(template: Json) -> str:
    """Equal for a service and its tasks; only the service's side says which runtime, and only by its default."""
    return digest({key: value for key, value in template.items() if key != "Runtime"})


def _references(templates: Sequence[Json], kind: str, key: str) -> frozenset[str]:
    containers = [_map(template, "ContainerSpec") for template in templates]
    return frozenset(_str(reference, key) for container in containers for reference in _list(container, kind))


def _iteration(data: Json) -> int | None:
    iteration = data.get("JobIteration")
    return None if not iteration else _int(iteration, "Index")


def _map(data: Json, key: str) -> Json:
    value: Json = data.get(key) or {}
    return value


def _list(data: Json, key: str) -> Sequence[Any]:
    value: Sequence[Any] = data.get(key) or ()
    return value


def _str(data: Json, key: str) -> str:
    return str(data.get(key) or "")


def _int(data: Json, key: str) -> int:
    return int(data.get(key) or 0)
