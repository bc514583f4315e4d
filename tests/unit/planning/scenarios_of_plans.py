"""Worlds, and the plans that they lead to; one function each, named as its golden text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from builders_of_plans import (
    SWARM_ID,
    as_wanted,
    bundle,
    facts,
    hosts,
    machine,
    managers,
    member,
    node,
    record,
    service,
    wanted,
    with_engine,
    with_facts,
    with_node,
    with_swarm,
    without,
    workers,
)

from provision.driver import MachineState, Role
from provision.hosts.facts import EngineFacts, FirewallFacts, NodeFacts
from provision.inventory.cluster import Availability, EngineInstall, EngineSettings, MachineOverride, SwarmSettings
from provision.planning.down import plan_down
from provision.planning.observation import Observation
from provision.planning.plan import Plan
from provision.planning.up import plan_remove, plan_up
from provision.planning.wanted import MANAGED_LABEL

SCENARIOS: dict[str, Callable[[], Plan]] = {}


def scenario(make: Callable[[], Plan]) -> Callable[[], Plan]:
    SCENARIOS[make.__name__] = make
    return make


# --- coming into being ---


@scenario
def nothing_exists() -> Plan:
    return plan_up(wanted(bundles=(bundle(),)), Observation())


@scenario
def nothing_exists_and_nobody_waits() -> Plan:
    return plan_up(wanted(managers(1), workers(1), bundles=(bundle(),), wait=False), Observation())


@scenario
def nothing_exists_with_image_archives() -> Plan:
    archives = {Path("/images/hello.tar"): frozenset({"sha256:1"})}
    return plan_up(wanted(managers(1), workers(1), bundles=(bundle(),), archives=archives), Observation())


@scenario
def bare_hosts_are_adopted() -> Plan:
    """Two machines that run, without docker; the driver `ssh` knows one by a mere name."""
    target = wanted(hosts(Role.MANAGER, "10.0.1.1"), hosts(Role.WORKER, "web.example"))
    bare = EngineFacts()
    found = {name: facts(name, engine=bare, firewall=FirewallFacts()) for name in target.names}
    return plan_up(target, Observation(machines={spec.name: machine(spec) for spec in target}, facts=found))


@scenario
def everything_is_as_it_shall_be() -> Plan:
    target = wanted(bundles=(bundle(),))
    return plan_up(target, as_wanted(target))


@scenario
def as_it_shall_be_with_labels_daemon_and_drained_workers() -> Plan:
    target = wanted(
        managers(1, engine=EngineSettings(daemon={"debug": True})),
        workers(2, labels={"tier": "web"}, availability=Availability.DRAIN),
    )
    return plan_up(target, as_wanted(target))


@scenario
def one_worker_is_missing() -> Plan:
    target = wanted(bundles=(bundle(),))
    return plan_up(target, without(as_wanted(target), "lab-worker-2"))


@scenario
def a_worker_is_added_and_nothing_else_touched() -> Plan:
    """As add-worker plans: others have drifted, which is not this run's business."""
    before = wanted(managers(), workers(2))
    seen = with_node(as_wanted(before), "lab-worker-1", availability=Availability.DRAIN)
    seen = with_facts(seen, "lab-manager-2", authorized_keys=())
    target = wanted(managers(), workers(3), keep=before.names, bundles=(bundle(),), only=frozenset({"lab-worker-3"}))
    return plan_up(target, seen)


@scenario
def machines_in_every_state() -> Plan:
    """Stopped, half made, unknown to the state."""
    target = wanted(managers(1), workers(3))
    seen = as_wanted(target)
    machines = dict(seen.machines)
    machines["lab-worker-1"] = replace(machines["lab-worker-1"], state=MachineState.STOPPED)
    machines["lab-worker-2"] = replace(machines["lab-worker-2"], state=MachineState.ERROR)
    recorded = seen.recorded - {"lab-worker-3"}
    seen = without(seen, "lab-worker-1", "lab-worker-2")
    return plan_up(target, replace(seen, machines=machines, recorded=recorded))


@scenario
def a_machine_does_not_answer() -> Plan:
    """Its node is down too."""
    target = wanted(bundles=(bundle(),))
    return plan_up(target, without(as_wanted(target), "lab-worker-1", silent=True))


