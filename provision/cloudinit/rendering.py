"""The templates and the one way in which they are filled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from provision.cloudinit.seed import Identity, Nic


def user_data(identity: Identity) -> str:
    """Our own cloud-config, header included."""
    fqdn = f"{identity.name}.{identity.domain}" if identity.domain else identity.name
    return _fill(
        "user-data",
        name=identity.name,
        fqdn=fqdn,
        user=identity.user,
        port=identity.port,
        authorized_keys=_lines(identity.authorized_keys),
        host_key=_host_key(identity),
        hosts="".join(f"{address} {names}\n" for address, names in identity.hosts.items()),
    )


def meta_data(identity: Identity) -> str:
    """Instance id and name."""
    return _fill("meta-data", name=identity.name, instance_id=identity.instance_id)


def network_config(identity: Identity) -> str | None:
    """Network configuration, version 2; None where the identity says nothing of the network."""
    if not identity.nics:
        return None
    nics = [_Nic.of(nic, number) for number, nic in enumerate(identity.nics)]
    return _fill("network-config", nics=nics, domain=identity.domain)


@dataclass(frozen=True, slots=True)
class _Nic:
    """A NIC as the template wants it: `key` is what netplan calls its id."""

    key: str
    mac: str | None
    name: str | None
    addresses: list[str]
    gateway: str | None
    nameservers: list[str]
    optional: bool

    @classmethod
    def of(cls, nic: Nic, number: int) -> _Nic:
        if nic.mac is None and nic.name is None:
            raise ValueError("a NIC needs a MAC or a name by which it is told")
        return cls(
            key=nic.name or f"nic{number}",
            mac=nic.mac.lower() if nic.mac else None,
            name=nic.name,
            addresses=list(nic.addresses),
            gateway=nic.gateway,
            nameservers=list(nic.nameservers),
            optional=nic.optional,
        )


@dataclass(frozen=True, slots=True)
class _HostKey:
    private: str
    public: str


def _host_key(identity: Identity) -> _HostKey | None:
    """sshd refuses a private key whose last line has no end."""
    key = identity.host_key
    return None if key is None else _HostKey(key.private.rstrip("\n") + "\n", key.public.strip() + "\n")


def _lines(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(key.strip() for key in keys if key.strip()))


def _fill(template: str, /, **values: Any) -> str:
    return _environment().get_template(f"{template}.yaml.j2").render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    # YAML reads a pair of \u escapes as two characters, so what is not ASCII stays what it is
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment


def _source(name: str) -> str:
    return (_folder() / name).read_text(encoding="utf-8")


def _folder() -> Traversable:
    """Beside this file in a wheel; in a source tree at its top."""
    packaged = resources.files("provision.cloudinit") / "templates"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "cloud-init"
