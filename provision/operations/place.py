"""Where an operation works: this machine's folders, environment and user. An argument, never ambient."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provision.state.paths import ClusterPaths, state_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`root` holds the clusters' state; `password` is tried where no key opens a host, and never kept."""

    root: Path
    environ: Mapping[str, str] = field(repr=False)
    password: str | None = field(default=None, repr=False)
    accept_new_host_keys: bool = False

    def paths(self, cluster: str) -> ClusterPaths:
        """The files of one cluster."""
        return ClusterPaths(self.root, cluster)


def this_place(*, password: str | None = None, accept_new_host_keys: bool = False) -> Place:
    """The place of this process. PROVISION_SSH_PASSWORD stands in for a password that was not asked for."""
    environ = dict(os.environ)
    return Place(
        root=state_root(environ),
        environ=environ,
        password=password or environ.get("PROVISION_SSH_PASSWORD") or None,
        accept_new_host_keys=accept_new_host_keys,
    )