@scenario
def a_machine_answers_the_managers_but_not_us() -> Plan:
    """Its node is ready: nothing is known to be wrong but the way to it."""
    target = wanted()
    seen = as_wanted(target)
    found = {name: host for name, host in seen.facts.items() if name != "lab-worker-1"}
    return plan_up(target, replace(seen, facts=found, unreachable={"lab-worker-1": "connection refused"}))


@scenario
def addresses_are_known_only_when_hosts_answer() -> Plan:
    """`advertise` names an interface, so a new machine's address comes from its probe."""
    target = wanted(managers(1), workers(1), fields={"swarm": SwarmSettings(advertise="eth0")})
    return plan_up(target, without(as_wanted(target), "lab-worker-1"))


# --- who begins ---


@scenario
def the_first_manager_is_one_that_answers() -> Plan:
    target = wanted(managers(2), workers(0))
    machines = {spec.name: machine(spec) for spec in target}
    found = {"lab-manager-2": facts("lab-manager-2")}
    silent = {"lab-manager-1": "no answer"}
    return plan_up(
        target, Observation(machines=machines, facts=found, unreachable=silent, recorded=frozenset(machines))
    )


@scenario
def a_silent_manager_may_still_be_in_the_swarm_that_was() -> Plan:
    target = wanted(managers(2), workers(0))
    machines = {spec.name: machine(spec) for spec in target}
    found = {"lab-manager-1": facts("lab-manager-1")}
    silent = {"lab-manager-2": "no answer"}
    seen = Observation(machines=machines, facts=found, unreachable=silent, recorded=frozenset(machines))
    return plan_up(target, replace(seen, swarm_id=SWARM_ID))


# --- drift ---


@scenario
def nodes_have_drifted() -> Plan:
    target = wanted(
        managers(1),
        workers(
            3,
            labels={"tier": "web", "disk": "ssd"},
            overrides={3: MachineOverride(availability=Availability.DRAIN, labels={"tier": "db"})},
        ),
    )
    seen = as_wanted(target)
    base = {"provision.cluster": "lab"}
    seen = with_node(
        seen,
        "lab-worker-1",
        availability=Availability.PAUSE,
        labels={
            **base,
            "provision.machine": "lab-worker-1",
            MANAGED_LABEL: "tier,old",
            "tier": "api",
            "old": "1",
            "by-hand": "stays",
        },
    )
    seen = with_node(seen, "lab-worker-3", availability=Availability.ACTIVE)
    return plan_up(target, seen)


@scenario
def labels_that_nobody_wants_any_more() -> Plan:
    target = wanted(managers(1), workers(1))
    labels = {
        "provision.cluster": "lab",
        "provision.machine": "lab-worker-1",
        MANAGED_LABEL: "tier",
        "tier": "web",
        "by-hand": "stays",
    }
    return plan_up(target, with_node(as_wanted(target), "lab-worker-1", labels=labels))


@scenario
def roles_change_places() -> Plan:
    """The demoted group comes first in the inventory; promotions come first all the same."""
    before = wanted(managers(3), workers(3))
    target = wanted(replace(managers(3), role=Role.WORKER), replace(workers(3), role=Role.MANAGER), keep=before.names)
    return plan_up(target, as_wanted(before))


@scenario
def daemon_json_can_be_reloaded() -> Plan:
    before = wanted(managers(1), workers(1))
    engine = EngineSettings(daemon={"debug": True, "labels": ["a=b"]})
    target = wanted(managers(1, engine=engine), workers(1), keep=before.names)
    return plan_up(target, with_engine(as_wanted(before), "lab-manager-1", daemon_json='{"debug": false}'))


@scenario
def engines_restart_in_turns() -> Plan:
    """All managers one by one; eleven workers two at a time."""
    before = wanted(managers(3), workers(11))
    engine = EngineSettings(daemon={"log-driver": "local", "debug": True})
    target = wanted(managers(3, engine=engine), workers(11, engine=engine), keep=before.names)
    return plan_up(target, as_wanted(before))


