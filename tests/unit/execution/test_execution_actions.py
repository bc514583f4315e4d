"""Carrying out single steps: a real state on disk, and fake drivers, hosts and engines that take no other call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from builders_of_plans import KEY, as_desired, facts, machine, managers, member, node, wanted, workers

from provision.driver import HostKeyPair, Machine, MachineSpec, Role
from provision.errors import DriverError, PlanError, ProvisionError, UnreachableError
from provision.execution import machines, swarm
from provision.execution.scheduler import Outcome
from provision.execution.settle import NodeWatch
from provision.execution.world import World
from provision.hosts.connect import Connector
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment
from provision.inventory.cluster import Availability, SshSettings
from provision.planning.actions import (
    Create,
    Demote,
    Destroy,
    Forget,
    InitSwarm,
    Join,
    Leave,
    Reach,
    Release,
    RemoveNode,
    UpdateNode,
)
from provision.planning.hosts import desired_host
from provision.planning.wanted import MANAGED_LABEL
from provision.state.known_hosts import KnownHosts
from provision.state.model import MachineRecord, MachineStatus
from provision.state.paths import ClusterPaths
from provision.state.redact import Redactor
from provision.state.store import Store
from provision.swarm.errors import EngineRefusedError
from provision.swarm.values import EngineInfo, JoinTokens, Node, NodeSpec, SwarmIdentity

TARGET = wanted(managers(2), workers(1))
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


class FakeDriver:
    parallel = 2

    def __init__(self, name: str, store: Store, *, adopts: bool = False) -> None:
        self.name, self.adopts, self._store = name, adopts, store
        self.fails: Exception | None = None
        self.seen: list[tuple[str, MachineStatus | None]] = []
        self.spec: MachineSpec | None = None

    def _note(self, name: str) -> None:
        state = self._store.read()
        assert state is not None
        found = state.machines.get(name)
        self.seen.append((name, found.status if found else None))
        if self.fails is not None:
            raise self.fails

    def create(self, spec: MachineSpec) -> Machine:
        self.spec = spec
        self._note(spec.name)
        return machine(spec, host_keys=(HOST_KEY,))

    def destroy(self, gone: Machine) -> None:
        self._note(gone.name)


class FakeHost:
    alive = True

    def __init__(self, name: str, found: HostFacts) -> None:
        self.machine, self.facts = name, found
        self.applied: list[str] = []

    def probe(self) -> HostFacts:
        return self.facts

    def apply(self, fragments: Sequence[Fragment], *, seconds: float, progress: object = None) -> tuple[()]:
        self.applied += [fragment.name for fragment in fragments]
        return ()

    def close(self) -> None:
        self.alive = False


class FakeSwarm:
    """What all engines of a cluster share: the nodes."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {one.id: one for one in nodes}


