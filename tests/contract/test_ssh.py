"""The ssh driver against the contract, and against a host that really runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from provision.driver import HostEntry, Machine, MachineSpec, Role
from provision.testing import DriverContract, Harness
from provision_ssh import SshDriver

#: everything that adopting a host could touch: files and who may log in, the firewall, the engine, the boot itself
_FINGERPRINT = (
    "cat /proc/sys/kernel/random/boot_id; find /etc /root -xdev -type f | sort | xargs sha256sum;"
    " nft --stateless list ruleset; systemctl show -p ActiveEnterTimestamp docker ssh;"
    " docker info --format '{{.ID}} {{.Swarm.LocalNodeState}} {{.Containers}}'"
)


class SshHarness(Harness):
    """Hosts by address alone, some with a port: the driver opens no connection, so none need be there."""

    driver = SshDriver({})

    def specs(self, cluster: str, count: int) -> Sequence[MachineSpec]:
        return [_spec(cluster, number, HostEntry(address=f"192.0.2.{number}")) for number in range(1, count + 1)]

    def leftovers(self) -> Sequence[str]:
        return ()


class TestSsh(DriverContract):
    """The whole contract."""

    @pytest.fixture
    def harness(self) -> SshHarness:
        return SshHarness()


def test_a_host_is_left_as_it_is_by_every_call(make: Callable[..., Machine], shell: Callable[..., str]) -> None:
    booted = make()
    shell(booted, "systemctl is-system-running --wait || true")
    before = shell(booted, _FINGERPRINT)
    driver = SshDriver({})
    spec = _spec("pvtest-metal", 1, HostEntry(address=str(booted.address), host_key=booted.host_keys[0]))
    assert not driver.check([spec])
    machine = driver.create(spec)
    assert machine.address == booted.address
    driver.destroy(machine)
    assert shell(booted, _FINGERPRINT) == before


def _spec(cluster: str, number: int, host: HostEntry) -> MachineSpec:
    return MachineSpec(
        cluster=cluster,
        name=f"{cluster}-node-{number}",
        group="node",
        number=number,
        role=Role.WORKER,
        driver="ssh",
        host=host,
    )