@scenario
def firewalls_have_drifted() -> Plan:
    """Changed by hand, not loaded, not enabled at boot, never there."""
    target = wanted(managers(1), workers(4))
    seen = as_wanted(target)
    ours = seen.facts["lab-worker-1"].firewall
    found = {
        "lab-worker-1": replace(ours, rules=(ours.rules or "").replace("10.0.2.4", "10.9.9.9")),
        "lab-worker-2": replace(ours, intact=False),
        "lab-worker-3": replace(ours, enabled=False),
        "lab-worker-4": FirewallFacts(available=False),
    }
    for name, firewall in found.items():
        seen = with_facts(seen, name, firewall=firewall)
    return plan_up(target, seen)


@scenario
def the_firewall_is_not_wanted_any_more() -> Plan:
    before = wanted(managers(1), workers(1))
    return plan_up(wanted(managers(1), workers(1), fields={"firewall": False}), as_wanted(before))


@scenario
def an_engine_is_stopped() -> Plan:
    target = wanted(managers(3), workers(1))
    seen = with_engine(as_wanted(target), "lab-worker-1", version=None, node=NodeFacts())
    return plan_up(target, with_node(seen, "lab-worker-1", state="down"))


@scenario
def keys_and_mark_are_missing() -> Plan:
    target = wanted(managers(1), workers(1))
    return plan_up(
        target, with_facts(as_wanted(target), "lab-worker-1", authorized_keys=("ssh-rsa AAAAother",), owner=None)
    )


@scenario
def hosts_are_worth_a_warning() -> Plan:
    target = wanted(managers(1), workers(4))
    seen = as_wanted(target)
    for name in target.names[1:]:
        seen = with_facts(seen, name, ipvs=False)
    seen = with_facts(seen, "lab-worker-1", vxlan=False, clock=1045.0)
    firewall = replace(seen.facts["lab-worker-2"].firewall, dropping=("inet filter", "ip ufw"))
    return plan_up(target, with_facts(seen, "lab-worker-2", firewall=firewall))


# --- leaving ---


@scenario
def a_group_has_shrunk() -> Plan:
    before = wanted(managers(3), workers(2))
    target = wanted(managers(1), workers(1), keep=before.names)
    return plan_up(target, as_wanted(before))


@scenario
def one_comes_and_one_goes() -> Plan:
    """The newcomer learns of the leaver, so it must forget it too: else the next plan is not empty."""
    before = wanted(managers(1), workers(1))
    api = replace(workers(1), name="api")
    return plan_up(wanted(managers(1), api), as_wanted(before))


@scenario
def a_machine_that_goes_does_not_answer() -> Plan:
    before = wanted(managers(3), workers(2))
    target = wanted(managers(3), workers(1), keep=before.names)
    return plan_up(target, without(as_wanted(before), "lab-worker-2", silent=True))


@scenario
def shrinking_would_break_the_quorum() -> Plan:
    before = wanted(managers(3), workers(0))
    target = wanted(managers(2), workers(0), keep=before.names)
    return plan_up(target, without(as_wanted(before), "lab-manager-1", silent=True))


@scenario
def a_manager_was_destroyed_by_hand() -> Plan:
    """Its node is a ghost: struck off before the new one joins would be one manager too few."""
    target = wanted(managers(3), workers(1))
    return plan_up(target, without(as_wanted(target), "lab-manager-3"))


@scenario
def a_machine_was_made_anew() -> Plan:
    """It runs and answers, and is no member; its node is of the machine that was."""
    target = wanted(managers(1), workers(1))
    seen = without(as_wanted(target), "lab-worker-1")
    fresh = facts("lab-worker-1")
    machines = {**seen.machines, "lab-worker-1": machine(target.spec("lab-worker-1"))}
    return plan_up(target, replace(seen, machines=machines, facts={**seen.facts, "lab-worker-1": fresh}))


@scenario
def a_machine_that_was_made_anew_goes() -> Plan:
    """Its old node is not struck off twice."""
    before = wanted(managers(1), workers(2))
    seen = without(as_wanted(before), "lab-worker-2")
    machines = {**seen.machines, "lab-worker-2": machine(before.spec("lab-worker-2"))}
    seen = replace(seen, machines=machines, facts={**seen.facts, "lab-worker-2": facts("lab-worker-2")})
    return plan_up(wanted(managers(1), workers(1), keep=before.names), seen)


