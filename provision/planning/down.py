"""What `down` would do. It needs no inventory: what exists, exists."""

from __future__ import annotations

from provision.planning.actions import Destroy, Release
from provision.planning.observation import Observation
from provision.planning.plan import Draft, Plan, Step


def plan_down(
    cluster: str, observed: Observation, adopting: frozenset[str], *, purge: bool = False, force: bool = False
) -> Plan:
    """Destroy what was made, release what was adopted, all at once: a swarm that ends as a whole needs no leave-taking.

    `purge` takes the engine from adopted hosts too; `force` forgets adopted hosts that do not answer.
    """
    draft = Draft()
    for name, machine in observed.machines.items():
        if machine.driver in adopting:
            action: Destroy | Release = Release(machine, purge, force)
        else:
            action = Destroy(machine)
        verb = "release machine" if isinstance(action, Release) else "destroy machine"
        draft.add(Step(subject=name, verb=verb, cause="asked for", action=action, destroys=True))
    return draft.finish(cluster)
