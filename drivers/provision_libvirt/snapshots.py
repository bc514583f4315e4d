"""Snapshots of a whole cluster: of each of its domains an internal one, memory and disks, all of the same moment.

The machines stand still from before the first part is saved until after the last, so that no machine's part knows of
anything that another's does not. libvirt keeps the parts with the domains, QEMU in their disks: nothing else holds any
of it, and what destroys a machine takes its part along.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from provision.driver import Snapshot
from provision.errors import DriverError, ProvisionError
from provision_libvirt.connection import translated
from provision_libvirt.locks import hypervisor
from provision_libvirt.metadata import TEMPLATE, Owned, owned
from provision_libvirt.networks import add_entries, ensure_networks
from provision_libvirt.parallel import at_once
from provision_libvirt.snapshot_xml import Part, has_agent, parse, render
from provision_libvirt.storage import ensure_pool, place_named

if TYPE_CHECKING:
    import libvirt

#: seconds that all machines have together; the whole memory of each goes to a disk, or comes from it
_MEMORY_SECONDS = 900.0
_STILL_SECONDS = 60.0
_RESUME_SECONDS = 120.0
_CLOCK_SECONDS = 60.0
_FORGET_SECONDS = 300.0
#: seconds between two questions to a guest agent that is not there yet
_PAUSE = 0.1

Result = TypeVar("Result")
Domains = Mapping[str, Any]  # machine name to libvirt.virDomain


def list_(conn: libvirt.virConnect, cluster: str) -> tuple[Snapshot, ...]:
    """The cluster's snapshots, the oldest first; one that a killed run left by half lacks machines."""
    found: dict[str, dict[str, Part]] = {}
    for machine, domain in _domains(_machines(conn, cluster)).items():
        for part in _parts(domain, cluster):
            found.setdefault(part.name, {})[machine] = part
    snapshots = [_snapshot(name, parts) for name, parts in found.items()]
    return tuple(sorted(snapshots, key=lambda snapshot: (snapshot.created, snapshot.name)))


def save(conn: libvirt.virConnect, cluster: str, name: str) -> Snapshot:
    """Save all machines of the cluster as they are at one moment; those that run stand still meanwhile.

    They run again in any case, and after a failure nothing is left of the snapshot. Raises DriverError where there is
    one of this name, or a machine neither runs nor is off.
    """
    domains = _complete(_machines(conn, cluster))
    if not domains:
        raise DriverError(f"cluster {cluster!r} has no machine that could be saved")
    _require_no(name, domains)
    ran = {machine: _runs(machine, domain) for machine, domain in domains.items()}
    running = {machine: domain for machine, domain in domains.items() if ran[machine]}
    agents = {machine for machine, domain in running.items() if has_agent(_xml(machine, domain))}
    parts = {
        machine: Part(name=name, cluster=cluster, machines=tuple(domains), ran=ran[machine], agent=machine in agents)
        for machine in domains
    }
    try:
        with _standing_still(running):
            at_once("saving", _each(domains, lambda m, domain: _take(m, domain, parts[m])), seconds=_MEMORY_SECONDS)
    except BaseException:
        with contextlib.suppress(ProvisionError):  # half a snapshot is none; the first error is the one to tell
            remove(conn, cluster, name)
        raise
    with contextlib.suppress(ProvisionError):  # they stood still for seconds; that is not worth a failed save
        _set_clocks({machine: domains[machine] for machine in agents})
    return _snapshot(
        name, {machine: _part(domain, cluster, name) or parts[machine] for machine, domain in domains.items()}
    )


