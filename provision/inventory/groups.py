"""The inventory's `machines:` as groups: each one validated, its driver's options told from its own keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from provision.driver import HostEntry
from provision.errors import ProvisionError
from provision.inventory.cluster import Availability, EngineSettings, Group, MachineOverride
from provision.inventory.daemon import check_daemon, merge_engine
from provision.inventory.document import Path
from provision.inventory.models import GroupModel, HostModel
from provision.inventory.places import Places
from provision.inventory.report import Report
from provision.inventory.values import InvalidValueError, check_name, did_you_mean

if TYPE_CHECKING:
    from provision.driver import Driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a group is resolved in: the inventory's own settings, and how a driver's class is found by name."""

    cluster: str
    driver: str | None
    shared: Mapping[str, Mapping[str, Any]]
    engine: EngineSettings
    places: Places
    driver_class: Callable[[str], type[Driver]]
    #: drivers whose class could not be had, so that it is said once
    refused: set[str] = field(default_factory=set)


def resolve_group(report: Report, name: Any, data: Mapping[Any, Any], around: Surroundings) -> Group | None:
    """The group; None when something of it is wrong, which is then noted."""
    path: Path = ("machines", name)
    _check_group_name(report, name, path)
    own = {key: value for key, value in data.items() if key in GroupModel.model_fields}
    extra = {key: value for key, value in data.items() if key not in GroupModel.model_fields}
    model = report.validate(GroupModel, own, path)
    driver_name = data.get("driver") or around.driver
    if not isinstance(driver_name, str):
        if driver_name is None:
            report.add(
                path,
                f"group {name!r} has no driver, and the inventory no default",
                hint="write 'driver: nspawn' at the top; 'provision drivers' lists them",
                at_key=True,
            )
        return None
    driver = driver_of(report, driver_name, around, path=_driver_path(data, path))
    if not driver:
        _refuse_slips(report, extra, path)
        return None
    options = resolve_options(report, driver, own=extra, path=path, around=around, name=driver_name)
    if not model or options is None or not _machines_are_said(report, driver, driver_name, model, path):
        return None
    _check_names(report, around.cluster, name, model, path)
    check_daemon(report, model.engine.daemon, (*path, "engine", "daemon"))
    for number, override in model.overrides.items():
        check_daemon(report, override.engine.daemon, (*path, "overrides", number, "engine", "daemon"))
    return Group(
        name=name,
        role=model.role,
        driver=driver_name,
        count=len(model.hosts) if model.hosts is not None else 1 if model.count is None else model.count,
        hosts=tuple(_host(host, around.places) for host in model.hosts or ()),
        image=model.image,
        cpus=model.cpus,
        memory=model.memory,
        disk=model.disk,
        user_data=_user_data(report, model.user_data, path, around.places),
        labels=model.labels,
        availability=model.availability or Availability.ACTIVE,
        hostname=model.hostname,
        engine=merge_engine(around.engine, model.engine),
        options=options,
        overrides={
            number: MachineOverride(
                labels=override.labels, availability=override.availability, daemon=override.engine.daemon
            )
            for number, override in model.overrides.items()
        },
    )


def driver_of(
    report: Report, name: str, around: Surroundings, *, path: Path, at_key: bool = False
) -> type[Driver] | None:
    """The driver's class; None, and once noted at the path, when there is none or it cannot be imported."""
    if name in around.refused:
        return None
    try:
        return around.driver_class(name)
    except ProvisionError as error:
        around.refused.add(name)
        report.add(path, error.summary, hint=error.hint, at_key=at_key)
        return None


def resolve_options(
    report: Report,
    driver: type[Driver],
    *,
    own: Mapping[Any, Any],
    path: Path,
    around: Surroundings,
    name: str,
) -> Mapping[str, Any] | None:
    """The driver's options for a group: its own keys over `drivers.<name>`, defaults filled in; None when wrong.

    The driver's model is given `{"folder": …}`, the inventory's folder, as its validation context.
    """
    shared = around.shared.get(name, {})
    try:
        options = driver.Options.model_validate({**shared, **own}, context=context(around.places))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            first = detail["loc"][0] if detail["loc"] else None
            # What is wrong in `drivers.<name>` itself is noted there, once.
            if first not in shared or first in own:
                report.add_detail(driver.Options, detail, path, also_known=_known(driver.Options, detail["loc"]))
        return None
    return options.model_dump()


