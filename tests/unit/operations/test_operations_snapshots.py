"""After a restore: when a cluster is whole again, and what the state learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from builders_of_plans import SWARM_ID, facts, member, node

from provision.driver import Role
from provision.operations.place import Place
from provision.operations.snapshots import _learn_swarm, lacking
from provision.planning.observation import Observation, SwarmFacts
from provision.state.store import Store
from provision.swarm.values import Node

NAMES = ("lab-manager-1", "lab-worker-1")
FACTS = {
    "lab-manager-1": member(facts("lab-manager-1"), Role.MANAGER),
    "lab-worker-1": member(facts("lab-worker-1"), Role.WORKER),
}


def swarm(*nodes: Node) -> SwarmFacts:
    return SwarmFacts(cluster_id=SWARM_ID, seen_from="lab-manager-1", nodes=nodes)


MANAGER, WORKER = node("lab-manager-1", Role.MANAGER), node("lab-worker-1")


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (Observation(facts=FACTS, swarm=swarm(MANAGER, WORKER)), ""),
        (Observation(facts={name: facts(name) for name in NAMES}), ""),
        (Observation(unreachable={"lab-manager-1": "refused"}), "lab-manager-1: refused"),
        (Observation(facts=FACTS), "no manager speaks for the swarm yet"),
        (Observation(facts=FACTS, swarm=swarm(MANAGER)), "the managers do not list lab-worker-1"),
        (
            Observation(facts=FACTS, swarm=swarm(MANAGER, replace(WORKER, state="down", message="heartbeat failure"))),
            "the managers see lab-worker-1 down: heartbeat failure",
        ),
        (
            Observation(facts=FACTS, swarm=swarm(replace(MANAGER, reachability="unreachable"), WORKER)),
            "lab-manager-1 is not reachable for the other managers",
        ),
    ],
)
def test_what_a_restored_cluster_lacks_is_said(seen: Observation, cause: str) -> None:
    assert lacking(seen, NAMES) == cause


def test_a_machine_that_was_off_then_is_not_waited_for() -> None:
    seen = Observation(facts={"lab-manager-1": FACTS["lab-manager-1"]}, swarm=swarm(MANAGER, WORKER))
    assert lacking(seen, ["lab-manager-1"]) == ""


@pytest.fixture
def learned(tmp_path: Path) -> Callable[[str | None, SwarmFacts | None], Any]:
    """`learned(known, seen)`: what the state knows of the swarm after a restore."""

    def learn(known: str | None, seen: SwarmFacts | None) -> Any:
        store = Store(Place(root=tmp_path, environ={}).paths("lab"))
        store.create()
        data = {"other": 1, **({"swarm": known} if known else {})}
        store.update(lambda state: replace(state, data=data))
        _learn_swarm(cast("Any", SimpleNamespace(store=store)), Observation(swarm=seen))
        state = store.read()
        assert state is not None
        assert state.data["other"] == 1
        return state.data.get("swarm")

    return learn


def test_the_state_learns_which_swarm_it_is_now(learned: Callable[..., Any]) -> None:
    assert learned("a-later-swarm", swarm(MANAGER)) == SWARM_ID


def test_the_state_forgets_a_swarm_that_was_made_later(learned: Callable[..., Any]) -> None:
    assert learned("a-later-swarm", None) is None
