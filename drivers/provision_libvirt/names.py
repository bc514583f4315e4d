"""What things are called at the hypervisor: pure functions of the names of cluster and machine."""

from __future__ import annotations

import hashlib
import uuid

#: of all names that this driver makes ids from
_SPACE = uuid.UUID("5f0c2f9b-3f0c-5b43-9f37-6f0f5a3f7c11")

#: the pool that is made where none is named, and its folder
OWN_POOL = "provision"
OWN_FOLDER = "/var/lib/libvirt/provision"

#: where the guests of a cluster look up names without a dot
_SUFFIX = "provision.internal"


def domain_uuid(cluster: str, machine: str) -> str:
    """The id of a machine's domain: the same each time, so libvirt refuses a second domain for it."""
    return str(uuid.uuid5(_SPACE, f"{cluster}/{machine}"))


def network_name(cluster: str) -> str:
    """The network that a cluster has for itself."""
    return f"provision-{cluster}"


def bridge_name(cluster: str) -> str:
    """The network's bridge. Interfaces have at most 15 characters."""
    return f"pvl-{_digest(cluster)[:10]}"


def dns_domain(cluster: str) -> str:
    """The domain that the cluster's own network answers for."""
    return f"{cluster}.{_SUFFIX}"


def mac_address(*parts: str) -> str:
    """A MAC in QEMU's range. Made from a network and an address, it stays with the address, so that what neighbours
    remember of an address stays right when the next machine gets it."""
    digest = _digest(*parts)
    return ":".join(("52:54:00", digest[0:2], digest[2:4], digest[4:6]))


def disk_volume(machine: str) -> str:
    """A machine's first disk."""
    return f"{machine}.qcow2"


def extra_volume(machine: str, number: int, form: str) -> str:
    """A further disk of a machine, the first of which has number 1."""
    return f"{machine}-disk{number}.{form}"


def seed_volume(machine: str) -> str:
    """What cloud-init reads at a machine's first boot."""
    return f"{machine}-seed.iso"


def console_volume(machine: str) -> str:
    """The log of a machine's console; what is rotated away has a dot and a number behind it."""
    return f"{machine}-console.log"


def base_volume(digest: str, kind: str) -> str:
    """What machines of one image share: `kind` is the disk's format, `vmlinuz` or `initrd`."""
    return f"provision-{digest[:16]}.{kind}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
