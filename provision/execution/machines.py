"""Carrying out the steps that concern one machine: its being, its host, its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from provision.driver import Machine, MachineSpec, Power
from provision.errors import HostKeyError, PlanError, ProvisionError, UnreachableError
from provision.execution import first_boot
from provision.execution.scheduler import Outcome
from provision.execution.settle import node_version, settled
from provision.execution.world import World
from provision.hosts.changes import due
from provision.hosts.changes.firewall import members_of
from provision.hosts.connect import LoginRefusedError
from provision.hosts.facts import HostFacts
from provision.hosts.host import Host
from provision.hosts.release import fragments
from provision.planning.actions import Adopt, Configure, Create, Destroy, Forget, Reach, Release, Start
from provision.planning.checks import host_problems
from provision.planning.hosts import desired_host, member_address
from provision.planning.wanted import Wanted
from provision.state.keys import new_host_key
from provision.state.model import ClusterState, MachineRecord, MachineStatus

Say = Callable[[str], None]

#: seconds that one host's changes may take: packages come over slow lines
_APPLY_SECONDS = 1200.0


def create(world: World, wanted: Wanted, action: Create, _say: Say) -> Outcome:
    """The intent is written before the driver is asked, the result after: a crash leaves a name to look for."""
    spec = action.spec
    intent = MachineRecord(
        name=spec.name,
        driver=spec.driver,
        group=spec.group,
        number=spec.number,
        role=spec.role,
        status=MachineStatus.CREATING,
    )
    world.store.update(lambda state: state.put(intent))
    complete = replace(spec, host_key=new_host_key(), authorized_keys=wanted.authorized_keys)
    with world.gate(spec.driver):
        machine = world.drivers[spec.driver].create(complete)
    _record(world, spec, machine)
    return Outcome(note=machine.address or "")


def adopt(world: World, wanted: Wanted, action: Adopt, _say: Say) -> Outcome:
    """Only our own record changes."""
    _record(world, wanted.spec(action.machine.name), action.machine)
    return Outcome(note=action.machine.address or "")


def start(world: World, wanted: Wanted, action: Start, _say: Say) -> Outcome:
    """The address may be another one afterwards."""
    driver = world.drivers[action.machine.driver]
    if not isinstance(driver, Power):
        raise ProvisionError(
            f"{action.machine.name} is {action.machine.state}, and driver {driver.name!r} cannot start machines",
            hint="start it by hand, then run provision up again",
        )
    machine = driver.start(action.machine)
    _record(world, wanted.spec(machine.name), machine)
    return Outcome(note=machine.address or "")


def _record(world: World, spec: MachineSpec, machine: Machine) -> None:
    world.machines[machine.name] = machine
    if machine.host_keys and not world.adopts(machine.driver):
        world.known_hosts.pin(machine.name, address=machine.address, port=machine.port, keys=machine.host_keys)
    record = MachineRecord.of(machine, role=spec.role, status=MachineStatus.CREATED)
    world.store.update(lambda state: state.put(record))


def reach(world: World, wanted: Wanted, action: Reach, say: Say) -> Outcome:
    """Wait for SSH and for the end of the first boot, and probe. What the probe contradicts is found here, before
    anything is changed."""
    spec = wanted.spec(action.machine)
    machine = world.machines[action.machine]
    driver = world.drivers[machine.driver]
    notes: list[str] = []

    def set_up(host: Host) -> None:
        if machine.first_boot == first_boot.CLOUD_INIT:
            console = partial(first_boot.console_of, driver, machine)
            notes.append(first_boot.finish(host, fatal=action.boots, say=say, console=console))

    try:
        session = world.open(
            machine,
            seconds=world.ssh.connect_timeout,
            images=bool(wanted.archives),
            spec=spec,
            boots=action.boots,
            waiting=say,
            first=set_up,
        )
    except (UnreachableError, LoginRefusedError) as silent:
        if action.boots:
            silent.detail += first_boot.tail(first_boot.console_of(driver, machine))
        raise
    problems = host_problems(wanted, spec, session.facts)
    if problems:
        raise PlanError(tuple(problems))
    return Outcome(changed=False, note="; ".join(note for note in notes if note))


def configure(world: World, wanted: Wanted, action: Configure, say: Say) -> Outcome:
    """Compare once more, with all addresses known, and apply what differs in one script."""
    session = world.session(action.machine)
    facts = session.facts
    desired = desired_host(wanted, action, _addresses(world, wanted, action.members, facts))
    changes = due(desired, facts, ports_only=action.ports_only)
    if not changes:
        return Outcome(changed=False, note="already so")
    disrupts = facts.node.member and any(change.disrupts for change in changes)
    before = node_version(world, facts.node.node_id) if disrupts else None
    session.changed()
    session.host.apply([change.fragment for change in changes], seconds=_APPLY_SECONDS, progress=say)
    if disrupts:
        settled(world, session, say, before=before)
    return Outcome(note=", ".join(change.fragment.name for change in changes))


def _addresses(world: World, wanted: Wanted, members: tuple[str, ...], facts: HostFacts) -> list[str]:
    """The members' addresses. A machine that could not be made has none, and will be let in when it is.

    While one that exists has an address that this run does not know, nobody who was let in is shut out.
    """
    found = [address_of(world, wanted, name) for name in members]
    known = [address for address in found if address is not None]
    if any(address is None and name in world.machines for name, address in zip(members, found, strict=True)):
        known += members_of(facts.firewall.rules)
    return list(dict.fromkeys(known))


def address_of(world: World, wanted: Wanted, name: str) -> str | None:
    """Where the members reach a machine, as far as this run knows."""
    session = world.sessions.get(name)
    facts = session.known if session else None
    found = member_address(wanted.cluster.swarm.advertise, world.machines.get(name), facts)
    return found or world.node_addresses.get(name)


def destroy(world: World, action: Destroy, _say: Say) -> Outcome:
    """The machine, then all that we know of it."""
    machine = action.machine
    _mark(world, machine.name)
    with world.gate(machine.driver):
        world.drivers[machine.driver].destroy(machine)
    _forget(world, machine.name)
    return Outcome()


def forget(world: World, action: Forget, _say: Say) -> Outcome:
    """Only what we remember of it: its number and name are free again."""
    _forget(world, action.machine)
    return Outcome()


def release(world: World, action: Release, say: Say) -> Outcome:
    """Take back what `up` put on the host, then forget it. The host itself stays as it is."""
    machine = action.machine
    _mark(world, machine.name)
    try:
        note = _take_back(world, machine, say, purge=action.purge)
    except (UnreachableError, HostKeyError, LoginRefusedError) as gone:
        if not action.forget:
            raise ProvisionError(
                f"{machine.name}: cannot take back what is on it, because it does not answer",
                detail=gone.summary + (f"\n{gone.detail}" if gone.detail else ""),
                hint=f"bring it back and run this again, or leave it as it is: provision rm --force {machine.name}",
            ) from gone
        note = "did not answer; forgotten as it is"
    _forget(world, machine.name)
    return Outcome(note=note)


def _take_back(world: World, machine: Machine, say: Say, *, purge: bool) -> str:
    session = world.open(machine, seconds=min(20.0, world.ssh.connect_timeout), waiting=say)
    facts = session.facts
    if facts.owner is None:
        return "bears no mark of ours; left alone"
    if facts.owner.get("cluster") not in (None, world.cluster):
        return f"belongs to cluster {facts.owner.get('cluster')!r} now; left alone"
    steps = fragments(user=facts.user, member=facts.node.member, purge=purge)
    session.host.apply(steps, seconds=_APPLY_SECONDS, progress=say)
    return ""


def _mark(world: World, name: str) -> None:
    def destroying(state: ClusterState) -> ClusterState:
        return state.mark(name, MachineStatus.DESTROYING) if name in state.machines else state

    world.store.update(destroying)


def _forget(world: World, name: str) -> None:
    world.forget(name)

    def gone(state: ClusterState) -> ClusterState:
        leaving = [other for other in state.data.get("leaving", ()) if other != name]
        rest = {key: value for key, value in state.data.items() if key != "leaving"}
        return replace(state.drop(name), data={**rest, "leaving": leaving} if leaving else rest)

    world.store.update(gone)
