"""What an inventory may hold, as pydantic models; their descriptions are what editors show from the JSON Schema.

They check one value at a time. What needs another value, a file or a driver is checked by `resolve` and its parts.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from provision.driver import Role
from provision.inventory.cluster import Availability, EngineInstall, HostnamePolicy
from provision.inventory.hosts import check_address, check_jump, parse_host
from provision.inventory.values import (
    DURATION,
    NAME,
    SIZE,
    InvalidValueError,
    check_host_key,
    check_name,
    parse_duration,
    parse_size,
    true_or_false,
    whole_number,
)

Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})]
Whole = Annotated[int, BeforeValidator(whole_number)]
Flag = Annotated[bool, BeforeValidator(true_or_false)]
Port = Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=65535)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{SIZE}$"}]}),
]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^({DURATION}|[0-9.]+)$"}]}),
]
Address = Annotated[str, AfterValidator(check_address)]
Jump = Annotated[str, AfterValidator(check_jump)]


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


OneOrMore = Annotated[
    list[Text],
    BeforeValidator(_one_or_more),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _check_label(key: str) -> str:
    if not key or re.search(r"\s", key):
        raise InvalidValueError("a label's name is not empty and holds no white space")
    if "," in key:
        raise InvalidValueError("a label's name holds no comma")
    if key.startswith("provision."):
        raise InvalidValueError("labels that begin with 'provision.' are provision's own")
    return key


Labels = dict[Annotated[str, AfterValidator(_check_label)], str]


def _check_daemon(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidValueError("must hold what JSON can hold", hint=str(error)) from error
    return value


Daemon = Annotated[dict[str, Any], AfterValidator(_check_daemon)]


def _check_user(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*", value):
        raise InvalidValueError(f"{value!r} cannot be a user's name")
    return value


User = Annotated[Text, AfterValidator(_check_user)]


class Model(BaseModel):
    """An unknown key is an error, everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HostModel(Model):
    """A machine that already runs: `user@host:port`, or a mapping."""

    address: Address = Field(description="IP address or name that SSH connects to.")
    name: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
        description="What the machine is called, instead of <cluster>-<group>-<n>.",
    )
    user: User | None = Field(default=None, description="User to log in as; root, or one with password-free sudo.")
    port: Port | None = Field(default=None, description="Port of its SSH server.")
    jump: Jump | None = Field(default=None, description="Jump host(s) on the way: user@host:port, commas between.")
    host_key: Annotated[str, AfterValidator(check_host_key)] | None = Field(
        default=None, description="Its SSH host key: a public key line, or a fingerprint SHA256:…"
    )
    private_address: Address | None = Field(
        default=None, description="Where the other members reach it, when that is not `address`."
    )
    identity_file: Text | None = Field(default=None, description="Private key to log in with; ~ is your home.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        entry = parse_host(value)
        return {"address": entry.address, "user": entry.user, "port": entry.port}


class EngineModel(Model):
    """Docker Engine on the machines."""

    install: EngineInstall | None = Field(
        default=None,
        description="`distro` installs the distribution's packages (default); `none` expects it to be there.",
    )
    daemon: Daemon = Field(default={}, description="What daemon.json shall hold; null takes away a key set further up.")


class OverrideEngineModel(Model):
    """What one machine's engine has of its own."""

    daemon: Daemon = Field(default={}, description="Keys of daemon.json for this machine only; null takes a key away.")


class OverrideModel(Model):
    """What one machine of a group, by its number, has of its own."""

    labels: Labels = Field(default={}, description="Node labels, on top of the group's.")
    availability: Availability | None = Field(default=None, description="Whether this node takes tasks.")
    engine: OverrideEngineModel = Field(default=OverrideEngineModel(), description="Docker Engine on this machine.")


class GroupModel(Model):
    """Machines that are alike, named <cluster>-<group>-<n>. Options of the driver stand among these keys."""

    role: Role = Field(description="`manager` or `worker`: what the machines are to the swarm.")
    driver: Text | None = Field(
        default=None, description="What makes the machines, when it is not the inventory's `driver`."
    )
    count: Annotated[Whole, Field(ge=0, le=1000)] | None = Field(
        default=None, description="How many machines; default 1."
    )
    hosts: list[HostModel] | None = Field(
        default=None, description="The machines, for a driver that adopts what already runs (ssh)."
    )
    image: Text | None = Field(
        default=None, description="What the machines boot from; the driver knows which there are."
    )
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = Field(
        default=None, description="CPUs each; may be a fraction."
    )
    memory: Size | None = Field(default=None, description="Memory each: 512M, 2GiB.")
    disk: Size | None = Field(default=None, description="Disk each: 20G.")
    labels: Labels = Field(default={}, description="Node labels, strings.")
    availability: Availability | None = Field(default=None, description="Whether the nodes take tasks; default active.")
    hostname: HostnamePolicy = Field(
        default=HostnamePolicy.KEEP,
        description="`set` gives each host its machine's name; `keep` (default) leaves what it is called.",
    )
    user_data: Text | None = Field(
        default=None,
        description="Cloud-init user data: a file's path, or the text itself (several lines, or #cloud-config).",
    )
    engine: EngineModel = Field(
        default=EngineModel(), description="Docker Engine on these machines, over `engine` above."
    )
    overrides: dict[Annotated[Whole, Field(ge=1)], OverrideModel] = Field(
        default={}, description="What single machines have of their own, by number: {1: {labels: {…}}}."
    )


class SshModel(Model):
    """How the machines are reached."""

    user: User | None = Field(default=None, description="User to log in as; root, or one with password-free sudo.")
    port: Port | None = Field(default=None, description="Port of the SSH servers.")
    jump: Jump | None = Field(default=None, description="Jump host(s) on the way: user@host:port, commas between.")
    identity_file: Text | None = Field(default=None, description="Private key to log in with first; ~ is your home.")
    authorized_keys: list[Text] | None = Field(
        default=None,
        description="Who may log in: public key lines, or paths of .pub files. Default: your own ~/.ssh/*.pub.",
    )
    accept_new_host_keys: Flag = Field(
        default=False,
        description="Trust the host key that an unknown machine shows first. A changed key is never accepted.",
    )
    connect_timeout: Duration = Field(default=180.0, description="How long a machine may take until it answers.")


class SwarmModel(Model):
    """What `docker swarm init` and `join` take."""

    advertise: Text | None = Field(default=None, description="Interface whose address the members advertise: eth1.")
    data_path: Text | None = Field(
        default=None, description="Interface for the containers' traffic, when not the same."
    )
    data_path_port: Annotated[Whole, Field(ge=1024, le=49151)] = Field(
        default=4789, description="UDP port of that traffic."
    )
    default_addr_pool: OneOrMore = Field(
        default=[],
        description="Networks (CIDR) that overlay networks are cut from; holds only when the swarm is made.",
    )
    subnet_size: Annotated[Whole, Field(ge=8, le=29)] = Field(
        default=24, description="Prefix length of each overlay network cut from the pool."
    )
    task_history: Annotated[Whole, Field(ge=0)] | None = Field(
        default=None, description="How many old tasks the swarm remembers of each service."
    )
    autolock: Flag = Field(default=False, description="Encrypt the managers' logs with a key that a restart asks for.")

    @field_validator("default_addr_pool")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        networks: list[ipaddress.IPv4Network] = []
        for text in value:
            try:
                network = ipaddress.IPv4Network(text)
            except ValueError as error:
                reason = re.sub(r"^.*?(has host bits set)$", r"\1", str(error))
                raise InvalidValueError(
                    f"{text!r} is not an IPv4 network: {reason}", hint="write it as 10.20.0.0/16"
                ) from error
            for other in networks:
                if network.overlaps(other):
                    raise InvalidValueError(f"{text!r} overlaps {str(other)!r}")
            networks.append(network)
        return value

    @model_validator(mode="after")
    def _subnets_fit(self) -> SwarmModel:
        for text in self.default_addr_pool:
            if ipaddress.IPv4Network(text).prefixlen > self.subnet_size:
                raise InvalidValueError(
                    f"a subnet of size {self.subnet_size} does not fit into {text}",
                    hint="'subnet_size' is a prefix length, as long as the pool's or longer",
                )
        return self


class StackModel(Model):
    """A stack to deploy: the path of a compose file, or a mapping."""

    file: Text | None = Field(default=None, description="Compose file.")
    files: OneOrMore | None = Field(default=None, description="Compose files, later ones over earlier ones.")
    env: dict[str, str] = Field(default={}, description="Variables of the compose files, before this environment's.")
    env_file: OneOrMore = Field(default=[], description="Files of such variables; `env` goes before them.")
    images: OneOrMore = Field(
        default=[], description="Image archives (docker save) to load on each node that lacks them."
    )
    prune: Flag = Field(default=True, description="Remove services that the files no longer name.")
    wait: Flag = Field(default=True, description="Wait until the services run.")
    resolve_image: Literal["always", "changed", "never"] = Field(
        default="always", description="When to ask the registry for an image's digest."
    )
    with_registry_auth: Flag = Field(
        default=False, description="Hand the registry login of root on the manager to the nodes."
    )
    timeout: Duration = Field(default=300.0, description="How long the stack may take until it runs.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"file": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_file_and_files(self) -> StackModel:
        if self.file and self.files:
            raise InvalidValueError("has both 'file' and 'files'", hint="put every path into 'files'")
        if not self.file and not self.files:
            raise InvalidValueError("names no compose file", hint="write 'file: stacks/NAME.yml'")
        return self


class InventoryModel(Model):
    """A cluster: machines, and the Docker Swarm that they form."""

    name: Name = Field(description="The cluster's name; machines are called <cluster>-<group>-<n>.")
    driver: Text | None = Field(default=None, description="What makes the machines, for every group that names none.")
    # Groups, drivers and stacks are validated one by one, so that one's mistake hides no other's.
    machines: dict[str, dict[Any, Any]] = Field(min_length=1, description="The groups of machines, by name.")
    drivers: dict[str, dict[Any, Any] | None] = Field(default={}, description="Options that a driver's groups share.")
    ssh: SshModel = Field(default=SshModel(), description="How the machines are reached.")
    engine: EngineModel = Field(default=EngineModel(), description="Docker Engine on all machines.")
    swarm: SwarmModel = Field(default=SwarmModel(), description="What `docker swarm init` and `join` take.")
    firewall: Literal["nftables", "none"] = Field(
        default="nftables",
        description="What opens the swarm's ports to its members only; `none` leaves it to you.",
    )
    stacks: dict[str, str | dict[Any, Any]] = Field(default={}, description="What to deploy, by the stack's name.")
