from __future__ import annotations

from pathlib import Path

import pytest

from provision.state.paths import ClusterPaths


@pytest.fixture
def paths(tmp_path: Path) -> ClusterPaths:
    made = ClusterPaths(tmp_path / "state", "lab")
    made.make()
    return made
