"""From a machine's identity to what cloud-init is given. The same templates serve VMs and clouds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.cloudinit.iso import nocloud_iso
from provision.driver import Finding, HostKeyPair, MachineSpec
from provision.errors import DriverError

__all__ = ["EC2_LIMIT", "Identity", "Nic", "Seed", "check_user_data", "cloud_user_data", "nocloud_iso", "render"]

#: bytes of user data that EC2 takes, before it is encoded
EC2_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One network card, told by its `mac`; `name` is the name that it gets. Without a `mac` it is told by `name`.

    `addresses` are in CIDR notation, IPv4 or IPv6; none means DHCP. `optional`: the boot does not wait until it is up;
    leave it off for the first one, for systemd-networkd-wait-online never ends where all are optional.
    """

    mac: str | None = None
    addresses: tuple[str, ...] = ()
    gateway: str | None = None
    nameservers: tuple[str, ...] = ()
    name: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a machine is before it boots.

    `instance_id` must be a new one for every machine that is made, or cloud-init takes it for one that it has set up.
    `user` may log in with `authorized_keys`, on `port`; one that is not root gets password-free sudo. With a `host_key`
    it is sshd's only one; without, the machine makes an ed25519 key of its own. `hosts`, names by address, are added to
    /etc/hosts. `domain` completes the name, and is searched where a NIC has nameservers. No `nics`: the image's or the
    cloud's own network configuration holds.
    """

    name: str
    instance_id: str
    user: str = "root"
    port: int = 22
    authorized_keys: tuple[str, ...] = ()
    host_key: HostKeyPair | None = None
    nics: tuple[Nic, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Seed:
    """The three documents of a datasource. `user_data` holds the machine's private host key."""

    user_data: str = field(repr=False)
    meta_data: str
    network_config: str | None


def render(identity: Identity, user_data: str | None = None) -> Seed:
    """The whole seed. `user_data` is the user's own: a `#cloud-config`, merged by key, or a script, which is run last.

    Raises DriverError where `user_data` is neither, is not valid YAML, or sets what the identity decides.
    """
    # imported here: Jinja2 and YAML take longer than most commands
    from provision.cloudinit import rendering
    from provision.cloudinit.user_data import UserDataError, combine

    try:
        own = rendering.user_data(identity)
        return Seed(
            user_data=combine(own, user_data, login=identity.user),
            meta_data=rendering.meta_data(identity),
            network_config=rendering.network_config(identity),
        )
    except UserDataError as wrong:
        raise DriverError(f"{identity.name}: {wrong}", hint=wrong.hint) from wrong


def cloud_user_data(identity: Identity, user_data: str | None = None, *, limit: int | None = None) -> str:
    """The user data alone, for clouds that bring the network and the instance id themselves.

    Raises DriverError as `render` does, and where it is longer than `limit` bytes (EC2_LIMIT, …).
    """
    text = render(identity, user_data).user_data
    size = len(text.encode())
    if limit is not None and size > limit:
        raise DriverError(
            f"{identity.name}: its user data is {size} bytes long, and the provider takes {limit}",
            hint="shorten `user_data`, or have it fetch what is large",
        )
    return text


def check_user_data(spec: MachineSpec) -> Finding | None:
    """What would make `render` refuse the spec's `user_data`, for a driver's `check`; None when it is good."""
    identity = Identity(name=spec.name, instance_id="", user=spec.user, port=spec.port)
    try:
        render(identity, spec.user_data)
    except DriverError as wrong:
        return Finding(summary=wrong.summary, fix=wrong.hint)
    return None
