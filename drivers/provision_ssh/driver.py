"""Adopts machines that already run: bare metal, or what something else made. Makes nothing and destroys nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from provision.driver import Finding, HostEntry, Machine, MachineSpec, MachineState
from provision.errors import DriverError

if TYPE_CHECKING:
    from provision.driver import Driver


class SshOptions(BaseModel):
    """None: all that there is to say of a machine stands in its entry under `hosts:`, or under `ssh:`."""

    model_config = ConfigDict(extra="forbid")


class SshDriver:
    """A machine is what the inventory's `hosts:` says; no connection is made here.

    It exists as long as it is listed: `discover` finds none, since there is no provider to ask, and `destroy` leaves
    it running. What provision put on it is taken back by `down`, not here.
    """

    name: ClassVar[str] = "ssh"
    parallel: ClassVar[int] = 64
    adopts: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = SshOptions

    def __init__(self, settings: Mapping[str, Any]) -> None:
        SshOptions.model_validate(dict(settings))

    def check(self, specs: Sequence[MachineSpec]) -> Sequence[Finding]:
        """A machine without a host, and two that are one."""
        findings: list[Finding] = []
        doors: dict[tuple[str, int, str | None], str] = {}
        for spec in specs:
            if not spec.host:
                findings.append(_no_host(spec))
                continue
            door = (spec.host.address.lower(), spec.host.port or spec.port, spec.host.jump)
            first = doors.setdefault(door, spec.name)
            if first != spec.name:
                findings.append(
                    Finding(
                        summary=f"{first} and {spec.name} are the same machine, {spec.host.address}",
                        fix=f"remove one of them from machines.{spec.group}.hosts",
                    )
                )
        return findings

    def discover(self, cluster: str) -> Sequence[Machine]:  # noqa: ARG002 - the protocol's
        """Nothing: the state is the record of what was adopted."""
        return ()

    def create(self, spec: MachineSpec) -> Machine:
        """The machine that the spec's host names, changed in nothing; the same spec gives an equal machine."""
        if not spec.host:
            finding = _no_host(spec)
            raise DriverError(finding.summary, hint=finding.fix)
        host = spec.host
        return Machine(
            cluster=spec.cluster,
            name=spec.name,
            group=spec.group,
            number=spec.number,
            driver=self.name,
            state=MachineState.RUNNING,
            address=host.address,
            private_address=host.private_address,
            user=host.user,
            port=host.port,
            jump=host.jump,
            host_keys=_host_keys(host),
            identity_file=host.identity_file,
            provider_id=host.address,
        )

    def destroy(self, machine: Machine) -> None:
        """Nothing: it was there before us."""


def _no_host(spec: MachineSpec) -> Finding:
    return Finding(
        summary=f"{spec.name} has no host to adopt", fix=f"list its address under machines.{spec.group}.hosts"
    )


def _host_keys(host: HostEntry) -> tuple[str, ...]:
    """A fingerprint vouches for nothing that a known_hosts file could hold; it is compared at the first connection."""
    if not host.host_key or host.host_key.startswith("SHA256:"):
        return ()
    return (" ".join(host.host_key.split()[:2]),)


if TYPE_CHECKING:
    _conforms: type[Driver] = SshDriver
