"""What an inventory asks for, as plain values: defaults applied, variables substituted, files' paths absolute.

`load` makes these from YAML; everything behind it reads these and never the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from provision.driver import HostEntry, Role


class Availability(StrEnum):
    """Whether a node takes tasks; Swarm's words."""

    ACTIVE = "active"
    PAUSE = "pause"
    DRAIN = "drain"


class EngineInstall(StrEnum):
    """Where Docker Engine comes from: the distribution's packages, or it is there already."""

    DISTRO = "distro"
    NONE = "none"


class HostnamePolicy(StrEnum):
    """What a host is called: what it was called before us, or by its machine's name."""

    KEEP = "keep"
    SET = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Docker Engine on a machine. `daemon` is what daemon.json shall hold, merged from cluster, group and machine."""

    install: EngineInstall = EngineInstall.DISTRO
    daemon: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSettings:
    """How hosts are reached. `authorized_keys` are public key lines; None timeouts never occur: seconds, all."""

    user: str | None = None
    port: int | None = None
    jump: str | None = None
    identity_file: str | None = None
    authorized_keys: tuple[str, ...] = ()
    accept_new_host_keys: bool = False
    connect_timeout: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmSettings:
    """What `swarm init` and `join` take. Addresses may name an interface (`eth1`); the pool holds only at init."""

    advertise: str | None = None
    data_path: str | None = None
    data_path_port: int = 4789
    default_addr_pool: tuple[str, ...] = ()
    subnet_size: int = 24
    task_history: int | None = None
    autolock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOverride:
    """What one machine of a group (by its number) has of its own."""

    labels: Mapping[str, str] = field(default_factory=dict)
    availability: Availability | None = None
    daemon: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Machines that are alike: `count` of them, or the `hosts` that are listed (`count` is then their number)."""

    name: str
    role: Role
    driver: str
    count: int
    hosts: tuple[HostEntry, ...] = ()
    image: str | None = None
    cpus: float | None = None
    memory: int | None = None
    disk: int | None = None
    user_data: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    availability: Availability = Availability.ACTIVE
    hostname: HostnamePolicy = HostnamePolicy.KEEP
    engine: EngineSettings = field(default_factory=EngineSettings)
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[int, MachineOverride] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack to deploy. `files` are compose files in order; `images` archives to load where they are missing.

    `env` is what their variables are read from before this process's environment. `resolve_image` is `docker stack
    deploy`'s (always, changed, never); `timeout` the seconds it may take to converge.
    """

    name: str
    files: tuple[Path, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    images: tuple[Path, ...] = ()
    prune: bool = True
    wait: bool = True
    resolve_image: str = "always"
    with_registry_auth: bool = False
    timeout: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One inventory, resolved. `drivers` holds each used driver's settings as its constructor takes them."""

    name: str
    source: Path
    groups: tuple[Group, ...]
    drivers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ssh: SshSettings = field(default_factory=SshSettings)
    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    firewall: bool = True
    stacks: tuple[Stack, ...] = ()
