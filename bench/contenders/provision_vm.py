"""`provision up` over the libvirt driver, of the checkout that the benchmark runs from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.vm_site import CPUS, DISK, MEMORY, USER, Door
from provision.state.paths import ClusterPaths, state_root
from provision_libvirt import LibvirtDriver

if TYPE_CHECKING:
    from bench.vm_site import VmContender, VmSite

_CLUSTER = "bench"
_PROVISION = str(Path(sys.executable).with_name("provision"))


class ProvisionVm:
    """An `up` of one manager and workers, `ephemeral: true`, all else as it is by default.

    It goes on to a swarm when the machines have answered, and is interrupted there.
    """

    interrupted: int | None = 130

    def __init__(self, boot: Literal["cold", "warm"]) -> None:
        self.name: str = boot

    def versions(self, environ: Mapping[str, str]) -> str:
        """Its own words."""
        said = subprocess.run((_PROVISION, "version"), env=dict(environ), capture_output=True, text=True, check=True)
        return said.stdout.splitlines()[0].strip()

    def prepare(self, site: VmSite) -> None:
        """The inventory. It is YAML, of which JSON is a part."""
        alike = {"image": site.image.name, "cpus": CPUS, "memory": f"{MEMORY}MiB", "disk": f"{DISK}GiB"}
        machines = {"manager": {"role": "manager", "count": 1, **alike}}
        if site.machines > 1:
            machines["worker"] = {"role": "worker", "count": site.machines - 1, **alike}
        inventory = {
            "name": _CLUSTER,
            "driver": "libvirt",
            "drivers": {"libvirt": {"ephemeral": True, "boot": self.name}},
            "machines": machines,
            "engine": {"install": "none"},
            # without hardware's help, several machines that boot at once take their time
            "ssh": {"user": USER, "connect_timeout": "10m"},
        }
        self._inventory(site).write_text(json.dumps(inventory, indent=2) + "\n")

    def argv(self, site: VmSite) -> tuple[str, ...]:
        """As a user types it."""
        return (_PROVISION, "up", str(self._inventory(site)), "--yes", "--progress", "plain")

    def doors(self, site: VmSite) -> Sequence[Door]:
        """With the cluster's own key, and its known_hosts, which has the key of each machine before that boots."""
        paths = ClusterPaths(state_root(site.environ), _CLUSTER)
        options = (
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={paths.known_hosts}",
            f"IdentityFile={paths.private_key}",
        )
        return [
            Door(machine.name, machine.address, (*options, f"HostKeyAlias={machine.name}"))
            for machine in LibvirtDriver({}).discover(_CLUSTER)
            if machine.address
        ]

    def forget(self, site: VmSite) -> None:
        """`provision down`; the image stays in the store, with the state that warm machines are cloned from."""
        argv = (_PROVISION, "down", str(self._inventory(site)), "--yes")
        done = subprocess.run(argv, env=dict(site.environ), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"provision down failed ({done.returncode}):\n{done.stderr[-3000:]}")

    def _inventory(self, site: VmSite) -> Path:
        return site.folder / f"{self.name}.yml"


if TYPE_CHECKING:
    _conforms: type[VmContender] = ProvisionVm
