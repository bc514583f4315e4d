"""The libvirt driver against the contract, at libvirt's own pretended hypervisor, which keeps all in memory.

The same suite runs with machines that really boot, and crashes, in tests/vm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("provision.testing")

from provision.driver import MachineSpec, Role  # noqa: E402
from provision.state.keys import new_host_key  # noqa: E402
from provision.testing import DriverContract, Harness  # noqa: E402
from provision_libvirt import LibvirtDriver  # noqa: E402

URI = "test:///default"


class LibvirtHarness(Harness):
    """Machines that are never seen to boot. What they leave is asked of a connection that is open all the time."""

    def __init__(self, connection: Any, disk: Path) -> None:
        self.driver = LibvirtDriver({"uri": URI})
        self._connection = connection
        self._disk = disk
        self._before = frozenset(self._inventory())

    def specs(self, cluster: str, count: int) -> Sequence[MachineSpec]:
        return [
            MachineSpec(
                cluster=cluster,
                name=f"{cluster}-node-{number}",
                group="node",
                number=number,
                role=Role.WORKER,
                driver="libvirt",
                image=str(self._disk),
                host_key=new_host_key(),
                options={"uri": URI, "ephemeral": True, "disks": [{"size": "1GiB"}]},
            )
            for number in range(1, count + 1)
        ]

    def leftovers(self) -> Sequence[str]:
        return sorted(self._inventory() - self._before)

    def fresh(self) -> LibvirtDriver:
        return LibvirtDriver({"uri": URI})

    def _inventory(self) -> set[str]:
        found = {f"domain {domain.name()}" for domain in self._connection.listAllDomains()}
        found |= {f"network {network.name()}" for network in self._connection.listAllNetworks()}
        for pool in self._connection.listAllStoragePools():
            found |= {f"pool {pool.name()}", *(f"volume {volume.name()}" for volume in pool.listAllVolumes())}
        return found


class TestLibvirt(DriverContract):
    """The whole contract."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[LibvirtHarness]:
        from provision_libvirt.connection import open_connection

        disk = tmp_path / "disk.raw"
        disk.write_bytes(b"\0" * 510 + b"\x55\xaa" + b"\0" * 2**20)
        connection = open_connection(URI)
        yield LibvirtHarness(connection, disk)
        connection.close()
