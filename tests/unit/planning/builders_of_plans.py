"""Inventories and worlds for tests of planning, with sane defaults: machine lab-manager-2 is 10.0.1.2, its node
id-lab-manager-2, and so on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from provision.driver import HostEntry, Machine, MachineSpec, MachineState, Role
from provision.hosts.desired import HostDesired
from provision.hosts.facts import EngineFacts, FirewallFacts, HostFacts, NodeFacts
from provision.inventory.cluster import Availability, Cluster, Group, Stack
from provision.inventory.specs import engine_for, machine_specs
from provision.planning.hosts import desired_host
from provision.planning.observation import Observation, SwarmFacts
from provision.planning.wanted import Wanted
from provision.stacks.bundle import Bundle
from provision.stacks.record import Record
from provision.swarm.values import Node, NodeSpec, Service

KEY = "ssh-ed25519 AAAAclusterkey provision"
SWARM_ID = "swarm-of-lab"


def managers(count: int = 3, **fields: Any) -> Group:
    return Group(name="manager", role=Role.MANAGER, driver="nspawn", count=count, image="debian-12", **fields)


def workers(count: int = 2, **fields: Any) -> Group:
    return Group(name="worker", role=Role.WORKER, driver="nspawn", count=count, image="debian-12", **fields)


def hosts(role: Role, *addresses: str, **fields: Any) -> Group:
    """A group of adopted machines."""
    entries = tuple(HostEntry(address=address) for address in addresses)
    return Group(name=str(role), role=role, driver="ssh", count=len(entries), hosts=entries, **fields)


def cluster(*groups: Group, **fields: Any) -> Cluster:
    return Cluster(name="lab", source=Path("/inventory.yml"), groups=groups or (managers(), workers()), **fields)


def wanted(
    *groups: Group, bundles: tuple[Bundle, ...] = (), keep: Iterable[str] = (), fields: Any = None, **more: Any
) -> Wanted:
    """What these groups ask for; `keep` names machines that exist already, `fields` are the cluster's."""
    stacks = tuple(Stack(name=bundle.stack, files=()) for bundle in bundles)
    target = cluster(*groups, stacks=stacks, **(fields or {}))
    known = [(name, name.split("-")[1], int(name.split("-")[2]), address_of(name)) for name in keep]
    return Wanted(
        cluster=target,
        specs=machine_specs(target, known),
        authorized_keys=(KEY,),
        bundles=bundles,
        adopting=frozenset({"ssh"}),
        **more,
    )


def address_of(name: str) -> str:
    _, group, number = name.split("-")
    return f"10.0.{ {'manager': 1, 'worker': 2}.get(group, 3) }.{number}"


def machine(spec: MachineSpec, **fields: Any) -> Machine:
    made = Machine(
        cluster="lab",
        name=spec.name,
        group=spec.group,
        number=spec.number,
        driver=spec.driver,
        state=MachineState.RUNNING,
        address=spec.host.address if spec.host else address_of(spec.name),
        image=spec.image,
    )
    return replace(made, **fields)


def facts(name: str, **fields: Any) -> HostFacts:
    """A Debian 12 host with docker and nftables that nobody has touched yet."""
    bare = HostFacts(
        machine=name,
        user="root",
        hostname=name,
        machine_id=f"machine-id-of-{name}",
        os_id="debian",
        os_version="12",
        os_like=(),
        kernel="6.1.0-18-amd64",
        architecture="x86_64",
        cpus=2,
        memory=2 << 30,
        clock=1000.0,
        addresses={"eth0": (address_of(name),), "docker0": ("172.17.0.1",)} if name.count("-") == 2 else {},
        owner=None,
        authorized_keys=(),
        engine=EngineFacts(installed=True, version="20.10.24"),
        firewall=FirewallFacts(available=True),
        ipvs=True,
        vxlan=True,
    )
    return replace(bare, **fields)


def as_desired(before: HostFacts, desired: HostDesired) -> HostFacts:
    """The facts of a host on which every change was made."""
    from provision.hosts.changes.firewall import rules

    daemon = {**json.loads(before.engine.daemon_json or "{}"), **desired.daemon}
    touched = bool(desired.daemon)
    engine = replace(
        before.engine,
        installed=True,
        version=before.engine.version or "20.10.24",
        daemon_json=json.dumps(daemon) if touched else before.engine.daemon_json,
        daemon_json_before=before.engine.daemon_json or "" if touched else None,
    )
    return replace(
        before,
        owner={"cluster": desired.cluster, "machine": desired.machine},
        authorized_keys=(*before.authorized_keys, *desired.authorized_keys),
        engine=engine,
        firewall=FirewallFacts(available=True, rules=rules(desired), intact=True, enabled=True),
    )