class FakeEngine:
    """One machine's engine. A worker that is asked about the swarm refuses, as Docker does."""

    def __init__(self, name: str, shared: FakeSwarm, *, state: str = "inactive") -> None:
        self.name, self.shared, self.state = name, shared, state
        self.id = f"id-{name}"
        self.joined_by: tuple[list[str], str] | None = None
        self.forced: list[bool] = []

    @property
    def is_manager(self) -> bool:
        known = self.shared.nodes.get(self.id)
        return self.state == "active" and known is not None and bool(known.reachability)

    def info(self) -> EngineInfo:
        if self.state == "pending":
            self.state = "active"
            state = "pending"
        else:
            state = self.state
        return EngineInfo(
            name=self.name,
            server_version="20.10",
            node_id=self.id if state not in ("inactive", "error", "locked") else "",
            node_address="",
            cluster_id="swarm-1" if self.is_manager else "",
            local_node_state=state,
            control_available=self.is_manager,
            error="",
        )

    def _only_manager(self) -> None:
        if not self.is_manager:
            raise EngineRefusedError(self.name, "ask", 503, "This node is not a swarm manager.")

    def list_nodes(self) -> tuple[Node, ...]:
        self._only_manager()
        return tuple(self.shared.nodes.values())

    nodes = list_nodes

    def swarm_init(self, **_: object) -> str:
        if self.state != "inactive":
            raise EngineRefusedError(self.name, "init", 503, "This node is already part of a swarm.")
        self.state = "active"
        self.shared.nodes[self.id] = replace(node(self.name, Role.MANAGER), id=self.id)
        return self.id

    def swarm_join(self, doors: list[str], token: str, **_: object) -> EngineInfo:
        if self.state != "inactive":
            raise EngineRefusedError(self.name, "join", 503, "This node is already part of a swarm.")
        self.joined_by, self.state = (doors, token), "active"
        role = Role.MANAGER if token == "manager-token" else Role.WORKER
        self.shared.nodes[self.id] = node(self.name, role, {"kept": "by-hand"})
        return self.info()

    def swarm(self) -> SwarmIdentity:
        self._only_manager()
        return SwarmIdentity("swarm-1", JoinTokens("worker-token", "manager-token"))

    def update_node(self, node_id: str, change: Callable[[NodeSpec], NodeSpec], *, seen: Node | None = None) -> bool:
        self._only_manager()
        assert seen is None or seen.id == node_id
        old = self.shared.nodes[node_id]
        spec = change(old.spec)
        reachable = "reachable" if spec.role is Role.MANAGER else ""
        self.shared.nodes[node_id] = replace(old, spec=spec, reachability=reachable)
        return spec != old.spec

    def remove_node(self, node_id: str, *, force: bool = False) -> None:
        self._only_manager()
        self.shared.nodes.pop(node_id, None)

    def leave(self, *, force: bool = False) -> None:
        self.forced.append(force)
        if not force:
            raise EngineRefusedError(self.name, "leave", 503, "You are attempting to leave the swarm")
        self.state = "inactive"

    def close(self) -> None:
        pass


class FakeSession:
    def __init__(self, host: FakeHost, engine: FakeEngine) -> None:
        self.host, self.engine = host, engine

    @property
    def facts(self) -> HostFacts:
        return self.host.facts

    known = facts

    @property
    def usable(self) -> bool:
        return self.host.alive

    def wake(self) -> None:
        pass

    def changed(self) -> None:
        pass

    def close(self) -> None:
        self.host.close()


class Lab:
    """A world with a state on disk and these machines' sessions."""

    def __init__(self, folder: Path) -> None:
        self.paths = ClusterPaths(folder, "lab")
        self.store = Store(self.paths)
        self.store.create()
        self.made, self.adopted = FakeDriver("nspawn", self.store), FakeDriver("ssh", self.store, adopts=True)
        self.shared = FakeSwarm()
        self.said: list[str] = []
        self.world = World(
            cluster="lab",
            drivers=cast("Any", {"nspawn": self.made, "ssh": self.adopted}),
            store=self.store,
            known_hosts=KnownHosts(self.paths.known_hosts),
            connector=Connector(key=None),
            ssh=SshSettings(),
            redactor=Redactor(),
        )

    def session(self, name: str, found: HostFacts | None = None, *, state: str = "inactive") -> FakeSession:
        made = FakeSession(FakeHost(name, found or facts(name)), FakeEngine(name, self.shared, state=state))
        self.world.sessions[name] = cast("Any", made)
        self.world.machines[name] = machine(TARGET.spec(name))
        return made

    def manager(self, name: str) -> FakeSession:
        self.shared.nodes[f"id-{name}"] = node(name, Role.MANAGER)
        self.world.managers.append(name)
        return self.session(name, member(facts(name), Role.MANAGER), state="active")

    def recorded(self, name: str) -> MachineRecord | None:
        state = self.store.read()
        assert state is not None
        return state.machines.get(name)

    def record(self, one: Machine, role: Role = Role.WORKER) -> None:
        self.store.update(lambda state: state.put(MachineRecord.of(one, role=role)))

    @property
    def watch(self) -> NodeWatch:
        return NodeWatch(self.world, fresh=0.0)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


WORKER = TARGET.spec("lab-worker-1")


# --- machines ---


