"""libvirt's own pretended hypervisor, empty at the beginning of each test, and small machines for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.driver import HostKeyPair, MachineSpec, Role

TEST_URI = "test:///default"

#: a key pair that nobody uses
HOST_KEY = HostKeyPair(private="-----BEGIN-----\nsecretsecret\n-----END-----\n", public="ssh-ed25519 AAAAC3Nza host")


@pytest.fixture
def held() -> Iterator[Any]:
    """A connection; what others at this URI make stays as long as it is open."""
    pytest.importorskip("libvirt")
    from provision_libvirt.connection import open_connection

    connection = open_connection(TEST_URI)
    yield connection
    connection.close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file that passes for a bootable disk."""
    path = tmp_path / "disk.raw"
    path.write_bytes(b"\0" * 510 + b"\x55\xaa" + b"\0" * 2**20)
    return path


@pytest.fixture
def spec(disk: Path) -> Callable[..., MachineSpec]:
    """Machine NUMBER of a cluster; `options` are added to the URI, other words change the spec."""

    def make(
        number: int = 1, cluster: str = "lab", *, options: dict[str, Any] | None = None, **changes: Any
    ) -> MachineSpec:
        words: dict[str, Any] = {
            "cluster": cluster,
            "name": f"{cluster}-node-{number}",
            "group": "node",
            "number": number,
            "role": Role.WORKER,
            "driver": "libvirt",
            "image": str(disk),
            "host_key": HOST_KEY,
            "options": {"uri": TEST_URI, **(options or {})},
        }
        return MachineSpec(**{**words, **changes})

    return make


@pytest.fixture
def leftovers(held: Any) -> Callable[[], list[str]]:
    """What the hypervisor has beyond what it had at first, a line each."""

    def look() -> list[str]:
        found = [f"domain {domain.name()}" for domain in held.listAllDomains()]
        found += [f"network {network.name()}" for network in held.listAllNetworks()]
        for pool in held.listAllStoragePools():
            found += [f"pool {pool.name()}", *(f"volume {volume.name()}" for volume in pool.listAllVolumes())]
        return sorted(found)

    before = look()
    return lambda: [line for line in look() if line not in before]
