"""Typed calls, against a fake engine on loopback; the shapes are those that docker 20.10 sends."""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from fake_engine import Answer, FakeEngine, Request

from provision.driver import Role
from provision.errors import DeadlineError
from provision.inventory.cluster import Availability
from provision.swarm.engine import Engine, connect_engine
from provision.swarm.errors import EngineRefusedError, JoinError

NODE: dict[str, Any] = {
    "ID": "n1",
    "Version": {"Index": 7},
    "Spec": {"Name": "kept", "Role": "worker", "Availability": "active", "Labels": {"tier": "web"}},
    "Description": {"Hostname": "lab-worker-1", "Engine": {"EngineVersion": "20.10.24"}},
    "Status": {"State": "ready", "Addr": "10.0.0.4"},
}
SERVICE: dict[str, Any] = {
    "ID": "s1",
    "Spec": {
        "Name": "hello_web",
        "Labels": {"com.docker.stack.namespace": "hello"},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "lab/web:1", "Configs": [{"ConfigID": "c2"}]},
            "Runtime": "container",
        },
        "Mode": {"Replicated": {"Replicas": 3}},
    },
    "PreviousSpec": {"TaskTemplate": {"ContainerSpec": {"Configs": [{"ConfigID": "c1"}]}}},
}
TIMEOUT = (
    "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. "
    'Use the "docker info" command to see the current swarm status of your node.'
)


def swarm_info(state: str, error: str = "") -> Answer:
    return Answer({"Name": "m", "Swarm": {"LocalNodeState": state, "Error": error}})


