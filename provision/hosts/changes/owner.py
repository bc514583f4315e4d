"""The mark that says which cluster a host belongs to; nothing of a host with a foreign mark is touched."""

from __future__ import annotations

import json

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, write_file


def changes(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Mark the host as this cluster's machine, unless it is."""
    mark = {"cluster": desired.cluster, "machine": desired.machine}
    if facts.owner == mark:
        return ()
    body = write_file(layout.OWNER, json.dumps(mark), mode="0644")
    return (Change(fragment=Fragment("mark as ours", body), cause="the host bears no mark of this cluster"),)