@scenario
def a_manager_is_replaced_by_another() -> Plan:
    """The one that goes needs the one that comes: without it there would be no manager."""
    first, second = managers(1), replace(managers(1), name="boss")
    return plan_up(wanted(second, workers(0)), as_wanted(wanted(first, workers(0))))


@scenario
def roles_change_while_a_manager_is_silent() -> Plan:
    before = wanted(managers(2), replace(managers(1), name="api"))
    target = wanted(managers(2), replace(workers(1), name="api"), keep=before.names)
    return plan_up(target, without(as_wanted(before), "lab-manager-2", silent=True))


@scenario
def the_state_remembers_a_machine_that_is_gone() -> Plan:
    before = wanted(managers(1), workers(2))
    target = wanted(managers(1), workers(1), keep=["lab-manager-1", "lab-worker-1"])
    return plan_up(target, without(as_wanted(before), "lab-worker-2"))


@scenario
def remove_a_worker() -> Plan:
    before = wanted(managers(1), workers(2))
    target = wanted(managers(1), workers(1), keep=["lab-manager-1", "lab-worker-2"])
    return plan_remove(target, as_wanted(before), ("lab-worker-1",))


@scenario
def remove_two_managers_of_five() -> Plan:
    before = wanted(managers(5), workers(0))
    target = wanted(managers(3), workers(0), keep=["lab-manager-2", "lab-manager-4", "lab-manager-5"])
    return plan_remove(target, as_wanted(before), ("lab-manager-1", "lab-manager-3"))


@scenario
def remove_a_manager_where_another_is_silent() -> Plan:
    before = wanted(managers(3), workers(0))
    target = wanted(managers(2), workers(0), keep=["lab-manager-2", "lab-manager-3"])
    return plan_remove(target, without(as_wanted(before), "lab-manager-3", silent=True), ("lab-manager-1",))


@scenario
def remove_a_manager_by_force() -> Plan:
    before = wanted(managers(3), workers(0))
    target = wanted(managers(2), workers(0), keep=["lab-manager-2", "lab-manager-3"])
    seen = without(as_wanted(before), "lab-manager-3", silent=True)
    return plan_remove(target, seen, ("lab-manager-1",), force=True)


@scenario
def remove_a_machine_that_is_gone_already() -> Plan:
    before = wanted(managers(1), workers(2))
    target = wanted(managers(1), workers(1), keep=["lab-manager-1", "lab-worker-1"])
    return plan_remove(target, without(as_wanted(before), "lab-worker-2"), ("lab-worker-2",))


@scenario
def down_with_made_and_adopted_machines() -> Plan:
    target = wanted(managers(1), hosts(Role.WORKER, "10.0.2.1"))
    seen = Observation(machines={spec.name: machine(spec) for spec in target})
    return plan_down("lab", seen, frozenset({"ssh"}))


@scenario
def down_of_nothing() -> Plan:
    return plan_down("lab", Observation(), frozenset({"ssh"}))


# --- stacks ---


@scenario
def a_stack_has_changed() -> Plan:
    before = wanted(managers(1), workers(1), bundles=(bundle(),))
    target = wanted(managers(1), workers(1), bundles=(bundle(digest="e" * 64),))
    return plan_up(target, as_wanted(before))


@scenario
def services_have_drifted() -> Plan:
    names = ("changed", "failed", "removed", "same")
    target = wanted(managers(1), workers(1), bundles=tuple(bundle(name) for name in names))
    services = (
        service("changed", spec_digest="spec-2"),
        service("failed", update_state="rollback_completed"),
        service("same"),
    )
    return plan_up(target, with_swarm(as_wanted(target), services=services))


@scenario
def a_stack_is_not_in_the_inventory() -> Plan:
    target = wanted(managers(1), workers(1), bundles=(bundle(),))
    records = {"hello": record(bundle()), "old": record(bundle("old"))}
    return plan_up(target, with_swarm(as_wanted(target), records=records))


@scenario
def images_are_missing_on_one_node() -> Plan:
    archives = {Path("/images/a.tar"): frozenset({"sha256:1"}), Path("/images/b.tar"): frozenset({"sha256:2"})}
    target = wanted(managers(1), workers(1), archives=archives)
    seen = with_engine(as_wanted(target), "lab-manager-1", images=frozenset({"sha256:1", "sha256:2"}))
    return plan_up(target, with_engine(seen, "lab-worker-1", images=frozenset({"sha256:2"})))


