"""An inventory file to a `Cluster`: everything wrong in it at once, or the values."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from provision import drivers
from provision.driver import Role
from provision.errors import InventoryError, Problem, UsageError
from provision.inventory.cluster import Cluster, EngineSettings, Group, SshSettings, SwarmSettings
from provision.inventory.daemon import check_daemon, merge_engine
from provision.inventory.distinct import check_hosts_are_distinct
from provision.inventory.document import read
from provision.inventory.groups import Surroundings, check_shared, driver_of, resolve_group
from provision.inventory.keys import authorized_keys
from provision.inventory.models import EngineModel, InventoryModel, SshModel, SwarmModel
from provision.inventory.places import Places
from provision.inventory.report import Report
from provision.inventory.stacks import resolve_stacks

if TYPE_CHECKING:
    from provision.driver import Driver

M = TypeVar("M", bound=BaseModel)


def load(
    path: Path, *, environ: Mapping[str, str], driver_class: Callable[[str], type[Driver]] = drivers.load
) -> Cluster:
    """The cluster that the file describes.

    `environ` is what `${VAR}` and `~` are taken from. Raises `InventoryError` with every problem found, `UsageError`
    when there is no such file. Files that it names (compose files, env files, public keys, user data) must exist;
    image archives need not.
    """
    return loads(read_text(path), path, environ=environ, driver_class=driver_class)


def loads(
    text: str,
    path: Path,
    *,
    environ: Mapping[str, str],
    driver_class: Callable[[str], type[Driver]] = drivers.load,
) -> Cluster:
    """The same for text that is, or will be, at `path`."""
    report = Report(read(text, str(path), environ))
    data = report.document.data
    if not isinstance(data, dict):
        empty = data is None and not report.document.broken
        message = "the inventory is empty" if empty else "an inventory is a mapping: name, driver, machines, …"
        if report.clean:
            report.add((), message, hint="'provision init' writes one to start from")
        report.finish()
    cluster = _resolve(report, data, path, environ, driver_class)
    report.finish()
    return cluster


def read_text(path: Path) -> str:
    """The file's text, line breaks as they are. Raises `UsageError` when it cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"there is no inventory {str(path)!r}", hint="'provision init' writes one") from error
    except OSError as error:
        raise UsageError(f"cannot read the inventory {str(path)!r}", detail=f"    {error.strerror}") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        problem = Problem(
            "is not UTF-8 text",
            file=str(path),
            line=before.count(b"\n") + 1,
            column=error.start - (before.rfind(b"\n") + 1) + 1,
        )
        raise InventoryError((problem,)) from error


def _resolve(
    report: Report,
    data: dict[Any, Any],
    path: Path,
    environ: Mapping[str, str],
    driver_class: Callable[[str], type[Driver]],
) -> Cluster:
    """The cluster; worth something only if the report stays clean."""
    places = Places.of(path, environ)
    report.validate(InventoryModel, data, ())
    # Each section on its own, so that a mistake in one does not keep the others from being looked at.
    ssh, swarm, engine = (
        _section(data, "ssh", SshModel),
        _section(data, "swarm", SwarmModel),
        _section(data, "engine", EngineModel),
    )
    name = data.get("name")
    check_daemon(report, engine.daemon, ("engine", "daemon"))
    around = Surroundings(
        cluster=name if isinstance(name, str) else "",
        driver=data.get("driver") if isinstance(data.get("driver"), str) else None,
        shared={key: value or {} for key, value in _mapping(data, "drivers").items() if isinstance(value, dict | None)},
        engine=merge_engine(EngineSettings(), engine),
        places=places,
        driver_class=driver_class,
    )
    groups = _groups(report, _mapping(data, "machines"), around)
    used = {group.driver for group in groups}
    for key, value in around.shared.items():
        if driver := driver_of(report, key, around, path=("drivers", key), at_key=True):
            check_shared(report, driver, value, around, key)
    stacks = resolve_stacks(report, _mapping(data, "stacks"), places)
    _check_addresses(report, swarm, sum(group.count for group in groups))
    return Cluster(
        name=around.cluster,
        source=path.absolute(),
        groups=groups,
        drivers={key: around.shared.get(key, {}) for key in sorted(used)},
        ssh=SshSettings(
            user=ssh.user,
            port=ssh.port,
            jump=ssh.jump,
            identity_file=str(places.path(ssh.identity_file)) if ssh.identity_file else None,
            authorized_keys=authorized_keys(report, ssh.authorized_keys, places),
            accept_new_host_keys=ssh.accept_new_host_keys,
            connect_timeout=ssh.connect_timeout,
        ),
        swarm=SwarmSettings(**{**dict(swarm), "default_addr_pool": tuple(swarm.default_addr_pool)}),
        firewall=data.get("firewall", "nftables") != "none",
        stacks=stacks,
    )


def _groups(report: Report, machines: dict[Any, Any], around: Surroundings) -> tuple[Group, ...]:
    found = [resolve_group(report, name, group, around) for name, group in machines.items() if isinstance(group, dict)]
    groups = tuple(group for group in found if group)
    # A group that is wrong may be the one with the managers, or with the other half of a pair.
    if machines and len(groups) == len(machines):
        if not any(group.role is Role.MANAGER and group.count for group in groups):
            report.add(
                ("machines",),
                "there is no manager, and a swarm needs one",
                hint="add a group: manager: {role: manager, count: 3}",
                at_key=True,
            )
        check_hosts_are_distinct(report, groups, around.cluster)
    return groups


def _check_addresses(report: Report, swarm: SwarmModel, machines: int) -> None:
    for key in ("advertise", "data_path"):
        value = getattr(swarm, key)
        if value and machines > 1 and _is_address(value):
            report.add(
                ("swarm", key),
                f"swarm.{key} is one machine's address, and there are {machines} machines",
                hint="name the interface (eth1), or give each host its 'private_address'",
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _section(data: dict[Any, Any], key: str, model: type[M]) -> M:
    """The section's values; the defaults when it is wrong, which validating the whole has noted."""
    try:
        return model.model_validate(data.get(key, {}))
    except ValidationError:
        return model()


def _mapping(data: dict[Any, Any], key: str) -> dict[Any, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