def check_shared(
    report: Report, driver: type[Driver], shared: Mapping[str, Any], around: Surroundings, name: str
) -> None:
    """Note what is wrong in `drivers.<name>`. An option that every group must set may be missing there."""
    try:
        driver.Options.model_validate(shared, context=context(around.places))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "missing":
                report.add_detail(driver.Options, detail, ("drivers", name))


def context(places: Places) -> dict[str, Any]:
    """What drivers' models may read in a validator: the folder that relative paths start from."""
    return {"folder": places.folder}


def _known(options: type[BaseModel], location: Path) -> set[str]:
    return set(GroupModel.model_fields) | set(options.model_fields) if len(location) == 1 else set()


def _check_group_name(report: Report, name: Any, path: Path) -> None:
    try:
        check_name(str(name) if isinstance(name, str) else "")
    except InvalidValueError as error:
        report.add(path, f"{str(name)!r} {error}", hint=error.hint, at_key=True)


def _driver_path(data: Mapping[Any, Any], path: Path) -> Path:
    return (*path, "driver") if data.get("driver") else ("driver",)


def _refuse_slips(report: Report, extra: Mapping[Any, Any], path: Path) -> None:
    """Without its driver nobody knows which options there are; but a key that is almost ours is a slip."""
    for key in extra:
        hint = did_you_mean(key, GroupModel.model_fields)
        if hint.startswith("did"):
            report.add((*path, key), f"unknown key {key!r}", hint=hint, at_key=True)


def _machines_are_said(report: Report, driver: type[Driver], name: str, model: GroupModel, path: Path) -> bool:
    if driver.adopts and model.count is not None:
        report.add(
            (*path, "count"),
            f"driver {name!r} makes no machines, so there is nothing to count",
            hint="list the machines: hosts: [root@192.0.2.11]",
            at_key=True,
        )
    elif driver.adopts and model.hosts is None:
        message = f"hosts is missing, which driver {name!r} needs"
        report.add(path, message, hint="write: hosts: [root@192.0.2.11]", at_key=True)
    elif not driver.adopts and model.hosts is not None:
        report.add(
            (*path, "hosts"),
            f"driver {name!r} makes its machines, so hosts cannot be listed",
            hint="write 'count:', or 'driver: ssh' for machines that already run",
            at_key=True,
        )
    else:
        return True
    return False


def _check_names(report: Report, cluster: str, group: str, model: GroupModel, path: Path) -> None:
    most = max([model.count or len(model.hosts or ()), 1, *model.overrides])
    longest = f"{cluster}-{group}-{most}"
    if len(longest) > 63:
        report.add(
            path,
            f"{longest!r} is {len(longest)} characters, a hostname has 63 at most",
            hint="shorten",
            at_key=True,
        )


def _host(model: HostModel, places: Places) -> HostEntry:
    return HostEntry(
        address=model.address,
        name=model.name,
        user=model.user,
        port=model.port,
        jump=model.jump,
        host_key=model.host_key,
        private_address=model.private_address,
        identity_file=str(places.path(model.identity_file)) if model.identity_file else None,
    )


def _user_data(report: Report, value: str | None, path: Path, places: Places) -> str | None:
    if value is None or "\n" in value.strip() or value.startswith("#"):
        return value
    place = places.path(value)
    try:
        return place.read_text("utf-8")
    except OSError as error:
        message = f"cannot read {value!r}: {error.strerror or error}".lower()
        report.add((*path, "user_data"), message, hint=f"looked for {place}")
    except UnicodeDecodeError:
        report.add((*path, "user_data"), f"{value!r} is not UTF-8 text")
    return None