def restore(conn: libvirt.virConnect, cluster: str, name: str) -> None:
    """Put all machines back, have those run that ran then, and set their clocks.

    Those that are back wait for the last one, paused. When one cannot be put back they stay so: no machine goes on
    beside one of another time. Safe to run again.
    """
    machines = _machines(conn, cluster)
    domains = _complete(machines)
    parts = {machine: _part(domain, cluster, name) for machine, domain in domains.items()}
    there = {machine: part for machine, part in parts.items() if part is not None}
    _require_same(name, cluster, domains, there)
    _ensure_surroundings(conn, machines)
    try:
        at_once(
            "putting back", _each(domains, lambda m, domain: _put_back(m, domain, there[m])), seconds=_MEMORY_SECONDS
        )
    except ProvisionError as problem:
        again = f"provision snapshot restore {name} -c {cluster}"
        raise DriverError(
            f"snapshot {name!r} is not restored; machines that are back wait, paused",
            detail=str(problem),
            hint=f"mend the cause and try again: {again}; or have them go on as they are: provision up",
        ) from problem
    ran = {machine: domain for machine, domain in domains.items() if there[machine].ran}
    at_once("resuming", _each(ran, _resume), seconds=_RESUME_SECONDS)
    _set_clocks({machine: domain for machine, domain in ran.items() if there[machine].agent})


def remove(conn: libvirt.virConnect, cluster: str, name: str) -> None:
    """Forget it on every machine that has its part. Gone already is fine."""
    domains = _domains(_machines(conn, cluster))
    have = {machine: domain for machine, domain in domains.items() if _part(domain, cluster, name) is not None}
    at_once("forgetting", _each(have, lambda m, domain: _forget(m, domain, name)), seconds=_FORGET_SECONDS)


def _machines(conn: libvirt.virConnect, cluster: str) -> tuple[Owned, ...]:
    """The cluster's machines; what others are cloned from is none."""
    with translated(f"the machines of cluster {cluster!r} cannot be listed"):
        return tuple(each for each in owned(conn, cluster) if each.mark.boot != TEMPLATE)


def _domains(machines: Sequence[Owned]) -> dict[str, Any]:
    return {each.name: each.domain for each in machines}


def _complete(machines: Sequence[Owned]) -> dict[str, Any]:
    """Raises DriverError where one of them is made by half: it has no disk to speak of."""
    unmade = [each.name for each in machines if not each.mark.made]
    if unmade:
        raise DriverError(f"{', '.join(unmade)}: made by half", hint="finish it first: provision up, or provision rm")
    return _domains(machines)


def _each(domains: Domains, call: Callable[[str, Any], Result]) -> dict[str, Callable[[], Result]]:
    return {machine: partial(call, machine, domain) for machine, domain in domains.items()}


# --- what is there ---


def _parts(domain: libvirt.virDomain, cluster: str) -> Iterator[Part]:
    """The domain's parts of the cluster's snapshots."""
    with translated(f"{domain.name()}: its snapshots cannot be listed"):
        documents = [snapshot.getXMLDesc() for snapshot in domain.listAllSnapshots()]
    for document in documents:
        part = parse(document)
        if part is not None and part.cluster == cluster:
            yield part


def _part(domain: libvirt.virDomain, cluster: str, name: str) -> Part | None:
    return next((part for part in _parts(domain, cluster) if part.name == name), None)


def _snapshot(name: str, parts: Mapping[str, Part]) -> Snapshot:
    created = datetime.fromtimestamp(min(part.created for part in parts.values()), UTC)
    return Snapshot(name=name, created=created.isoformat(), machines=tuple(sorted(parts)))


def _require_no(name: str, domains: Domains) -> None:
    for machine, domain in domains.items():
        with translated(f"{machine}: its snapshots cannot be listed"):
            names = domain.snapshotListNames()
        if name in names:
            raise DriverError(
                f"there is a snapshot {name!r} of {machine} already",
                hint=f"take another name, or remove it first: provision snapshot rm {name}",
            )


def _require_same(name: str, cluster: str, domains: Domains, parts: Mapping[str, Part]) -> None:
    """The machines that are there must be those that were saved."""
    if not parts:
        raise DriverError(
            f"there is no snapshot {name!r} of cluster {cluster!r}", hint=f"provision snapshot ls -c {cluster}"
        )
    saved = {machine for part in parts.values() for machine in part.machines}
    problems = [
        f"{machine} has no part of it: " + ("its save was cut short" if machine in saved else "it was added since")
        for machine in domains
        if machine not in parts
    ]
    problems += [f"{machine} is gone, and its part with it" for machine in sorted(saved - domains.keys())]
    if problems:
        raise DriverError(
            f"snapshot {name!r} is not of the machines that cluster {cluster!r} has now",
            detail="\n".join(f"    {problem}" for problem in problems),
            hint=f"it can only be removed: provision snapshot rm {name} -c {cluster}",
        )


