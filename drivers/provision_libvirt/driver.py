"""Driver libvirt: the part that the rest of provision talks to. libvirt's Python module is needed for calls only."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from provision.driver import Finding, Machine, MachineSpec, Snapshot
from provision.errors import DriverError
from provision_libvirt.options import LibvirtOptions
from provision_libvirt.uri import DEFAULT, parse

if TYPE_CHECKING:
    import libvirt
    from pydantic import BaseModel


class LibvirtDriver:
    """Virtual machines of QEMU, on this machine or on one that is reached by SSH. Nobody need be root.

    What exists is what the hypervisor has, by the marks in its domains; nothing is kept here.
    """

    name: ClassVar[str] = "libvirt"
    parallel: ClassVar[int] = 8
    adopts: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = LibvirtOptions

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Takes `drivers.libvirt` of the inventory; a group's options come with each spec, merged over it."""
        self._settings = dict(settings)
        self._uri = parse(str(settings.get("uri") or DEFAULT))
        self._lock = threading.Lock()
        self._open: libvirt.virConnect | None = None

    def check(self, specs: Sequence[MachineSpec]) -> Sequence[Finding]:
        """What is missing, what is wrong with the specs, and how the machines will boot (not fatal)."""
        from provision_libvirt import doctor

        found = tuple(doctor.findings(self._settings))
        if any(finding.fatal for finding in found):
            return found
        from provision_libvirt.checks import spec_findings
        from provision_libvirt.connection import translated

        with translated("cannot ask the hypervisor"):
            return tuple(dict.fromkeys((*found, *spec_findings(self._connection(), self._uri.text, specs))))

    def doctor(self) -> Sequence[Finding]:
        """What is missing on this machine and at the hypervisor."""
        from provision_libvirt import doctor

        return tuple(doctor.findings(self._settings))

    def discover(self, cluster: str) -> Sequence[Machine]:
        """Every machine of the cluster, by name; `details["problem"]` says what is half-made.

        A template that a killed run left is told only where it is all that there is: it goes with the last machine.
        """
        conn = self._connection()
        from provision_libvirt.connection import translated
        from provision_libvirt.describe import machine_of
        from provision_libvirt.metadata import is_machine, owned

        with translated(f"cannot list the machines of cluster {cluster!r}"):
            found = owned(conn, cluster)
            machines = [each for each in found if is_machine(each, cluster)] or found
            return tuple(machine_of(each, self._uri) for each in machines)

    def create(self, spec: MachineSpec) -> Machine:
        """Make and start it; returns when it runs, before it answers. The first of an image uploads the image."""
        conn = self._connection()
        from provision_libvirt.creating import create

        uri = str(dict(spec.options).get("uri") or self._uri.text)
        if uri != self._uri.text:
            raise DriverError(
                f"{spec.name} is to be made at {uri}, and its cluster is at {self._uri.text}",
                hint="set `uri` under `drivers.libvirt` only",
            )
        create(conn, spec)
        return self._machine(spec.cluster, spec.name)

    def destroy(self, machine: Machine) -> None:
        """Remove the machine with its disks; what it shares goes with the last machine that needs it."""
        conn = self._connection()
        from provision_libvirt.removing import destroy

        destroy(conn, machine.cluster, machine.name)

    def start(self, machine: Machine) -> Machine:
        """Boot it, or have it go on; running already is success. Its address is the same."""
        conn = self._connection()
        from provision_libvirt import machines

        machines.start(conn, machine.cluster, machine.name)
        return self._machine(machine.cluster, machine.name)

    def stop(self, machine: Machine) -> None:
        """Shut it down in order within a minute and a half, then end it."""
        conn = self._connection()
        from provision_libvirt import machines

        machines.stop(conn, machine.cluster, machine.name)

    def kill(self, machine: Machine) -> None:
        """End it at once."""
        conn = self._connection()
        from provision_libvirt import machines

        machines.kill(conn, machine.cluster, machine.name)

    def console(self, machine: Machine) -> str:
        """What it printed on its serial console since it was created."""
        conn = self._connection()
        from provision_libvirt import console
        from provision_libvirt.connection import translated
        from provision_libvirt.objects import find_domain

        with translated(f"{machine.name}: its console cannot be read"):
            domain = find_domain(conn, machine.name)
        return console.read(conn, domain) if domain is not None else ""

    def snapshots(self, cluster: str) -> Sequence[Snapshot]:
        """Those of the cluster, the oldest first."""
        conn = self._connection()
        from provision_libvirt import snapshots

        return snapshots.list_(conn, cluster)

    def save_snapshot(self, cluster: str, name: str, machines: Sequence[Machine]) -> Snapshot:  # noqa: ARG002
        """Save all machines of the cluster, memory and disks, at one moment."""
        conn = self._connection()
        from provision_libvirt import snapshots

        return snapshots.save(conn, cluster, name)

    def restore_snapshot(self, cluster: str, name: str, machines: Sequence[Machine]) -> None:  # noqa: ARG002
        """Put all of them back to that moment."""
        conn = self._connection()
        from provision_libvirt import snapshots

        snapshots.restore(conn, cluster, name)

    def remove_snapshot(self, cluster: str, name: str) -> None:
        """Forget it; gone already is success."""
        conn = self._connection()
        from provision_libvirt import snapshots

        snapshots.remove(conn, cluster, name)

    def _connection(self) -> libvirt.virConnect:
        """One for all threads, opened when it is first needed, and again when it broke."""
        from provision_libvirt.connection import open_connection

        with self._lock:
            if self._open is None or not self._open.isAlive():
                self._open = open_connection(self._uri.text)
            return self._open

    def _machine(self, cluster: str, name: str) -> Machine:
        conn = self._connection()
        from provision_libvirt.connection import translated
        from provision_libvirt.describe import machine_of
        from provision_libvirt.metadata import Owned, read
        from provision_libvirt.objects import find_domain

        with translated(f"{name} cannot be looked at"):
            domain = find_domain(conn, name)
            mark = read(domain) if domain is not None else None
            if mark is None or mark.cluster != cluster:
                raise DriverError(f"{name} was removed while it was worked on")
            return machine_of(Owned(name, mark, domain), self._uri)


if TYPE_CHECKING:
    from provision.driver import Console, Doctor, Driver, Power, Snapshots

    _driver: type[Driver] = LibvirtDriver
    _power: type[Power] = LibvirtDriver
    _console: type[Console] = LibvirtDriver
    _doctor: type[Doctor] = LibvirtDriver
    _snapshots: type[Snapshots] = LibvirtDriver
