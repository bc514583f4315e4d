"""state.json as text: strict about what we know, keeping what we do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from provision.driver import Role
from provision.inventory.cluster import SshSettings
from provision.state.errors import StateError
from provision.state.model import ClusterState, MachineRecord, MachineStatus

VERSION = 1


class DocumentError(ValueError):
    """The text is not a state document; the message says where and why."""


class _Machine(BaseModel):
    # unknown keys are kept, so that an older provision does not lose what a newer one of the same version
    # wrote
    model_config = ConfigDict(extra="allow")

    driver: str
    group: str
    number: int
    role: Role
    status: MachineStatus
    address: str | None = None
    private_address: str | None = None
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    provider_id: str = ""
    image: str | None = None
    host_keys: tuple[str, ...] = ()
    identity_file: str | None = None
    details: dict[str, str] = Field(default_factory=dict)


class _Ssh(BaseModel):
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    identity_file: str | None = None
    authorized_keys: tuple[str, ...] = ()
    accept_new_host_keys: bool = False
    connect_timeout: float = 180.0


class _Document(BaseModel):
    model_config = ConfigDict(extra="allow")

    version: int
    serial: int = Field(ge=0)
    lineage: str = Field(min_length=1)
    cluster: str
    created: datetime
    inventory: str | None = None
    machines: dict[str, _Machine] = Field(default_factory=dict)
    drivers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    ssh: _Ssh = Field(default_factory=_Ssh)
    data: dict[str, Any] = Field(default_factory=dict)


def parse(text: str | bytes) -> ClusterState:
    """Read a state document.

    Raises DocumentError when it is damaged, StateError when a newer provision wrote it.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise DocumentError(f"expected an object, found {type(raw).__name__}")
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StateError(
            f"the state of cluster {raw.get('cluster', '?')!r} has version {version}, "
            f"and this provision knows only {VERSION}",
            hint="a newer provision wrote it; upgrade this one",
        )
    if version != VERSION:
        raise DocumentError(f"version is {version!r}, expected {VERSION}")
    try:
        document = _Document.model_validate(raw)
    except ValidationError as error:
        raise DocumentError("\n".join(_places(error))) from error
    return _state(document)


def serialize(state: ClusterState) -> str:
    """Write a state document: sorted and indented, so that a diff of two says what happened.

    Raises StateError when something in it cannot be written as JSON.
    """
    document = {
        **state.unknown,
        "version": VERSION,
        "serial": state.serial,
        "lineage": state.lineage,
        "cluster": state.cluster,
        "created": state.created.isoformat(),
        "inventory": state.inventory,
        "machines": {name: _machine_keys(record) for name, record in sorted(state.machines.items())},
        "drivers": _plain(state.drivers),
        "ssh": asdict(state.ssh),
        "data": _plain(state.data),
    }
    try:
        return json.dumps(document, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise StateError(
            f"the state of cluster {state.cluster!r} cannot be written as JSON", detail=str(error)
        ) from error


def _machine_keys(record: MachineRecord) -> dict[str, Any]:
    # the name is the key of the mapping; said twice it could disagree
    known = {key: value for key, value in asdict(record).items() if key not in {"name", "unknown"}}
    return {**record.unknown, **known}


def _plain(value: Any) -> Any:
    # settings arrive as read-only mappings and tuples as well as dicts and lists
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _state(document: _Document) -> ClusterState:
    return ClusterState(
        cluster=document.cluster,
        lineage=document.lineage,
        created=document.created,
        serial=document.serial,
        inventory=document.inventory,
        machines={
            name: MachineRecord(
                name=name,
                **{field: getattr(machine, field) for field in _Machine.model_fields},
                unknown=machine.model_extra or {},
            )
            for name, machine in document.machines.items()
        },
        drivers=document.drivers,
        ssh=SshSettings(**dict(document.ssh)),
        data=document.data,
        unknown=document.model_extra or {},
    )


def _places(error: ValidationError) -> list[str]:
    return [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
