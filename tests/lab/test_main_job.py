"""The main job on the shared cluster: what `up` made, and that a second run finds nothing to do."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from conftest import Shared
from lab_support import Lab, fetch, secrets_in

MANAGERS = ("lab-manager-1", "lab-manager-2", "lab-manager-3")
WORKERS = ("lab-worker-1", "lab-worker-2")


def test_every_machine_is_a_ready_node_in_its_role(lab: Lab, shared: Shared) -> None:
    nodes = lab.nodes("lab-manager-1")
    assert {name: (node.role, node.ready, node.availability) for name, node in nodes.items()} == {
        **dict.fromkeys(MANAGERS, ("manager", True, "active")),
        **dict.fromkeys(WORKERS, ("worker", True, "active")),
    }
    assert sorted(node.manager_status for node in nodes.values()) == ["", "", "leader", "reachable", "reachable"]
