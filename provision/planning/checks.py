"""What stands against a plan: contradictions that we do not resolve on our own, all told at once."""

from __future__ import annotations

from provision.driver import MachineSpec
from provision.errors import ProvisionError
from provision.hosts.changes.few import few
from provision.hosts.facts import HostFacts
from provision.inventory.cluster import EngineInstall
from provision.inventory.specs import engine_for
from provision.planning.observation import CLUSTER_LABEL, Observation
from provision.planning.wanted import Wanted

#: seconds between clocks from which Raft's certificates and tokens begin to fail
_SKEW = 30.0


def problems(wanted: Wanted, observed: Observation) -> tuple[ProvisionError, ...]:
    """Every reason why nothing may be done; empty when all is well."""
    found: list[ProvisionError] = []
    for spec in wanted:
        facts = observed.facts.get(spec.name)
        if facts is not None:
            found += host_problems(wanted, spec, facts)
            found += _membership(wanted, observed, facts)
    return (*found, *_nothing_to_join(wanted, observed), *_twins(observed, wanted))


def _nothing_to_join(wanted: Wanted, observed: Observation) -> list[ProvisionError]:
    if observed.swarm is not None or all(wanted.touches(manager) for manager in wanted.managers):
        return []
    return [
        ProvisionError(
            "there is no swarm that new machines could join, or none of its managers answers",
            hint="let provision up form it or bring it back first",
        )
    ]


def host_problems(wanted: Wanted, spec: MachineSpec, facts: HostFacts) -> list[ProvisionError]:
    """Why one host cannot be this machine, whatever the rest of the cluster is; empty when it can."""
    found = _owner(wanted, facts)
    engine = engine_for(wanted.group(spec), spec.number)
    if not facts.engine.installed and engine.install is EngineInstall.NONE:
        found.append(
            ProvisionError(
                f"{spec.name}: docker not found, and `engine.install` is none",
                hint="install it on the machine, or set `engine: {install: distro}`",
            )
        )
    elif not facts.engine.installed and not facts.debian:
        found.append(
            ProvisionError(
                f"{spec.name}: runs {facts.os_id or 'an unknown system'}, and docker is not installed there",
                detail="`engine: {install: distro}` knows Debian and what derives from it",
                hint="install Docker Engine on the machine by hand, and set `engine: {install: none}`",
            )
        )
    if not facts.systemd:
        found.append(ProvisionError(f"{spec.name}: does not run systemd"))
    return found


def _owner(wanted: Wanted, facts: HostFacts) -> list[ProvisionError]:
    if facts.owner is None:
        return []
    owner, machine = facts.owner.get("cluster"), facts.owner.get("machine")
    if owner == wanted.cluster.name and machine in (facts.machine, None):
        return []
    return [
        ProvisionError(
            f"{facts.machine}: this host is machine {machine!r} of cluster {owner!r}",
            hint=f"take it out of there first: provision rm {machine}, or provision down -c {owner}",
        )
    ]


def _membership(wanted: Wanted, observed: Observation, facts: HostFacts) -> list[ProvisionError]:
    node = facts.node
    if node.state == "locked":
        return [
            ProvisionError(
                f"{facts.machine}: its swarm is locked",
                hint="unlock it: provision ssh " + facts.machine + " -t docker swarm unlock",
            )
        ]
    if not node.member or observed.struck_off(facts.machine):
        return []
    ours = _ours(wanted, facts)
    if ours and not node.node_id:
        return []  # a join that failed; the next one clears it away
    if observed.swarm is None:
        if not ours:
            return [_foreign(facts)]
        if any(name in observed.machines and name not in observed.facts for name in wanted.managers):
            return []  # this run starts or reaches those that may speak for it
        return [
            ProvisionError(
                f"{facts.machine}: is a member of the cluster's swarm, but no manager answers for it",
                detail=f"last: {node.error}" if node.error else "",
                hint="bring a majority of the managers back; provision status shows which are missing\n"
                "      are they gone for good? then provision down, and up again",
            )
        ]
    known = observed.swarm.by_id.get(node.node_id)
    if known is None or (not ours and known.labels.get(CLUSTER_LABEL) != wanted.cluster.name):
        return [_foreign(facts)]
    return []


def _ours(wanted: Wanted, facts: HostFacts) -> bool:
    return facts.owner is not None and facts.owner.get("cluster") == wanted.cluster.name


def _foreign(facts: HostFacts) -> ProvisionError:
    return ProvisionError(
        f"{facts.machine}: is a member of a swarm that is not this cluster's",
        detail=f"node {facts.node.node_id}",
        hint="if it shall move: docker swarm leave on the machine first",
    )


def _twins(observed: Observation, wanted: Wanted) -> list[ProvisionError]:
    seen: dict[str, list[str]] = {}
    for facts in observed.facts.values():
        # one host under an old and a new name is told by its mark already
        if facts.machine_id and not _owner(wanted, facts):
            seen.setdefault(facts.machine_id, []).append(facts.machine)
    return [
        ProvisionError(
            f"{', '.join(names)}: the same /etc/machine-id {machine_id}",
            detail="it is one host named twice, or clones of one disk, whose overlay networks would clash",
            hint="on a clone: rm /etc/machine-id && systemd-machine-id-setup",
        )
        for machine_id, names in seen.items()
        if len(names) > 1 and any(wanted.wants(name) for name in names)
    ]


def notices(wanted: Wanted, observed: Observation) -> tuple[str, ...]:
    """What is worth knowing and no reason to stop."""
    facts = [observed.facts[name] for name in wanted.names if name in observed.facts]
    return (*_kernel(facts), *_firewalls(wanted, facts), *_clocks(facts))


def _kernel(facts: list[HostFacts]) -> list[str]:
    found = []
    without = [host.machine for host in facts if not host.ipvs]
    if without:
        found.append(
            f"no IPVS in the kernel of {few(without)}: ports in mode ingress and service VIPs do not answer there; "
            "use `mode: host` ports and `endpoint_mode: dnsrr`"
        )
    without = [host.machine for host in facts if not host.vxlan]
    if without:
        found.append(f"no VXLAN in the kernel of {few(without)}: overlay networks do not work there")
    return found


def _firewalls(wanted: Wanted, facts: list[HostFacts]) -> list[str]:
    if not wanted.cluster.firewall:
        return []
    return [
        f"{host.machine}: {', '.join(host.firewall.dropping)} drops what it does not accept; "
        "it must let 2377/tcp, 7946 and 4789/udp in from the members"
        for host in facts
        if host.firewall.dropping
    ]


def _clocks(facts: list[HostFacts]) -> list[str]:
    if len(facts) < 2:
        return []
    median = sorted(host.clock for host in facts)[len(facts) // 2]
    return [
        f"{host.machine}: its clock is {host.clock - median:+.0f} s off the others"
        for host in facts
        if abs(host.clock - median) > _SKEW
    ]
