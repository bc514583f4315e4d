"""Where state lives, and who may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.state.paths import ClusterPaths, clusters, state_root


def test_root_follows_xdg_state_home() -> None:
    assert state_root({"XDG_STATE_HOME": "/var/x", "HOME": "/home/a"}) == Path("/var/x/provision")


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_an_empty_or_relative_xdg_state_home_counts_as_unset(value: str) -> None:
    assert state_root({"XDG_STATE_HOME": value, "HOME": "/home/a"}) == Path("/home/a/.local/state/provision")


def test_folders_are_closed_to_others(paths: ClusterPaths) -> None:
    paths.logs.chmod(0o755)
    paths.make()
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (paths.folder, paths.logs)] == [0o700, 0o700]


@pytest.mark.parametrize("name", ["", "..", "a/b", "../other", ".hidden", "-c"])
def test_a_name_cannot_lead_out_of_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a cluster's name"):
        ClusterPaths(tmp_path, name)


def test_clusters_are_those_with_a_state(tmp_path: Path) -> None:
    for name in ("beta", "alpha", "empty"):
        ClusterPaths(tmp_path, name).make()
    for name in ("beta", "alpha"):
        ClusterPaths(tmp_path, name).state.write_text("{}")
    assert clusters(tmp_path) == ("alpha", "beta")


def test_no_root_means_no_clusters(tmp_path: Path) -> None:
    assert clusters(tmp_path / "none") == ()


def test_remove_leaves_nothing_of_the_last_cluster(paths: ClusterPaths) -> None:
    paths.state.write_text("{}")
    paths.remove()
    paths.remove()
    assert not paths.root.exists()


def test_remove_leaves_another_cluster_alone(paths: ClusterPaths) -> None:
    other = ClusterPaths(paths.root, "other")
    other.make()
    paths.remove()
    assert other.folder.is_dir()
    assert not paths.folder.exists()