def member(host: HostFacts, role: Role) -> HostFacts:
    node = NodeFacts(
        state="active",
        node_id=f"id-{host.machine}",
        cluster_id=SWARM_ID if role is Role.MANAGER else "",
        manager=role is Role.MANAGER,
    )
    return replace(host, engine=replace(host.engine, node=node))


def node(name: str, role: Role = Role.WORKER, labels: Mapping[str, str] | None = None, **fields: Any) -> Node:
    """A ready node of ours."""
    spec = NodeSpec(
        role=role,
        availability=Availability.ACTIVE,
        labels={"provision.cluster": "lab", "provision.machine": name, **(labels or {})},
    )
    plain = Node(
        id=f"id-{name}",
        version=7,
        hostname=name,
        spec=spec,
        state="ready",
        address=address_of(name),
        reachability="reachable" if role is Role.MANAGER else "",
    )
    return replace(plain, **fields)


def as_wanted(target: Wanted, *, members: Iterable[str] | None = None) -> Observation:
    """The world in which nothing is left to do for `target`, stacks included."""
    names = tuple(members) if members is not None else target.names
    addresses = [machine(spec).member_address or "" for spec in target if spec.name in names]
    found: dict[str, HostFacts] = {}
    nodes = []
    for spec in target:
        action = target.configure(spec, names)
        host = facts(spec.name)
        if engine_for(target.group(spec), spec.number).daemon:
            host = replace(host, engine=replace(host.engine, daemon_json_before=""))
        found[spec.name] = member(as_desired(host, desired_host(target, action, addresses)), spec.role)
        update = target.node(spec)
        plain = node(spec.name, spec.role) if spec.name.count("-") == 2 else None
        assert plain is not None
        nodes.append(
            replace(plain, spec=NodeSpec(role=spec.role, availability=update.availability, labels=update.labels))
        )
    services = tuple(service(bundle.stack) for bundle in target.bundles)
    records = {bundle.stack: record(bundle) for bundle in target.bundles}
    return Observation(
        machines={spec.name: machine(spec) for spec in target},
        facts=found,
        recorded=frozenset(target.names),
        swarm=SwarmFacts(
            cluster_id=SWARM_ID, seen_from=target.managers[0], nodes=tuple(nodes), services=services, records=records
        ),
        swarm_id=SWARM_ID,
    )


def without(seen: Observation, *names: str, silent: bool = False) -> Observation:
    """The same with these machines gone and their nodes down; or still there and merely `silent`."""
    assert seen.swarm is not None
    nodes = tuple(
        replace(n, state="down", reachability="unreachable" if n.reachability else "") if n.hostname in names else n
        for n in seen.swarm.nodes
    )
    return replace(
        seen,
        machines={k: v for k, v in seen.machines.items() if silent or k not in names},
        facts={k: v for k, v in seen.facts.items() if k not in names},
        unreachable=dict.fromkeys(names, "no answer") if silent else {},
        swarm=replace(seen.swarm, nodes=nodes),
    )


def with_facts(seen: Observation, name: str, **fields: Any) -> Observation:
    return replace(seen, facts={**seen.facts, name: replace(seen.facts[name], **fields)})


def with_engine(seen: Observation, name: str, **fields: Any) -> Observation:
    return with_facts(seen, name, engine=replace(seen.facts[name].engine, **fields))


def with_node(seen: Observation, name: str, **fields: Any) -> Observation:
    """The same with a node changed; `role`, `availability` and `labels` are its spec's."""
    assert seen.swarm is not None
    inner = {key: fields.pop(key) for key in ("role", "availability", "labels") if key in fields}
    nodes = tuple(
        replace(n, spec=replace(n.spec, **inner), **fields) if n.hostname == name else n for n in seen.swarm.nodes
    )
    return replace(seen, swarm=replace(seen.swarm, nodes=nodes))


def with_swarm(seen: Observation, **fields: Any) -> Observation:
    assert seen.swarm is not None
    return replace(seen, swarm=replace(seen.swarm, **fields))


def bundle(stack: str = "hello", digest: str = "d" * 64) -> Bundle:
    return Bundle(
        stack=stack,
        compose=(),
        files=(),
        variables={},
        unset=(),
        undefined=(),
        objects=frozenset(),
        service_names=("web",),
        prune=True,
        resolve_image="always",
        with_registry_auth=False,
        digest=digest,
    )


def record(deployed: Bundle) -> Record:
    return Record(
        stack=deployed.stack, cluster="lab", digest=deployed.digest, services={f"{deployed.stack}_web": "spec-1"}
    )


def service(stack: str = "hello", **fields: Any) -> Service:
    plain = Service(
        id=f"service-{stack}",
        name=f"{stack}_web",
        stack=stack,
        mode="replicated",
        running=2,
        desired=2,
        completed=0,
        image="busybox",
        spec_digest="spec-1",
        task_digest="task-1",
    )
    return replace(plain, **fields)
