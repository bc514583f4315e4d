"""What was deployed, remembered in Swarm itself, and how the present differs from it.

The record is a Docker config in the stack's namespace: every manager has it, `docker stack rm` takes it
along, and no machine of ours need remember anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.stacks.progress import FAILED_UPDATES
from provision.swarm.parse import NAMESPACE_LABEL
from provision.swarm.values import Service, SwarmConfig, SwarmObject

if TYPE_CHECKING:
    from provision.stacks.bundle import Bundle
    from provision.swarm.engine import Engine

CLUSTER_LABEL = "provision.cluster"
DIGEST_LABEL = "provision.stack.digest"
_NAME_LIMIT = 64
_INTENT = "_provision-begun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a stack was when deployed last: the bundle's digest, each service's spec digest by full name."""

    stack: str
    cluster: str
    digest: str
    services: Mapping[str, str]


def read_records(configs: Iterable[SwarmConfig], *, cluster: str) -> dict[str, Record]:
    """The newest record of each stack of this cluster, by the stack's name. Other configs are passed by.

    A record that cannot be read counts as none: the stack is then deployed again, which is harmless.
    """
    records: dict[str, Record] = {}
    for config in sorted(configs, key=lambda config: config.created):
        if DIGEST_LABEL not in config.labels or config.labels.get(CLUSTER_LABEL) != cluster:
            continue
        record = _read(config)
        if record is not None:
            records[record.stack] = record
    return records


def drift(bundle: Bundle, record: Record | None, services: Iterable[Service]) -> str | None:
    """Why the stack must be deployed, for the plan; None when it is as it was deployed and as wanted."""
    if record is None:
        return "not deployed"
    if not record.digest:
        return "its first deployment did not end well"
    if record.digest != bundle.digest:
        return "content changed"
    present = {service.name: service for service in services}
    for name, digest in sorted(record.services.items()):
        short = name.removeprefix(f"{bundle.stack}_")
        if name not in present:
            return f"service {short} was removed"
        if present[name].update_state in FAILED_UPDATES:
            return f"the last update of service {short} failed"
        if present[name].spec_digest != digest:
            return f"service {short} was changed by hand"
    return None


def write_intent(engine: Engine, bundle: Bundle, *, cluster: str) -> None:
    """Remember, before its first deploy, that the stack is this cluster's: what never ran as wanted is found again.

    A stack that has a record keeps it.
    """
    if any(DIGEST_LABEL in config.labels for config in engine.configs(stack=bundle.stack)):
        return
    labels = {NAMESPACE_LABEL: bundle.stack, CLUSTER_LABEL: cluster, DIGEST_LABEL: ""}
    data = json.dumps({"digest": "", "services": {}}).encode()
    engine.create_config(f"{bundle.stack[: _NAME_LIMIT - len(_INTENT)]}{_INTENT}", labels, data)


def write_record(engine: Engine, bundle: Bundle, services: Iterable[Service], *, cluster: str) -> None:
    """Remember that the bundle is deployed as `services` (those of the stack, read after the deploy).

    Older records of the stack are removed. A crash in between leaves at worst no record, and then one more
    deploy.
    """
    digests = {service.name: service.spec_digest for service in services}
    data = json.dumps({"digest": bundle.digest, "services": digests}, sort_keys=True).encode()
    name = _record_name(bundle)
    labels = {NAMESPACE_LABEL: bundle.stack, CLUSTER_LABEL: cluster, DIGEST_LABEL: bundle.digest}
    present = [config for config in engine.configs(stack=bundle.stack) if DIGEST_LABEL in config.labels]
    same = [config for config in present if config.name == name]
    up_to_date = any(config.data == data and config.labels == labels for config in same)
    if not up_to_date:
        # a config cannot be changed: one of the same name has to go first
        for config in same:
            engine.remove_config(config.id)
        engine.create_config(name, labels, data)
    for config in present:
        if config.name != name:
            engine.remove_config(config.id)


def prune_objects(engine: Engine, bundle: Bundle) -> tuple[str, ...]:
    """Remove configs and secrets that earlier contents of the stack's files left behind; returns their names.

    Only those that we named after their content, that no service uses, not even for a rollback, and that this
    bundle does not name.
    """
    services = engine.services()
    configs = _leftovers(
        bundle, engine.configs(stack=bundle.stack), frozenset().union(*(item.configs for item in services))
    )
    secrets = _leftovers(
        bundle, engine.secrets(stack=bundle.stack), frozenset().union(*(item.secrets for item in services))
    )
    for config in configs:
        engine.remove_config(config.id)
    for secret in secrets:
        engine.remove_secret(secret.id)
    return tuple(item.name for item in (*configs, *secrets))


def _leftovers(bundle: Bundle, objects: Iterable[SwarmObject], used: frozenset[str]) -> list[SwarmObject]:
    ours = re.compile(rf"{re.escape(bundle.stack)}_.+-[0-9a-f]{{10}}")
    return [
        item
        for item in objects
        if ours.fullmatch(item.name)
        and DIGEST_LABEL not in item.labels
        and item.id not in used
        and item.name not in bundle.objects
    ]


def _record_name(bundle: Bundle) -> str:
    suffix = f"_provision-{bundle.digest[:12]}"
    return bundle.stack[: _NAME_LIMIT - len(suffix)] + suffix


def _read(config: SwarmConfig) -> Record | None:
    try:
        data = json.loads(config.data)
        return Record(
            stack=config.labels[NAMESPACE_LABEL],
            cluster=config.labels[CLUSTER_LABEL],
            digest=str(data["digest"]),
            services={str(name): str(digest) for name, digest in data["services"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
