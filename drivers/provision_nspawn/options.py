"""What an inventory may say to this driver."""

from __future__ import annotations

from ipaddress import IPv4Network

from pydantic import BaseModel, ConfigDict, Field, field_validator


class NspawnOptions(BaseModel):
    """Options of driver nspawn, of a group or under `drivers.nspawn`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    docker: bool = Field(
        default=True,
        description="Whether the image comes with Debian's Docker inside. false gives a bare host, where installing "
        "the engine is up to `engine.install`.",
    )
    mirror: str | None = Field(
        default=None,
        description="Debian mirror to build the image from, such as http://mirror.example/debian. Default: the mirror "
        "that this machine's own apt uses.",
    )
    subnet: str | None = Field(
        default=None,
        description="IPv4 network of the cluster, such as 10.77.0.0/24 (up to /16, at most /28); its first address is "
        "this machine's. Default: a private /24 that overlaps nothing here, the same one each time where it is free.",
    )
    bind: tuple[str, ...] = Field(
        default=(),
        description="Folders and files of this machine to show inside: /host/path:/guest/path, with :ro at the end for "
        "read-only.",
    )

    @field_validator("mirror")
    @classmethod
    def _is_a_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("a mirror starts with http:// or https://")
        return value

    @field_validator("subnet")
    @classmethod
    def _is_a_private_network(cls, value: str | None) -> str | None:
        if value is None:
            return None
        network = IPv4Network(value)
        if not network.is_private or not 16 <= network.prefixlen <= 28:
            raise ValueError("a subnet is a private IPv4 network between /16 and /28")
        return str(network)

    @field_validator("bind")
    @classmethod
    def _are_pairs_of_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            parse_bind(entry)
        return value


def parse_bind(entry: str) -> tuple[str, str, bool]:
    """Host path, guest path and whether it is read-only. Raises ValueError for anything else."""
    parts = entry.split(":")
    read_only = len(parts) == 3 and parts[2] == "ro"
    paths = parts[:2]
    if len(parts) not in (2, 3) or (len(parts) == 3 and not read_only):
        raise ValueError(f"{entry!r} is not /host/path:/guest/path or /host/path:/guest/path:ro")
    if not all(path.startswith("/") for path in paths):
        raise ValueError(f"{entry!r}: both paths are absolute")
    return paths[0], paths[1], read_only