def _ensure_surroundings(conn: libvirt.virConnect, machines: Sequence[Owned]) -> None:
    """A reboot of the hypervisor may have left pool and networks down, which a machine needs to be restored."""
    with translated("what the machines need cannot be started"), hypervisor(conn.getURI()):
        for each in machines:
            ensure_pool(conn, place_named(conn, each.mark.pool))
            ensure_networks(conn, each.mark)
            add_entries(conn, each.name, each.mark.nics)


# --- standing still and going on ---


def _runs(machine: str, domain: libvirt.virDomain) -> bool:
    """Whether it runs; False: it is off. Raises DriverError for anything between."""
    import libvirt

    with translated(f"{machine}: its state cannot be read"):
        state = domain.state()[0]
    if state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
        return True
    if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED):
        return False
    if state == libvirt.VIR_DOMAIN_PAUSED:
        raise DriverError(f"{machine} is paused, and neither runs nor is off", hint="provision up has it go on")
    raise DriverError(f"{machine} is on its way up or down", hint="try again in a moment")


@contextlib.contextmanager
def _standing_still(running: Domains) -> Iterator[None]:
    """All of them are paused within the block, and go on after it, whatever happens."""
    try:
        at_once("pausing", _each(running, _pause), seconds=_STILL_SECONDS)
        yield
    finally:
        at_once("resuming", _each(running, _resume), seconds=_RESUME_SECONDS)


def _pause(machine: str, domain: libvirt.virDomain) -> None:
    with translated(f"{machine}: cannot be paused"):
        domain.suspend()


def _resume(machine: str, domain: libvirt.virDomain) -> None:
    """Have it go on if it is paused. While libvirt still works on it (a save that we wait for no longer), wait."""
    import libvirt

    deadline = time.monotonic() + _RESUME_SECONDS
    with translated(f"{machine}: cannot be resumed"):
        while domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            try:
                domain.resume()
            except libvirt.libvirtError as busy:
                if busy.get_error_code() != libvirt.VIR_ERR_OPERATION_TIMEOUT or time.monotonic() >= deadline:
                    raise


# --- one machine's part ---


def _take(machine: str, domain: libvirt.virDomain, part: Part) -> None:
    with translated(f"{machine}: cannot be saved"):
        domain.snapshotCreateXML(render(part))


def _put_back(machine: str, domain: libvirt.virDomain, part: Part) -> None:
    """What the machine is now is given up. One that ran is paused afterwards."""
    import libvirt

    flags = libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_FORCE
    if part.ran:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED
    with translated(f"{machine}: cannot be put back"):
        domain.revertToSnapshot(domain.snapshotLookupByName(part.name), flags)


def _forget(machine: str, domain: libvirt.virDomain, name: str) -> None:
    import libvirt

    with translated(f"{machine}: its part of the snapshot cannot be removed"):
        try:
            domain.snapshotLookupByName(name).delete()
        except libvirt.libvirtError as problem:
            if problem.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT:
                raise


# --- clocks ---


def _set_clocks(domains: Domains) -> None:
    """A guest's clock stands still with it, and a restored one shows the time at which it was saved."""
    at_once("setting the clock", _each(domains, _set_clock), seconds=_CLOCK_SECONDS)


def _set_clock(machine: str, domain: libvirt.virDomain) -> None:
    """Through the guest agent, which takes a moment to be heard again."""
    import libvirt

    deadline = time.monotonic() + _CLOCK_SECONDS * 0.9
    with translated(f"{machine}: its clock cannot be set", hint="the machine runs; its time is that of the snapshot"):
        while True:
            now = time.time_ns()
            try:
                domain.setTime({"seconds": now // 10**9, "nseconds": now % 10**9})
            except libvirt.libvirtError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return


def _xml(machine: str, domain: libvirt.virDomain) -> str:
    with translated(f"{machine}: its description cannot be read"):
        return str(domain.XMLDesc())