def test_the_intent_is_on_disk_before_the_driver_is_asked_and_the_result_after(lab: Lab) -> None:
    outcome = machines.create(lab.world, TARGET, Create(WORKER), lab.said.append)
    assert lab.made.seen == [("lab-worker-1", MachineStatus.CREATING)]
    record = lab.recorded("lab-worker-1")
    assert record is not None
    assert (record.status, record.address, record.role) == (MachineStatus.CREATED, "10.0.2.1", Role.WORKER)
    assert outcome == Outcome(note="10.0.2.1")


def test_a_machine_is_made_with_its_host_key_and_our_keys_and_known_before_it_is_met(lab: Lab) -> None:
    machines.create(lab.world, TARGET, Create(WORKER), lab.said.append)
    assert lab.made.spec is not None
    assert isinstance(lab.made.spec.host_key, HostKeyPair)
    assert lab.made.spec.authorized_keys == (KEY,)
    assert lab.world.known_hosts.lookup("lab-worker-1") == (HOST_KEY,)
    assert lab.made.spec.host_key.private not in lab.paths.state.read_text()


def test_a_driver_that_fails_leaves_a_name_to_look_for(lab: Lab) -> None:
    lab.made.fails = DriverError("no space left")
    with pytest.raises(DriverError):
        machines.create(lab.world, TARGET, Create(WORKER), lab.said.append)
    record = lab.recorded("lab-worker-1")
    assert record is not None
    assert (record.status, record.address) == (MachineStatus.CREATING, None)
    lab.made.fails = None
    machines.create(lab.world, TARGET, Create(WORKER), lab.said.append)
    assert lab.recorded("lab-worker-1").status is MachineStatus.CREATED  # type: ignore[union-attr]


def test_a_destroyed_machine_is_forgotten_with_its_key(lab: Lab) -> None:
    machines.create(lab.world, TARGET, Create(WORKER), lab.said.append)
    session = lab.session("lab-worker-1")
    machines.destroy(lab.world, Destroy(machine(WORKER)), lab.said.append)
    assert lab.made.seen[-1] == ("lab-worker-1", MachineStatus.DESTROYING)
    assert lab.recorded("lab-worker-1") is None
    assert lab.world.known_hosts.lookup("lab-worker-1") == ()
    assert not session.host.alive
    assert "lab-worker-1" not in {**lab.world.sessions, **lab.world.machines}


def test_a_machine_that_cannot_be_destroyed_keeps_its_record(lab: Lab) -> None:
    lab.record(machine(WORKER))
    lab.made.fails = DriverError("busy")
    with pytest.raises(DriverError):
        machines.destroy(lab.world, Destroy(machine(WORKER)), lab.said.append)
    assert lab.recorded("lab-worker-1").status is MachineStatus.DESTROYING  # type: ignore[union-attr]


def test_a_machine_that_is_gone_is_forgotten_without_its_driver(lab: Lab) -> None:
    lab.record(machine(WORKER))
    machines.forget(lab.world, Forget("lab-worker-1"), lab.said.append)
    assert lab.recorded("lab-worker-1") is None
    assert lab.made.seen == []


@pytest.mark.parametrize(
    ("owner", "applied", "note"),
    [
        ({"cluster": "lab", "machine": "lab-worker-1"}, True, ""),
        (None, False, "bears no mark of ours; left alone"),
        ({"cluster": "prod", "machine": "x"}, False, "belongs to cluster 'prod' now; left alone"),
    ],
)
def test_only_what_is_ours_is_taken_back(lab: Lab, owner: dict[str, str] | None, applied: bool, note: str) -> None:
    adopted = replace(machine(WORKER), driver="ssh")
    lab.record(adopted)
    session = lab.session("lab-worker-1", facts("lab-worker-1", owner=owner))
    outcome = machines.release(lab.world, Release(adopted, False, False), lab.said.append)
    assert (bool(session.host.applied), outcome.note) == (applied, note)
    assert lab.recorded("lab-worker-1") is None
    assert lab.adopted.seen == []


