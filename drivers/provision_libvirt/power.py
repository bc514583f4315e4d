"""Domains on and off. libvirt's errors are the caller's to translate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from provision.driver import MachineState
from provision.errors import DeadlineError
from provision_libvirt.objects import missing

if TYPE_CHECKING:
    import libvirt

#: seconds for an orderly shutdown; between two asks for it, since a guest that still boots does not hear the first one
_STOP_SECONDS = 90.0
_ASK_SECONDS = 5.0
#: seconds for a process to die that the kernel is busy with
_KILL_SECONDS = 60.0
_PAUSE = 0.1


def state_of(domain: libvirt.virDomain) -> MachineState:
    """What libvirt says of it, in provision's words."""
    import libvirt

    states = {
        libvirt.VIR_DOMAIN_RUNNING: MachineState.RUNNING,
        libvirt.VIR_DOMAIN_BLOCKED: MachineState.RUNNING,
        libvirt.VIR_DOMAIN_PAUSED: MachineState.PAUSED,
        libvirt.VIR_DOMAIN_PMSUSPENDED: MachineState.PAUSED,
        libvirt.VIR_DOMAIN_SHUTDOWN: MachineState.STOPPING,
        libvirt.VIR_DOMAIN_SHUTOFF: MachineState.STOPPED,
        libvirt.VIR_DOMAIN_CRASHED: MachineState.ERROR,
    }
    return states.get(domain.state()[0], MachineState.UNKNOWN)


def power_on(domain: libvirt.virDomain) -> None:
    """Start it, or have it go on; running already is fine."""
    import libvirt

    state = state_of(domain)
    with missing(libvirt.VIR_ERR_OPERATION_INVALID):  # somebody else was faster
        if state is MachineState.PAUSED:
            domain.resume()
        elif state is not MachineState.RUNNING:
            domain.create()


def shut_down(domain: libvirt.virDomain) -> None:
    """Ask it to shut down in order, again and again, and stop it when that took too long. Off already is fine."""
    import libvirt

    if state_of(domain) is MachineState.PAUSED:
        power_on(domain)  # who stands still hears nothing
    deadline = time.monotonic() + _STOP_SECONDS
    ask = time.monotonic()
    while domain.isActive() and time.monotonic() < deadline:
        if time.monotonic() >= ask:
            with missing(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
                domain.shutdown()
            ask = time.monotonic() + _ASK_SECONDS
        time.sleep(_PAUSE)
    power_off(domain)


def power_off(domain: libvirt.virDomain) -> None:
    """Stop it at once; off already is fine. Raises DeadlineError where its process does not die."""
    import libvirt

    deadline = time.monotonic() + _KILL_SECONDS
    while domain.isActive():
        try:
            with missing(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
                domain.destroy()
        except libvirt.libvirtError as exc:
            if "Failed to terminate process" not in str(exc):
                raise
            if time.monotonic() >= deadline:
                raise DeadlineError(f"stopping {domain.name()}", _KILL_SECONDS, str(exc)) from exc
            time.sleep(_PAUSE)