def test_init_sends_what_the_inventory_asks_for(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["POST /swarm/init"] = Answer("node-id")
    node_id = engine.swarm_init(
        advertise="10.0.0.1",
        data_path="eth1",
        data_path_port=4790,
        pools=["10.77.0.0/16"],
        subnet_size=25,
        task_history=3,
        autolock=True,
    )
    assert node_id == "node-id"
    assert fake.requests[0].json == {
        "AdvertiseAddr": "10.0.0.1",
        "ListenAddr": "0.0.0.0:2377",
        "DataPathAddr": "eth1",
        "DataPathPort": 4790,
        "DefaultAddrPool": ["10.77.0.0/16"],
        "SubnetSize": 25,
        "Spec": {
            "Orchestration": {"TaskHistoryRetentionLimit": 3},
            "EncryptionConfig": {"AutoLockManagers": True},
        },
    }


def test_a_subnet_size_without_pools_leaves_swarms_own_pool(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["POST /swarm/init"] = Answer("node-id")
    engine.swarm_init(subnet_size=24)
    assert not {"DefaultAddrPool", "SubnetSize"} & fake.requests[0].json.keys()


def test_a_join_that_goes_on_in_the_background_is_waited_for(fake: FakeEngine, engine: Engine) -> None:
    states = iter(["pending", "pending", "active"])
    fake.routes["POST /swarm/join"] = Answer({"message": TIMEOUT}, 503)
    fake.routes["GET /info"] = lambda _: swarm_info(next(states))
    engine.swarm_join(["10.0.0.1:2377"], "SWMTKN-x", sleep=lambda _: None)
    assert next(states, None) is None


def test_a_join_that_never_ends_fails_at_its_deadline_with_the_last_cause(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["POST /swarm/join"] = Answer({"message": TIMEOUT}, 503)
    fake.routes["GET /info"] = swarm_info("pending", "dial tcp 10.0.0.1:2377: no route to host")
    clock = count(step=10.0)
    with pytest.raises(DeadlineError, match="no route to host"):
        engine.swarm_join(["10.0.0.1:2377"], "t", timeout=60, clock=lambda: float(next(clock)), sleep=lambda _: None)


def test_a_join_that_swarm_gives_up_is_an_error_at_once(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["POST /swarm/join"] = Answer({"message": TIMEOUT}, 503)
    fake.routes["GET /info"] = swarm_info("error", "remote CA does not match fingerprint")
    with pytest.raises(JoinError, match="does not match fingerprint"):
        engine.swarm_join(["10.0.0.1:2377"], "t", sleep=lambda _: None)


def test_a_refused_join_is_not_waited_for(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["POST /swarm/join"] = Answer({"message": "invalid join token"}, 400)
    with pytest.raises(EngineRefusedError, match="invalid join token"):
        engine.swarm_join(["10.0.0.1:2377"], "t")
    assert [request.path for request in fake.requests] == ["/swarm/join"]


def test_tokens_do_not_show_themselves(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /swarm"] = Answer({"ID": "s1", "JoinTokens": {"Worker": "SWMTKN-w", "Manager": "SWMTKN-m"}})
    found = engine.swarm()
    assert found.id == "s1"
    tokens = found.tokens
    assert (tokens.of(Role.WORKER), tokens.of(Role.MANAGER)) == ("SWMTKN-w", "SWMTKN-m")
    assert "SWMTKN" not in repr(tokens) + str(tokens)


def test_leaving_no_swarm_is_success(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["POST /swarm/leave"] = Answer({"message": "This node is not part of a swarm"}, 503)
    engine.leave(force=True)
    assert fake.requests[0].query == {"force": ["true"]}


def test_a_manager_that_may_not_leave_is_an_error(fake: FakeEngine, engine: Engine) -> None:
    message = "You are attempting to leave the swarm on a node that is participating as a manager."
    fake.routes["POST /swarm/leave"] = Answer({"message": message}, 503)
    with pytest.raises(EngineRefusedError, match="participating as a manager"):
        engine.leave()


def test_nodes_are_read_whole(fake: FakeEngine, engine: Engine) -> None:
    manager = {
        **NODE,
        "Spec": {**NODE["Spec"], "Role": "manager", "Availability": "drain"},
        "ManagerStatus": {"Leader": True, "Reachability": "reachable", "Addr": "10.0.0.4:2377"},
    }
    fake.routes["GET /nodes"] = Answer([NODE, manager])
    worker, leader = engine.nodes()
    assert (worker.role, worker.hostname, worker.state) == (Role.WORKER, "lab-worker-1", "ready")
    assert (worker.labels, worker.leader, worker.is_reachable_manager) == ({"tier": "web"}, False, False)
    assert (leader.leader, leader.is_reachable_manager, leader.availability) == (True, True, Availability.DRAIN)


def test_an_update_keeps_what_it_does_not_change(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /nodes/n1"] = Answer(NODE)
    fake.routes["POST /nodes/n1/update"] = Answer()
    assert engine.update_node("n1", lambda spec: replace(spec, availability=Availability.DRAIN))
    sent = fake.requests[-1]
    assert sent.json == {**NODE["Spec"], "Availability": "drain"}
    assert sent.query == {"version": ["7"]}


def test_a_node_that_is_as_wanted_is_not_updated(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /nodes/n1"] = Answer(NODE)
    assert not engine.update_node("n1", lambda spec: spec)


def test_an_update_is_tried_again_on_the_newer_spec(fake: FakeEngine, engine: Engine) -> None:
    versions = iter([7, 8])
    fake.routes["GET /nodes/n1"] = lambda _: Answer({**NODE, "Version": {"Index": next(versions)}})

    def update(request: Request) -> Answer:
        if request.query["version"] == ["8"]:
            return Answer()
        return Answer({"message": "rpc error: code = Unknown desc = update out of sequence"}, 500)

    fake.routes["POST /nodes/n1/update"] = update
    assert engine.update_node("n1", lambda spec: replace(spec, labels={}))


def test_an_update_that_loses_every_race_is_an_error(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /nodes/n1"] = Answer(NODE)
    fake.routes["POST /nodes/n1/update"] = Answer({"message": "update out of sequence"}, 500)
    with pytest.raises(EngineRefusedError, match="out of sequence"):
        engine.update_node("n1", lambda spec: replace(spec, labels={}))


def test_removing_what_is_gone_is_success(fake: FakeEngine, engine: Engine) -> None:
    gone = Answer({"message": "not found"}, 404)
    fake.routes.update({"DELETE /nodes/n": gone, "DELETE /configs/c": gone, "DELETE /secrets/s": gone})
    engine.remove_node("n")
    engine.remove_config("c")
    engine.remove_secret("s")
    assert len(fake.requests) == 3


def test_removing_a_node_that_lives_is_an_error(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["DELETE /nodes/n"] = Answer({"message": "node n is not down and can't be removed"}, 400)
    with pytest.raises(EngineRefusedError, match="is not down"):
        engine.remove_node("n")


def test_services_come_with_their_numbers_in_one_call(fake: FakeEngine, engine: Engine) -> None:
    status = {"RunningTasks": 2, "DesiredTasks": 3}
    fake.routes["GET /services"] = Answer([{**SERVICE, "ServiceStatus": status}])
    (service,) = engine.services(stack="hello")
    assert (service.stack, service.mode, service.running, service.desired) == ("hello", "replicated", 2, 3)
    assert service.configs == {"c1", "c2"}
    assert fake.requests[0].query["status"] == ["true"]
    assert "com.docker.stack.namespace=hello" in fake.requests[0].query["filters"][0]


def test_old_engines_have_their_tasks_counted(fake: FakeEngine) -> None:
    task = {"ID": "t", "ServiceID": "s1", "DesiredState": "running", "Status": {"State": "running"}}
    fake.routes["GET /services"] = Answer([SERVICE])
    fake.routes["GET /tasks"] = Answer([task, {**task, "ServiceID": "other"}])
    with connect_engine("m", fake.open_channel, "1.40") as engine:
        (service,) = engine.services()
    assert (service.running, service.desired) == (1, 3)


def test_a_service_and_its_task_agree_on_what_the_task_is_made_from(fake: FakeEngine, engine: Engine) -> None:
    template = {key: value for key, value in SERVICE["Spec"]["TaskTemplate"].items() if key != "Runtime"}
    fake.routes["GET /services"] = Answer([SERVICE | {"ServiceStatus": {"RunningTasks": 1}}])
    fake.routes["GET /tasks"] = Answer([{"ID": "t", "ServiceID": "s1", "Spec": template}])
    assert engine.services()[0].task_digest == engine.tasks()[0].task_digest


def test_a_config_round_trips_its_data(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["POST /configs/create"] = Answer({"ID": "c1"}, 201)
    assert engine.create_config("hello_x", {"a": "b"}, b"\x00data") == "c1"
    spec = fake.requests[0].json
    assert base64.b64decode(spec["Data"]) == b"\x00data"
    fake.routes["GET /configs"] = Answer([{"ID": "c1", "CreatedAt": "2024-01-01T00:00:00Z", "Spec": spec}])
    (config,) = engine.configs()
    assert (config.name, config.labels, config.data) == ("hello_x", {"a": "b"}, b"\x00data")


def test_a_locked_manager_is_said_to_be_locked(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /nodes"] = Answer(
        {"message": "Swarm is encrypted and needs to be unlocked before it can be used."}, 503
    )
    fake.routes["GET /info"] = swarm_info("locked")
    assert engine.info().is_locked
    with pytest.raises(EngineRefusedError) as caught:
        engine.nodes()
    assert "docker swarm unlock" in caught.value.hint
