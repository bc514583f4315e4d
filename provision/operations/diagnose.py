"""What drivers find wrong with this workplace, and what a machine printed on its console."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from provision import drivers
from provision.driver import Console, Doctor
from provision.errors import DriverError, ProvisionError, UsageError
from provision.execution.observe import discover
from provision.operations.opened import opened, settings_of
from provision.operations.place import Place
from provision.state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that a driver lacks here: what, the command that mends it, and whether nothing can be made without."""

    driver: str
    summary: str
    fix: str
    fatal: bool


def doctor(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Diagnosis, ...]]:
    """What each of these drivers lacks; nothing for one that is ready. `settings` are `drivers:` of an inventory.

    A driver that cannot even be loaded lacks what it says then. Raises UsageError for a name that no driver has.
    """
    return {name: tuple(_found(name, settings.get(name, {}))) for name in names}


def _found(name: str, settings: Mapping[str, Any]) -> list[Diagnosis]:
    try:
        driver = drivers.make(name, settings)
    except DriverError as error:
        return [Diagnosis(driver=name, summary=error.summary, fix=error.hint, fatal=True)]
    if not isinstance(driver, Doctor):
        return []
    return [
        Diagnosis(driver=name, summary=finding.summary, fix=finding.fix, fatal=finding.fatal)
        for finding in driver.doctor()
    ]


def console(place: Place, cluster: str, machine: str) -> str:
    """What the machine has printed on its console. Raises UsageError where its driver has no such thing."""
    state = Store(place.paths(cluster)).read()
    if state is None or machine not in state.machines:
        raise UsageError(f"there is no machine {machine!r}", hint="provision ls lists the machines")
    name = state.machines[machine].driver
    with opened(place, cluster, settings=settings_of(None, state), ssh=state.ssh) as world:
        driver = world.drivers[name]
        if not isinstance(driver, Console):
            raise UsageError(f"{machine}: driver {name!r} has no console of its machines")
        found = discover(world, state)
        if machine not in found:
            raise ProvisionError(f"{machine}: does not exist any more", hint="provision up makes it again")
        return driver.console(found[machine])
