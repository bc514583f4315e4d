"""What an inventory may say to this driver."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from provision.errors import DriverError
from provision_libvirt.addresses import parse_range
from provision_libvirt.uri import DEFAULT, parse

_SIZE = r"[0-9]+(\.[0-9]+)? ?([kKmMgGtT]([iI]?[bB])?|[bB])"
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(rf"{_SIZE}|[0-9]+", value.strip()):
        raise ValueError("a size is a number and a unit: 512M, 2G, 2GiB")
    text = value.strip()
    if text.isdecimal():
        return int(text)
    number, unit = re.match(r"([0-9.]+) ?([a-zA-Z])", text).groups()  # type: ignore[union-attr]
    return int(float(number) * _UNITS[unit.lower()])


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^({_SIZE})$"}]}),
    Field(ge=2**20),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DiskOption(_Model):
    """A further disk: empty, and left to the guest to format and mount, for instance by `user_data`."""

    size: Size = Field(description="How much it holds, such as 20GiB; it takes room as it fills.")
    format: Literal["qcow2", "raw"] = Field(
        default="qcow2", description="How it is kept. Snapshots need qcow2, which is the default."
    )


class NetworkOption(_Model):
    """A network that is there already: one of libvirt's by `name`, or a bridge of the hypervisor."""

    name: str | None = Field(
        default=None, min_length=1, description="A network of libvirt's, as `virsh net-list` shows it."
    )
    bridge: str | None = Field(
        default=None, min_length=1, max_length=15, description="A bridge of the hypervisor, such as br0."
    )
    addresses: str | None = Field(
        default=None,
        description="Addresses to give to machines, with the network's prefix length: "
        "192.168.1.100-192.168.1.149/24. A bridge needs them; of a network of libvirt's with addresses of its own the "
        "default is all that nobody has.",
    )
    gateway: str | None = Field(
        default=None, description="The machines' way out. Default: the hypervisor, in a network that libvirt routes."
    )
    nameservers: tuple[str, ...] | None = Field(
        default=None,
        description="Name servers for the machines. Default: libvirt's own in this network, if it has one.",
    )

    @field_validator("addresses")
    @classmethod
    def _is_a_range(cls, value: str | None) -> str | None:
        if value is not None:
            parse_range(value)
        return value

    @field_validator("gateway")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        return None if value is None else str(IPv4Address(value))

    @field_validator("nameservers")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(str(IPv4Address(server)) for server in value)

    @model_validator(mode="after")
    def _is_one_network(self) -> NetworkOption:
        if (self.name is None) == (self.bridge is None):
            raise ValueError("a network is named by `name` or by `bridge`, one of them")
        if self.bridge is not None and self.addresses is None:
            raise ValueError(f"bridge {self.bridge} needs `addresses`, such as 192.168.1.100-192.168.1.149/24")
        if self.gateway is not None and self.addresses is not None:
            network = IPv4Interface(f"{parse_range(self.addresses).first}/{parse_range(self.addresses).prefix}").network
            if IPv4Address(self.gateway) not in network:
                raise ValueError(f"gateway {self.gateway} is not in {network}")
        return self


class LibvirtOptions(_Model):
    """Options of driver libvirt, of a group or under `drivers.libvirt`."""

    uri: str = Field(
        default=DEFAULT,
        description="The hypervisor: qemu:///system, or qemu+ssh://user@host/system, whose machines are reached "
        "through it. One for the whole cluster: it stands under `drivers.libvirt`.",
    )
    accel: Literal["auto", "kvm", "qemu"] = Field(
        default="auto",
        description="kvm is the hardware's virtualization; qemu emulates it, many times slower. auto tries kvm once "
        "for each hypervisor and remembers whether a kernel boots on it.",
    )
    pool: str | None = Field(
        default=None,
        description="Storage pool for the disks, a folder. Default: a pool of provision's own, in "
        "/var/lib/libvirt/provision, which goes with the last machine.",
    )
    network: NetworkOption | None = Field(
        default=None,
        description="The network that the swarm uses. Default: a network of the cluster's own behind NAT, whose DNS "
        "knows the machines.",
    )
    subnet: str | None = Field(
        default=None,
        description="IPv4 network of the cluster's own network, such as 10.210.0.0/24 (up to /16, at most /28); its "
        "first address is the hypervisor's. Default: a private /24 that overlaps nothing there.",
    )
    networks: tuple[NetworkOption, ...] = Field(
        default=(), description="Further networks, a network card each, without a default route."
    )
    ephemeral: bool = Field(
        default=False,
        description="The disks need not survive a crash of the hypervisor: writes are not waited for. For labs and "
        "tests.",
    )
    disks: tuple[DiskOption, ...] = Field(default=(), description="Further disks, empty.")
    firmware: Literal["bios", "efi"] = Field(default="bios", description="What boots the disk. Snapshots need bios.")
    direct_boot: bool | None = Field(
        default=None,
        description="Whether QEMU starts the kernel that lies beside the image, without firmware and boot loader: "
        "faster, but a kernel that the machine installs later is not used. Default: with `ephemeral`, where the image "
        "has one.",
    )
    kernel: str | None = Field(default=None, description="Kernel to start instead, a file of this machine.")
    initrd: str | None = Field(default=None, description="Initial ramdisk for `kernel`, a file of this machine.")
    cmdline: str | None = Field(
        default=None, description="Kernel command line of a direct boot, instead of the image's own."
    )
    hugepages: bool = Field(
        default=False, description="The machines' memory comes from huge pages, which the hypervisor has reserved."
    )
    autostart: bool = Field(default=False, description="Whether the machines start with the hypervisor.")
    boot: Literal["cold", "warm"] = Field(
        default="cold",
        description="warm clones each machine from one that has booted and runs Docker, memory and all: for labs, "
        "where seconds count. cold boots it.",
    )

    @field_validator("uri")
    @classmethod
    def _leads_somewhere(cls, value: str) -> str:
        try:
            parse(value)
        except DriverError as error:
            raise ValueError(": ".join(part for part in (error.summary, error.detail, error.hint) if part)) from error
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

    @field_validator("kernel", "initrd")
    @classmethod
    def _is_absolute(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Relative paths start from the inventory's folder."""
        if value is None:
            return None
        context: dict[str, Any] = info.context or {}
        return str(Path(context.get("folder") or Path.cwd()) / Path(value).expanduser())

    @model_validator(mode="after")
    def _go_together(self) -> LibvirtOptions:
        if self.subnet is not None and self.network is not None:
            raise ValueError("`subnet` is of the cluster's own network: leave out `subnet` or `network`")
        if self.initrd is not None and self.kernel is None:
            raise ValueError("`initrd` needs `kernel`")
        if self.kernel is not None and self.direct_boot is False:
            raise ValueError("`kernel` is a direct boot: leave out `direct_boot: false`")
        if self.cmdline is not None and self.kernel is None and self.direct_boot is not True:
            raise ValueError("`cmdline` is obeyed by a direct boot only: set `direct_boot: true` too")
        return self
