"""The contract suite on a real hypervisor. Its machines have an empty disk: nothing of it needs a guest that boots."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from vm_support import VmLab

pytest.register_assert_rewrite("provision.testing")

from provision.driver import HostKeyPair, MachineSpec, Role  # noqa: E402
from provision.testing import DriverContract, Harness, create_and_kill  # noqa: E402
from provision_libvirt import LibvirtDriver, power  # noqa: E402

OPTIONS = {"accel": "qemu", "ephemeral": True}


class LibvirtHarness(Harness):
    """Crashes are spread over the second that a create takes here."""

    crash_after = (0.0, 0.1, 0.25, 0.45, 0.7, 1.2)

    def __init__(self, lab: VmLab, folder: Path) -> None:
        self.driver = LibvirtDriver({})
        self._lab = lab
        self._folder = folder
        self._disk = folder / "empty.qcow2"
        subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", self._disk, "64M"), check=True)

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
                cpus=1,
                memory=256 * 2**20,
                host_key=_host_key(self._folder / f"{cluster}-{number}"),
                options=OPTIONS,
            )
            for number in range(1, count + 1)
        ]

    def leftovers(self) -> Sequence[str]:
        return self._lab.libvirtd.leftovers()

    def crash(self, spec: MachineSpec, seconds: float) -> None:
        create_and_kill("provision_libvirt:LibvirtDriver", {}, spec, seconds=seconds)


class TestLibvirt(DriverContract):
    """The whole contract."""

    @pytest.fixture
    def harness(self, lab: VmLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LibvirtHarness:
        monkeypatch.setattr(power, "_STOP_SECONDS", 2.0)  # nobody in there obeys
        return LibvirtHarness(lab, tmp_path)


def _host_key(path: Path) -> HostKeyPair:
    if not path.exists():
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path), check=True)
    return HostKeyPair(private=path.read_text(), public=path.with_name(f"{path.name}.pub").read_text().strip())
