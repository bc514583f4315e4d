"""The login user's right to use the engine without sudo: what `docker --context` and `docker -H ssh://` need.

It gives no power that password-free sudo had not given already.
"""

from __future__ import annotations

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, command


def changes(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Make the user a member of group docker, where there is that group or the engine's package brings it."""
    brings = desired.install and not facts.engine.installed
    if facts.user == "root" or "docker" in facts.groups or not (facts.docker_group or brings):
        return ()
    body = f": >{layout.GROUP_ADDED}\n{command('usermod', '-aG', 'docker', facts.user)}"
    cause = f"user {facts.user} may not use the engine"
    return (Change(fragment=Fragment("join group docker", body), cause=cause),)
