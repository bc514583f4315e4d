"""Driver nspawn: the part that the rest of provision talks to. Needs no root to look, only to change."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from provision.driver import Finding, Machine, MachineSpec, MachineState
from provision.errors import DriverError, ProvisionError
from provision.local.locks import is_locked
from provision_nspawn.layout import Layout
from provision_nspawn.options import NspawnOptions
from provision_nspawn.processes import is_alive
from provision_nspawn.records import MachineRecord, clusters, machines, read_machine, read_process

if TYPE_CHECKING:
    from pydantic import BaseModel

    from provision_nspawn.layout import MachinePaths


class NspawnDriver:
    """Booted systemd-nspawn containers as hosts: systemd, sshd and, unless `docker: false`, Docker Engine.

    They live under /var/lib/provision (or PROVISION_DATA_DIR) and in the network namespace of the process that makes
    them, and outlive it. Changes need root: as another user they go through `sudo -n`.
    """

    name: ClassVar[str] = "nspawn"
    parallel: ClassVar[int] = 8
    adopts: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = NspawnOptions

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Takes `drivers.nspawn` of the inventory; a group's options come with each spec, merged over it."""
        self._settings = dict(settings)
        self._layout = Layout.from_environ(os.environ)

    def check(self, specs: Sequence[MachineSpec]) -> Sequence[Finding]:
        """What is missing here and what is wrong with the specs, and what create will do besides (not fatal)."""
        from provision_nspawn.doctor import builds_image, check_host, check_specs

        builds = builds_image(self._layout, specs)
        return (*check_host(self._layout, builds=builds), *check_specs(self._layout, specs))

    def doctor(self) -> Sequence[Finding]:
        """What is missing on this machine for machines to be made."""
        from provision_nspawn.doctor import check_host

        return check_host(self._layout)

    def discover(self, cluster: str) -> Sequence[Machine]:
        """Every machine of the cluster that has a record here, by name; `details["problem"]` says what is half-made."""
        if os.geteuid() == 0:
            self._call("sweep", {})
        return tuple(self._discovered(cluster, paths) for paths in machines(self._layout, cluster))

    def create(self, spec: MachineSpec) -> Machine:
        """Make and boot it; returns when its init runs, before it answers. The first of an image builds the image."""
        from provision_nspawn.requests import CreateRequest

        try:
            request = CreateRequest.of(spec)
        except ValueError as exc:  # pydantic's is one
            raise DriverError(f"{spec.name}: the options of driver nspawn are not valid", detail=str(exc)) from exc
        answer = self._call("create", {"request": request.to_json()})
        return self._machine(spec.cluster, answer["machine"]["name"])

    def destroy(self, machine: Machine) -> None:
        """Remove the machine; its cluster's bridge, network and records go with the last one."""
        self._call("destroy", {"cluster": machine.cluster, "name": machine.name})

    def start(self, machine: Machine) -> Machine:
        """Boot it; running already is success. Its address is the same."""
        self._call("start", {"cluster": machine.cluster, "name": machine.name})
        return self._machine(machine.cluster, machine.name)

    def stop(self, machine: Machine) -> None:
        """Shut it down in order within a minute, then end it."""
        self._call("stop", {"cluster": machine.cluster, "name": machine.name})

    def kill(self, machine: Machine) -> None:
        """End it at once."""
        self._call("kill", {"cluster": machine.cluster, "name": machine.name})

    def console(self, machine: Machine) -> str:
        """What it printed on its console since it was created."""
        text: str = self._call("console", {"cluster": machine.cluster, "name": machine.name})["text"]
        return text

    def images_in_use(self) -> Mapping[str, Sequence[str]]:
        """The machines of every cluster by the digest of the image that their overlays lie on."""
        found: dict[str, list[str]] = {}
        for cluster in clusters(self._layout):
            for paths in machines(self._layout, cluster):
                with contextlib.suppress(ProvisionError):  # a damaged record names no image
                    record = read_machine(paths)
                    if record is not None:
                        found.setdefault(record.digest, []).append(record.name)
        return found

    def _call(self, verb: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        # Imported here: looking needs none of it, and `provision ls` shall be quick.
        from provision_nspawn.privileged import call

        return call(verb, {"data": str(self._layout.data), **payload})

    def _machine(self, cluster: str, name: str) -> Machine:
        paths = self._layout.machine(cluster, name)
        record = read_machine(paths)
        if record is None:
            raise DriverError(f"{name} was removed while it was worked on")
        return self._described(record, paths)

    def _discovered(self, cluster: str, paths: MachinePaths) -> Machine:
        try:
            record = read_machine(paths)
        except ProvisionError as error:
            return self._broken(cluster, paths, error.summary)
        if record is None:
            return self._broken(cluster, paths, f"{paths.record} is missing")
        return self._described(record, paths)

    def _described(self, record: MachineRecord, paths: MachinePaths) -> Machine:
        names = self._layout.kernel_names(record.cluster, record.name)
        state, problem = _state(record, paths)
        details = {
            "folder": str(paths.root),
            "namespace": names.unit,
            "bridge": names.bridge,
            **({"problem": problem} if problem else {}),
            **({"notes": "; ".join(record.notes)} if record.notes else {}),
        }
        return Machine(
            cluster=record.cluster,
            name=record.name,
            group=record.group,
            number=record.number,
            driver=self.name,
            state=state,
            address=record.address,
            user=record.user,
            port=record.port,
            host_keys=record.host_keys,
            provider_id=names.unit,
            image=record.image,
            details=details,
        )

    def _broken(self, cluster: str, paths: MachinePaths, problem: str) -> Machine:
        name = paths.root.name
        return Machine(
            cluster=cluster,
            name=name,
            group="",
            number=0,
            driver=self.name,
            state=MachineState.ERROR,
            address=None,
            provider_id=self._layout.kernel_names(cluster, name).unit,
            details={"folder": str(paths.root), "problem": problem},
        )


def _state(record: MachineRecord, paths: MachinePaths) -> tuple[MachineState, str]:
    if not record.made:
        if is_locked(paths.root):
            return (MachineState.STOPPING if record.leaving else MachineState.STARTING), ""
        return MachineState.ERROR, f"half {'removed' if record.leaving else 'made'}: the last run did not finish it"
    return (MachineState.RUNNING if is_alive(read_process(paths)) else MachineState.STOPPED), ""


if TYPE_CHECKING:
    from provision.driver import Console, Doctor, Driver, Power
    from provision.images.use import UsesImages

    _driver: type[Driver] = NspawnDriver
    _power: type[Power] = NspawnDriver
    _console: type[Console] = NspawnDriver
    _doctor: type[Doctor] = NspawnDriver
    _uses_images: type[UsesImages] = NspawnDriver