@pytest.mark.parametrize("forget", [True, False])
def test_a_host_that_does_not_answer_is_forgotten_only_by_force(
    lab: Lab, forget: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted = replace(machine(WORKER), driver="ssh")
    lab.record(adopted)

    def silent(*_: object, **__: object) -> None:
        raise UnreachableError("no way", detail="last: no answer")

    monkeypatch.setattr(lab.world.connector, "connect", silent)
    action = Release(adopted, False, forget)
    if forget:
        assert machines.release(lab.world, action, lab.said.append).note == "did not answer; forgotten as it is"
        assert lab.recorded("lab-worker-1") is None
        return
    with pytest.raises(ProvisionError, match="does not answer") as caught:
        machines.release(lab.world, action, lab.said.append)
    assert "last: no answer" in str(caught.value)
    assert "--force" in str(caught.value)
    assert lab.recorded("lab-worker-1").status is MachineStatus.DESTROYING  # type: ignore[union-attr]


def test_a_host_that_contradicts_the_plan_is_refused_when_it_is_reached(lab: Lab) -> None:
    lab.session("lab-worker-1", facts("lab-worker-1", systemd=False))
    with pytest.raises(PlanError, match="not safe"):
        machines.reach(lab.world, TARGET, Reach("lab-worker-1"), lab.said.append)


def test_a_host_that_is_as_it_shall_be_is_left_alone(lab: Lab) -> None:
    session = lab.session("lab-worker-1")
    action = TARGET.configure(WORKER, ("lab-worker-1",))
    outcome = machines.configure(lab.world, TARGET, action, lab.said.append)
    assert outcome.changed
    assert session.host.applied == ["mark as ours", "authorize keys", "write firewall"]
    session.host.facts = as_desired(session.host.facts, desired_host(TARGET, action, ["10.0.2.1"]))
    assert machines.configure(lab.world, TARGET, action, lab.said.append) == Outcome(changed=False, note="already so")
    assert len(session.host.applied) == 3


# --- the swarm ---


def update(name: str, **fields: Any) -> UpdateNode:
    return replace(TARGET.node(TARGET.spec(name)), **fields)


def test_init_is_done_once(lab: Lab) -> None:
    lab.session("lab-manager-1")
    action = InitSwarm(update("lab-manager-1"))
    assert swarm.init(lab.world, TARGET, action, lab.said.append).changed
    again = swarm.init(lab.world, TARGET, action, lab.said.append)
    assert again == Outcome(changed=False, note="has its swarm already")
    assert lab.world.managers == ["lab-manager-1"]
    assert lab.store.read().data == {"swarm": "swarm-1"}  # type: ignore[union-attr]
    assert lab.shared.nodes["id-lab-manager-1"].labels["provision.cluster"] == "lab"


@pytest.mark.parametrize(("name", "token"), [("lab-worker-1", "worker-token"), ("lab-manager-2", "manager-token")])
def test_a_machine_joins_at_a_managers_door_in_its_role(lab: Lab, name: str, token: str) -> None:
    lab.manager("lab-manager-1")
    session = lab.session(name)
    outcome = swarm.join(lab.world, TARGET, lab.watch, Join(update(name)), lab.said.append)
    assert outcome.changed
    assert session.engine.joined_by == (["10.0.1.1:2377"], token)
    assert lab.shared.nodes[f"id-{name}"].labels["provision.machine"] == name
    assert (name in lab.world.managers) is (name == "lab-manager-2")
    assert token not in lab.paths.state.read_text()


@pytest.mark.parametrize("state", ["active", "pending"])
def test_a_member_does_not_join_again(lab: Lab, state: str) -> None:
    """Nor does one whose engine is still on its way back."""
    lab.manager("lab-manager-1")
    session = lab.session("lab-worker-1", state=state)
    lab.shared.nodes["id-lab-worker-1"] = node("lab-worker-1")
    outcome = swarm.join(lab.world, TARGET, lab.watch, Join(update("lab-worker-1")), lab.said.append)
    assert outcome == Outcome(changed=False, note="is a member already")
    assert session.engine.joined_by is None


def test_a_join_that_failed_is_cleared_away_for_the_next_one(lab: Lab) -> None:
    lab.manager("lab-manager-1")
    session = lab.session("lab-worker-1", state="error")
    outcome = swarm.join(lab.world, TARGET, lab.watch, Join(update("lab-worker-1")), lab.said.append)
    assert outcome.changed
    assert session.engine.forced == [True]
    assert session.engine.joined_by == (["10.0.1.1:2377"], "worker-token")


@pytest.mark.parametrize(("state", "said"), [("error", "does not come back to the swarm"), ("locked", "is locked")])
def test_a_member_in_trouble_keeps_what_it_has_of_its_swarm(lab: Lab, state: str, said: str) -> None:
    """To leave would lose a manager's share of the quorum, for certificates that have run out or a missing key."""
    lab.manager("lab-manager-1")
    session = lab.session("lab-manager-2", state=state)
    lab.shared.nodes["id-lab-manager-2"] = node("lab-manager-2", Role.MANAGER)
    with pytest.raises(ProvisionError, match=said):
        swarm.join(lab.world, TARGET, lab.watch, Join(update("lab-manager-2")), lab.said.append)
    assert session.engine.forced == []
    assert session.engine.joined_by is None


def test_a_member_of_a_foreign_swarm_is_left_alone(lab: Lab) -> None:
    lab.manager("lab-manager-1")
    lab.session("lab-worker-1", state="active")
    with pytest.raises(ProvisionError, match="a swarm that is not this cluster's"):
        swarm.join(lab.world, TARGET, lab.watch, Join(update("lab-worker-1")), lab.said.append)


def test_labels_of_others_stay_and_ours_that_nobody_wants_go(lab: Lab) -> None:
    lab.manager("lab-manager-1")
    lab.session("lab-worker-1", member(facts("lab-worker-1"), Role.WORKER), state="active")
    labels = {MANAGED_LABEL: "tier,old", "tier": "api", "old": "1", "by-hand": "stays"}
    lab.shared.nodes["id-lab-worker-1"] = node("lab-worker-1", Role.WORKER, labels)
    target = update("lab-worker-1", labels={"tier": "web", MANAGED_LABEL: "tier"}, availability=Availability.DRAIN)
    swarm.update(lab.world, lab.watch, target, lab.said.append)
    after = lab.shared.nodes["id-lab-worker-1"]
    ours = {"provision.cluster": "lab", "provision.machine": "lab-worker-1"}
    assert after.labels == {**ours, "tier": "web", MANAGED_LABEL: "tier", "by-hand": "stays"}
    assert after.availability is Availability.DRAIN


@pytest.mark.parametrize("how", ["update", "demote"])
def test_a_manager_that_steps_down_is_not_the_one_that_is_asked_about_it(lab: Lab, how: str) -> None:
    lab.manager("lab-manager-1")
    lab.manager("lab-manager-2")
    if how == "update":
        swarm.update(lab.world, lab.watch, update("lab-manager-1", role=Role.WORKER), lab.said.append)
    else:
        swarm.demote(lab.world, lab.watch, Demote("lab-manager-1", "id-lab-manager-1"), lab.said.append)
    assert lab.world.managers == ["lab-manager-2"]
    assert lab.shared.nodes["id-lab-manager-1"].role is Role.WORKER


def test_a_node_that_cannot_ask_anybody_leaves_by_force(lab: Lab) -> None:
    session = lab.session("lab-worker-1", state="active")
    swarm.leave(lab.world, Leave("lab-worker-1"), lab.said.append)
    assert session.engine.forced == [False, True]


def test_a_node_of_another_cluster_is_never_removed(lab: Lab) -> None:
    lab.manager("lab-manager-1")
    lab.shared.nodes["n"] = replace(
        node("lab-other-1", Role.WORKER, {"provision.cluster": "prod"}), id="n", state="down"
    )
    with pytest.raises(ProvisionError, match="belongs to another cluster"):
        swarm.remove_node(lab.world, lab.watch, RemoveNode("x", "n"), lab.said.append)
    assert "n" in lab.shared.nodes


def test_a_node_that_left_is_struck_off_at_once(lab: Lab) -> None:
    lab.manager("lab-manager-1")
    lab.shared.nodes["id-lab-worker-1"] = node("lab-worker-1")
    swarm.remove_node(lab.world, lab.watch, RemoveNode("lab-worker-1", "id-lab-worker-1", left=True), lab.said.append)
    assert "id-lab-worker-1" not in lab.shared.nodes
