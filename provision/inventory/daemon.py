"""daemon.json: its layers merged, and the keys in it that a swarm cannot live with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision.inventory.cluster import EngineInstall, EngineSettings
from provision.inventory.document import Path
from provision.inventory.models import EngineModel
from provision.inventory.report import Report
from provision.merge import merge

_CONFLICTS = {
    "cluster-store": "was removed from Docker Engine; it belonged to the swarm of old",
    "cluster-advertise": "was removed from Docker Engine; it belonged to the swarm of old",
    "cluster-store-opts": "was removed from Docker Engine; it belonged to the swarm of old",
}


def check_daemon(report: Report, daemon: Mapping[str, Any], path: Path) -> None:
    """Note the keys with which an engine cannot be in a swarm. `path` is where the mapping stands."""
    if daemon.get("live-restore") is True:
        report.add(
            (*path, "live-restore"),
            "'live-restore' cannot be true on a swarm's member",
            hint="remove it; a swarm moves tasks instead of keeping them over a restart",
            at_key=True,
        )
    for key, reason in _CONFLICTS.items():
        if key in daemon:
            report.add((*path, key), f"{key!r} {reason}", hint="remove it", at_key=True)


def merge_engine(base: EngineSettings, over: EngineModel) -> EngineSettings:
    """A layer on top of the ones below: what it does not say stays."""
    return EngineSettings(
        install=over.install or base.install or EngineInstall.DISTRO,
        daemon=merge(base.daemon, over.daemon),
    )