# --- what stands against a plan ---


@scenario
def every_reason_is_told_at_once() -> Plan:
    none = EngineSettings(install=EngineInstall.NONE)
    target = wanted(managers(1), workers(7, engine=none))
    seen = as_wanted(target)
    seen = with_facts(seen, "lab-worker-1", owner={"cluster": "prod", "machine": "prod-worker-9"})
    seen = with_engine(seen, "lab-worker-2", installed=False, version=None, node=NodeFacts())
    seen = with_facts(seen, "lab-worker-3", systemd=False)
    seen = with_engine(seen, "lab-worker-4", node=NodeFacts(state="locked", node_id="x"))
    stranger = NodeFacts(state="active", node_id="id-of-elsewhere")
    seen = with_engine(seen, "lab-worker-5", node=stranger)
    seen = with_facts(seen, "lab-worker-6", machine_id="same")
    return plan_up(target, with_facts(seen, "lab-worker-7", machine_id="same"))


@scenario
def the_system_is_not_debian() -> Plan:
    target = wanted(managers(1), workers(1))
    seen = with_facts(as_wanted(target), "lab-worker-1", os_id="fedora", engine=EngineFacts())
    return plan_up(target, seen)


@scenario
def the_system_derives_from_debian() -> Plan:
    target = wanted(managers(1), workers(0))
    found = facts("lab-manager-1", os_id="ubuntu", os_like=("debian",), engine=EngineFacts())
    machines = {"lab-manager-1": machine(target.spec("lab-manager-1"))}
    return plan_up(target, Observation(machines=machines, facts={"lab-manager-1": found}, recorded=frozenset(machines)))


@scenario
def a_worker_is_added_to_a_cluster_without_a_swarm() -> Plan:
    target = wanted(managers(1), workers(1), only=frozenset({"lab-worker-1"}))
    machines = {"lab-manager-1": machine(target.spec("lab-manager-1"))}
    return plan_up(target, Observation(machines=machines, facts={"lab-manager-1": facts("lab-manager-1")}))


@scenario
def no_manager_answers_yet() -> Plan:
    target = wanted(managers(1), workers(1))
    seen = without(as_wanted(target), "lab-manager-1", silent=True)
    seen = with_engine(seen, "lab-worker-1", node=NodeFacts(state="active", node_id="n", error="rpc error: deadline"))
    return plan_up(target, replace(seen, swarm=None))


@scenario
def no_manager_is_left() -> Plan:
    target = wanted(managers(1), workers(1))
    seen = without(as_wanted(target), "lab-manager-1")
    seen = with_engine(seen, "lab-worker-1", node=NodeFacts(state="active", node_id="n", error="rpc error: deadline"))
    return plan_up(target, replace(seen, swarm=None))


@scenario
def a_machine_shall_leave_a_swarm_that_is_silent() -> Plan:
    target = wanted(managers(3), workers(1))
    seen = without(without(as_wanted(target), "lab-manager-2", silent=True), "lab-manager-3", silent=True)
    return plan_remove(target, replace(seen, swarm=None, swarm_id="s"), ("lab-worker-1",))


@scenario
def a_host_is_in_a_foreign_swarm() -> Plan:
    target = wanted(managers(1), workers(0))
    found = member(facts("lab-manager-1"), Role.MANAGER)
    machines = {"lab-manager-1": machine(target.spec("lab-manager-1"))}
    return plan_up(target, Observation(machines=machines, facts={"lab-manager-1": found}))


@scenario
def foreign_nodes_and_stacks_stay() -> Plan:
    """Down or not: they are not ours."""
    target = wanted(managers(1), workers(0))
    seen = as_wanted(target)
    assert seen.swarm is not None
    other = replace(node("lab-worker-9", labels={"provision.cluster": "other"}), state="down")
    unlabelled = replace(other, id="plain", spec=replace(other.spec, labels={}))
    return plan_up(
        target, with_swarm(seen, nodes=(*seen.swarm.nodes, other, unlabelled), services=(service("theirs"),))
    )
