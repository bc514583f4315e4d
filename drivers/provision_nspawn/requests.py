"""What the privileged side is asked to make, as values that survive a trip through JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from provision.driver import HostKeyPair, MachineSpec
from provision_nspawn.options import NspawnOptions

DEFAULT_IMAGE = "debian-12"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """A machine to create. Sizes are bytes. Holds the host's private key: it travels by pipe and is never recorded."""

    cluster: str
    name: str
    group: str
    number: int
    role: str
    user: str
    port: int
    image: str
    docker: bool = True
    mirror: str | None = None
    subnet: str | None = None
    binds: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float | None = None
    authorized_keys: tuple[str, ...] = ()
    host_key: HostKeyPair | None = None

    @classmethod
    def of(cls, spec: MachineSpec) -> CreateRequest:
        """From what the planner asks for. Raises pydantic's ValidationError for options that are none."""
        options = NspawnOptions.model_validate(dict(spec.options))
        return cls(
            cluster=spec.cluster,
            name=spec.name,
            group=spec.group,
            number=spec.number,
            role=str(spec.role),
            user=spec.user,
            port=spec.port,
            image=spec.image or DEFAULT_IMAGE,
            docker=options.docker,
            mirror=options.mirror,
            subnet=options.subnet,
            binds=options.bind,
            memory=spec.memory,
            cpus=spec.cpus,
            authorized_keys=spec.authorized_keys,
            host_key=spec.host_key,
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CreateRequest:
        """Back from `to_json`."""
        key = content["host_key"]
        return cls(
            **{
                **content,
                "binds": tuple(content["binds"]),
                "authorized_keys": tuple(content["authorized_keys"]),
                "host_key": HostKeyPair(**key) if key else None,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
