"""From a step's action to the function that carries it out: the list of all that a run can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from provision.execution import machines, stacks, swarm
from provision.execution.scheduler import Outcome
from provision.execution.settle import NodeWatch
from provision.execution.world import World
from provision.planning import actions
from provision.planning.plan import Step
from provision.planning.wanted import Wanted


class Performer:
    """Carries out the steps of one run. `wanted` None: a run that only takes away (`down`)."""

    def __init__(self, world: World, wanted: Wanted | None) -> None:
        self._world = world
        self._wanted = wanted
        self._watch = NodeWatch(world)

    def __call__(self, step: Step, say: Callable[[str], None]) -> Outcome:
        """Perform one step; raises for a failure."""
        with self._world.using(step.subject):
            return self._perform(step, say)

    def _perform(  # noqa: PLR0911, PLR0912 # one branch an action
        self, step: Step, say: Callable[[str], None]
    ) -> Outcome:
        world, watch, action = self._world, self._watch, step.action
        match action:
            case actions.Create():
                return machines.create(world, self._target, action, say)
            case actions.Adopt():
                return machines.adopt(world, self._target, action, say)
            case actions.Start():
                return machines.start(world, self._target, action, say)
            case actions.Reach():
                return machines.reach(world, self._target, action, say)
            case actions.Configure():
                return machines.configure(world, self._target, action, say)
            case actions.InitSwarm():
                return swarm.init(world, self._target, action, say)
            case actions.Join():
                return swarm.join(world, self._target, watch, action, say)
            case actions.UpdateNode():
                return swarm.update(world, watch, action, say)
            case actions.LoadImages():
                return stacks.load(world, self._target, action, say)
            case actions.DeployStack():
                return stacks.deploy(world, action, say)
            case actions.RemoveStack():
                return stacks.remove(world, action, say)
            case actions.Demote():
                return swarm.demote(world, watch, action, say)
            case actions.Drain():
                return swarm.drain(world, watch, action, say)
            case actions.Leave():
                return swarm.leave(world, action, say)
            case actions.RemoveNode():
                return swarm.remove_node(world, watch, action, say)
            case actions.Destroy():
                return machines.destroy(world, action, say)
            case actions.Forget():
                return machines.forget(world, action, say)
            case actions.Release():
                return machines.release(world, action, say)
            case _:
                assert_never(action)

    @property
    def _target(self) -> Wanted:
        if self._wanted is None:
            raise AssertionError("a plan that builds needs to know what is wanted")
        return self._wanted
