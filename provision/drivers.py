"""Which drivers are installed, and their classes: the entry points of the group `provision.drivers`.

Listing reads package metadata only; a driver's code is imported when it is asked for by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from provision.errors import DriverError, UsageError

if TYPE_CHECKING:
    from provision.driver import Driver

GROUP = "provision.drivers"


def available() -> dict[str, str]:
    """Every installed driver's name and where it comes from (`provision 0.1.0`), sorted; imports none of them."""
    return {point.name: _origin(point) for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def load(name: str) -> type[Driver]:
    """The driver's class.

    Raises `UsageError` for a name that nothing provides, `DriverError` when two packages claim the name, or when a
    module that the driver needs is not installed.
    """
    found = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not found:
        raise UsageError(f"there is no driver {name!r}", hint=_unknown_hint(name))
    if len(found) > 1:
        raise DriverError(
            f"driver {name!r} is provided more than once",
            detail="\n".join(f"    {value} of {_origin(point)}" for value, point in sorted(found.items())),
            hint="uninstall all packages that provide it but one",
        )
    (point,) = found.values()
    try:
        driver = point.load()
    except ImportError as error:
        missing = error.name or str(error)
        raise DriverError(
            f"driver {name!r} cannot be used: {missing!r} cannot be imported",
            detail=f"    {error}",
            hint=_install_hint(point, missing),
        ) from error
    except AttributeError as error:
        raise DriverError(
            f"driver {name!r} cannot be used: {point.value!r} does not exist",
            hint=f"this is a mistake in the package {_origin(point)}",
        ) from error
    return cast("type[Driver]", driver)


def make(name: str, settings: Mapping[str, Any]) -> Driver:
    """The driver itself, constructed with an inventory's `drivers.<name>`. Raises what `load` and it raise."""
    # The protocol cannot say what a constructor takes without binding every implementation's __init__.
    return cast("Driver", cast("Any", load(name))(settings))


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _unknown_hint(name: str) -> str:
    names = sorted(available())
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"installed are: {', '.join(names)}" if names else "no driver is installed; reinstall provision"


def _install_hint(point: EntryPoint, missing: str) -> str:
    package = point.dist.name if point.dist else "provision"
    if missing.partition(".")[0] == point.module.partition(".")[0]:
        return f"reinstall it: pip install --force-reinstall {package}"
    extras = point.dist.metadata.get_all("Provides-Extra") if point.dist else None
    target = f"{package}[{point.name}]" if point.name in (extras or ()) else package
    return f"pip install '{target}'"
