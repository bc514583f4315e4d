"""Facts and operations of a swarm, since pyinfra's own do not ask what is there already.

A module beside the deploy, since pyinfra runs the deploy's own file once for each host.
"""

from __future__ import annotations

from collections.abc import Iterator

from gevent.lock import BoundedSemaphore
from pyinfra import host
from pyinfra.api import FactBase, HiddenValue, StringCommand, operation
from pyinfra.api.host import Host

#: one host asks for the tokens, the others wait for its answer
_asking = BoundedSemaphore()
_tokens: dict[str, str] = {}


class InSwarm(FactBase[bool]):
    """Whether the engine is a member of a swarm: it keeps this file from init or join until leave."""

    def command(self) -> str:
        return "test -e /var/lib/docker/swarm/docker-state.json && echo yes || echo no"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]


class JoinTokens(FactBase[dict[str, str]]):
    """The swarm's tokens by role; a manager knows them."""

    def command(self) -> str:
        return "docker swarm join-token -q worker && docker swarm join-token -q manager"

    def process(self, output: list[str]) -> dict[str, str]:
        return dict(zip(("worker", "manager"), output, strict=True))


@operation()
def init(advertise: str) -> Iterator[StringCommand]:
    """A swarm, with this host as its first manager, unless it is in one."""
    if not host.get_fact(InSwarm):
        yield StringCommand("docker", "swarm", "init", "--advertise-addr", advertise)


@operation()
def join(advertise: str, role: str, leader: Host, address: str) -> Iterator[StringCommand]:
    """This host is in the swarm of the leader at the address, unless it is in one."""
    if not host.get_fact(InSwarm):
        with _asking:
            if not _tokens:
                _tokens.update(leader.get_fact(JoinTokens))
        options = ("--advertise-addr", advertise, "--token", HiddenValue(_tokens[role]))
        # an engine that says after 20 s that it goes on joining has not failed: the nodes are counted at the end
        goes_on = "docker info --format '{{.Swarm.LocalNodeState}}' | grep -qxE 'pending|active'"
        yield StringCommand("docker", "swarm", "join", *options, f"{address}:2377", "||", goes_on)
