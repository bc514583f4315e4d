"""Where things are on disk, and what they are called in the kernel: pure functions of the data folder and the names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from provision.errors import DriverError
from provision.images.places import SYSTEM_DATA

DEFAULT_DATA = SYSTEM_DATA

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Layout:
    """The data folder: `images/<digest>/tree` and `nspawn/<cluster>/<machine>/`. Everything of ours is below it."""

    data: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Layout:
        """`PROVISION_DATA_DIR`, or /var/lib/provision. Raises DriverError for a path that overlayfs cannot take."""
        data = Path(environ.get("PROVISION_DATA_DIR") or DEFAULT_DATA)
        if not data.is_absolute() or any(sign in str(data) for sign in ":,\\\n"):
            raise DriverError(
                f"PROVISION_DATA_DIR={str(data)!r} is not usable",
                hint="give an absolute path without colon, comma or backslash",
            )
        return cls(data)

    @property
    def machines(self) -> Path:
        """The folder of all clusters; its lock is the registry's: records come and go under it."""
        return self.data / "nspawn"

    def cluster(self, cluster: str) -> Path:
        """A cluster's folder: cluster.json, hosts, one folder a machine. Raises DriverError for a name that is none."""
        return self.machines / _checked(cluster)

    def machine(self, cluster: str, name: str) -> MachinePaths:
        """A machine's folder. Raises DriverError for a name that is none."""
        return MachinePaths(self.cluster(cluster) / _checked(name))

    def image(self, digest: str) -> Path:
        """A finished image: tree/ and image.json."""
        return self.data / "images" / digest

    def kernel_names(self, cluster: str, machine: str = "") -> KernelNames:
        """Names that differ for every data folder, cluster and machine, so that no two of us share a thing."""
        whose = _digest(str(self.data), cluster)
        which = _digest(str(self.data), cluster, machine)
        return KernelNames(
            bridge=f"pvb-{whose[:10]}",
            table=f"provision-{cluster}-{whose[:6]}",
            veth=f"pvv-{which[:10]}",
            unit=f"provision-{machine}-{which[:6]}",
        )


@dataclass(frozen=True, slots=True)
class MachinePaths:
    """One machine's folder. Only `disk` holds the guest's files; it is root's alone."""

    root: Path

    @property
    def record(self) -> Path:
        """What the machine is, and that it is ours: written before anything else is made."""
        return self.root / "machine.json"

    @property
    def process(self) -> Path:
        """Which process runs it: written by that process itself just before it turns into systemd-nspawn."""
        return self.root / "process.json"

    @property
    def launch(self) -> Path:
        """What the launcher shall do."""
        return self.root / "launch.json"

    @property
    def console(self) -> Path:
        """Everything that the machine printed on its console."""
        return self.root / "console.log"

    @property
    def disk(self) -> Path:
        """The overlay's upper, work and root, and docker's and containerd's plain folders."""
        return self.root / "disk"

    @property
    def upper(self) -> Path:
        """What the guest has of its own over the image's tree."""
        return self.disk / "upper"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelNames:
    """Names outside the data folder. Interfaces have at most 15 characters; `unit` names namespace and groups too."""

    bridge: str
    table: str
    veth: str
    unit: str


def mac_address(bridge: str, address: IPv4Address) -> str:
    """A MAC that stays with the address, so neighbours' caches stay right when it is used again."""
    raw = bytes([0x02]) + bytes.fromhex(_digest(bridge, str(address))[:10])
    return ":".join(f"{byte:02x}" for byte in raw)


def _checked(name: str) -> str:
    """These become folders that root removes with all in them: no name may lead anywhere else."""
    if not _NAME.fullmatch(name):
        raise DriverError(f"{name!r} is no name for a cluster or machine", hint="letters, digits and hyphens")
    return name


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
