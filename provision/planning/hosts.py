"""Steps that bring machines into being and make their hosts what they shall be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import pairwise

from provision.driver import Machine, MachineSpec, MachineState
from provision.hosts.changes import Change, due
from provision.hosts.changes.few import few
from provision.hosts.desired import HostDesired, Members
from provision.hosts.facts import HostFacts
from provision.inventory.cluster import EngineInstall, EngineSettings
from provision.planning.actions import Adopt, Configure, Create, Reach, Start
from provision.planning.observation import Observation
from provision.planning.plan import Draft, Step
from provision.planning.wanted import Wanted
from provision.swarm.values import Node

#: a restart of the engine stops its tasks: this share of the workers may be without at a time
_WORKERS_AT_ONCE = 5
#: interfaces that Docker makes on every host, with the same addresses on each
_ENGINES_OWN = ("docker", "br-", "veth")


def desired_host(wanted: Wanted, action: Configure, addresses: Iterable[str]) -> HostDesired:
    """The target of one host, once the addresses of the members are known."""
    return HostDesired(
        cluster=wanted.cluster.name,
        machine=action.machine,
        manager=action.manager,
        authorized_keys=wanted.authorized_keys,
        members=addresses if isinstance(addresses, Members) else Members(addresses),
        install=action.engine.install is EngineInstall.DISTRO,
        daemon=action.engine.daemon,
        firewall=wanted.cluster.firewall,
        data_path_port=wanted.cluster.swarm.data_path_port,
        hostname=action.hostname,
    )


def plan_machines(draft: Draft, wanted: Wanted, observed: Observation) -> None:
    """create, start or adopt; then reach what was not reached."""
    for spec in wanted:
        _exist(draft, wanted, observed, spec)
    for spec in wanted:
        if spec.name not in observed.facts and wanted.touches(spec.name):
            _reach(draft, observed, spec)


def _exist(draft: Draft, wanted: Wanted, observed: Observation, spec: MachineSpec) -> None:
    machine = observed.machines.get(spec.name)
    if not wanted.touches(spec.name):
        return
    if machine is None or machine.state is MachineState.ERROR:
        what = f"{spec.driver} {spec.image}" if spec.image else spec.driver
        cause = "does not exist" if machine is None else "was made by half"
        draft.add(Step(subject=spec.name, verb="create machine", cause=f"{cause} ({what})", action=Create(spec)))
    elif machine.state in (MachineState.STOPPED, MachineState.PAUSED):
        cause = f"is {machine.state.value.lower()}"
        draft.add(Step(subject=spec.name, verb="start machine", cause=cause, action=Start(machine)))
    elif spec.name not in observed.recorded:
        cause = "is not in this cluster yet" if spec.driver in wanted.adopting else "is not in the state"
        draft.add(Step(subject=spec.name, verb="adopt machine", cause=cause, action=Adopt(machine)))


def _reach(draft: Draft, observed: Observation, spec: MachineSpec) -> None:
    exists = draft.ids("create machine", [spec.name]) | draft.ids("start machine", [spec.name])
    cause = "new machine" if exists else f"did not answer: {observed.unreachable.get(spec.name, 'not tried')}"
    draft.add(
        Step(
            subject=spec.name,
            verb="reach",
            cause=cause,
            action=Reach(spec.name, boots=bool(exists)),
            needs=exists,
            looks=not exists,
        )
    )


@dataclass(frozen=True, slots=True)
class _Membership:
    """Whom the hosts shall let in; found once a plan, for a host's share of the time would grow with their number.

    `addresses` are those that can be told now, `strangers` the machines whose address is not known yet.
    """

    names: tuple[str, ...]
    addresses: Members
    strangers: tuple[str, ...]

    @classmethod
    def of(cls, wanted: Wanted, observed: Observation, names: tuple[str, ...]) -> _Membership:
        found = {name: address(wanted, observed, name) for name in names}
        return cls(
            names=names,
            addresses=Members(known for known in found.values() if known is not None),
            strangers=tuple(name for name, known in found.items() if known is None),
        )

    @property
    def welcome(self) -> list[str]:
        """The cause that the strangers are, none where there is none."""
        return [f"new members: {few(self.strangers)}"] if self.strangers else []


def plan_configuration(draft: Draft, wanted: Wanted, observed: Observation, departing: tuple[str, ...]) -> None:
    """configure each host that needs it. Hosts of members whose engine restarts take turns."""
    members = _Membership.of(wanted, observed, (*wanted.names, *departing))
    makers = draft.ids("create machine", wanted.names) | draft.ids("start machine", wanted.names)
    unknown = any(wanted.wants(name) and name in observed.machines for name in members.strangers)
    if wanted.cluster.swarm.advertise or unknown:  # some address is known only when its host has answered
        makers |= draft.ids("reach", wanted.names)
    disruptive: list[str] = []
    for spec in wanted:
        action = wanted.configure(spec, members.names)
        facts = observed.facts.get(spec.name)
        if facts is None:
            if wanted.touches(spec.name):
                made = draft.ids("create machine", [spec.name]) | draft.ids("start machine", [spec.name])
                cause = "new machine" if made else "nothing is known of it until it answers"
                _configure(draft, action, cause, after=makers)
            continue
        changes, welcome = _changes(wanted, facts, action, members)
        if not changes and not welcome:
            continue
        cause = "; ".join([*(change.cause for change in changes), *welcome])
        details = tuple(f"{change.fragment.name}: {change.cause}" for change in changes)
        step = _configure(draft, action, cause, after=makers, details=details)
        if facts.node.member and any(change.disrupts for change in changes):
            disruptive.append(step)
    _take_turns(draft, disruptive, managers=frozenset(wanted.managers))
    for name in departing:
        _open_leaving_manager(draft, wanted, observed, name, members, after=makers)


def _open_leaving_manager(
    draft: Draft, wanted: Wanted, observed: Observation, name: str, members: _Membership, *, after: frozenset[str]
) -> None:
    """Newcomers may have no other door than a manager that leaves once they are in."""
    facts = observed.facts.get(name)
    if facts is None or not facts.node.manager or facts.firewall.rules is None:
        return
    action = Configure(machine=name, manager=True, members=members.names, engine=EngineSettings(), ports_only=True)
    changes, welcome = _changes(wanted, facts, action, members)
    new = any(change.cause.startswith("new members") for change in changes)
    if wanted.cluster.firewall and (welcome or new):
        cause = "; ".join([*(change.cause for change in changes), *welcome])
        _configure(draft, action, cause, after=after)


def _configure(
    draft: Draft, action: Configure, cause: str, *, after: frozenset[str], details: tuple[str, ...] = ()
) -> str:
    verb = "open ports" if action.ports_only else "configure"
    needs = draft.ids("create machine", [action.machine]) | draft.ids("reach", [action.machine])
    needs |= draft.ids("adopt machine", [action.machine])
    return draft.add(
        Step(
            subject=action.machine,
            verb=verb,
            cause=cause,
            action=action,
            details=details,
            needs=needs,
            after=after,
        )
    )


def _changes(
    wanted: Wanted, facts: HostFacts, action: Configure, members: _Membership
) -> tuple[tuple[Change, ...], list[str]]:
    """The changes that can be told now, and the cause that members are whose addresses are not known yet."""
    changes = due(desired_host(wanted, action, members.addresses), facts, ports_only=action.ports_only)
    if not wanted.cluster.firewall:
        return changes, []
    if members.strangers:  # said once, with their names
        changes = tuple(change for change in changes if change.fragment.name != "write firewall")
    return changes, members.welcome


def address(wanted: Wanted, observed: Observation, name: str) -> str | None:
    """Where the other members reach a machine, if that is known: by its probe where `advertise` selects it."""
    machine, facts = observed.machines.get(name), observed.facts.get(name)
    found = member_address(wanted.cluster.swarm.advertise, machine, facts)
    if found is None and machine is not None and facts is None:
        return node_address(observed.node_of(name))
    return found


def node_address(node: Node | None) -> str | None:
    """Where the managers see a node: what is left to know of a member whose host does not answer."""
    text = node.manager_address.rpartition(":")[0].strip("[]") or node.address if node else ""
    return text if _is_address(text) and not ip_address(text).is_unspecified else None


def member_address(advertise: str | None, machine: Machine | None, facts: HostFacts | None) -> str | None:
    """The address that an inventory's `advertise` (an interface, or a network like 10.0.0.0/24) selects on a host;
    without one, what the driver says, or what the host has where the driver knows a mere name. None: not known yet."""
    if advertise:
        return _selected(advertise, facts) if facts else None
    given = machine.member_address if machine else None
    if given is None or _is_address(given):
        return given
    own = (found for name, found in facts.addresses.items() if not name.startswith(_ENGINES_OWN)) if facts else ()
    return next((address for addresses in own for address in addresses), None)


def _selected(advertise: str, facts: HostFacts) -> str | None:
    if advertise in facts.addresses:
        return facts.addresses[advertise][0]
    if "/" not in advertise:
        return None
    network = ip_network(advertise, strict=False)
    everything = (found for addresses in facts.addresses.values() for found in addresses)
    return next((found for found in everything if ip_address(found) in network), None)


@lru_cache(maxsize=65536)  # each host asks anew for the addresses of all
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _take_turns(draft: Draft, steps: list[str], *, managers: frozenset[str]) -> None:
    """Order the disruptive steps in lanes: all managers in one, so that the quorum holds; the workers in a few.

    What stops one engine from coming back would stop the next one too: a lane ends with the first that fails.
    """
    by_role = [
        [step for step in steps if (draft.steps[step].subject in managers) is manager] for manager in (True, False)
    ]
    lanes = [by_role[0]]
    width = max(1, len(by_role[1]) // _WORKERS_AT_ONCE)
    lanes += [by_role[1][lane::width] for lane in range(width)]
    for lane in lanes:
        for before, step in pairwise(lane):
            draft.put_behind(step, before)
