"""The record in Swarm, the drift from it, and what is pruned, with a fake store of Swarm's objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from provision.inventory.cluster import Stack
from provision.stacks.bundle import Bundle, read_bundle
from provision.stacks.record import drift, prune_objects, read_records, write_record
from provision.swarm.engine import Engine
from provision.swarm.values import Service, SwarmConfig, SwarmObject

WEB = Service(
    id="s1",
    name="hello_web",
    stack="hello",
    mode="replicated",
    running=1,
    desired=1,
    completed=0,
    image="a",
    spec_digest="spec-1",
    task_digest="t",
)


@dataclass
class FakeStore:
    """Keeps configs and secrets as Swarm does: names are unique, contents never change."""

    kept: dict[str, SwarmConfig] = field(default_factory=dict)
    kept_secrets: dict[str, SwarmObject] = field(default_factory=dict)
    running: tuple[Service, ...] = (WEB,)
    made: int = 0

    def configs(self, *, stack: str | None = None) -> tuple[SwarmConfig, ...]:
        return tuple(self.kept.values())

    def secrets(self, *, stack: str | None = None) -> tuple[SwarmObject, ...]:
        return tuple(self.kept_secrets.values())

    def services(self, *, stack: str | None = None) -> tuple[Service, ...]:
        return self.running

    def create_config(self, name: str, labels: Mapping[str, str], data: bytes) -> str:
        assert name not in {config.name for config in self.kept.values()}, f"{name} exists"
        self.made += 1
        new = f"c{self.made}"
        self.kept[new] = SwarmConfig(id=new, name=name, labels=labels, created=str(self.made), data=data)
        return new

    def remove_config(self, config_id: str) -> None:
        del self.kept[config_id]

    def remove_secret(self, secret_id: str) -> None:
        del self.kept_secrets[secret_id]

    @property
    def engine(self) -> Engine:
        return cast(Engine, self)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "page").write_text("one")
    (tmp_path / "c.yml").write_text("services: {web: {image: a}}\nconfigs: {page: {file: page}}\n")
    return read_bundle(Stack(name="hello", files=(tmp_path / "c.yml",)), {})


def test_what_was_deployed_is_up_to_date(bundle: Bundle) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    record = read_records(store.configs(), cluster="lab")["hello"]
    assert drift(bundle, record, [WEB]) is None


def test_each_drift_has_its_cause(bundle: Bundle) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    record = read_records(store.configs(), cluster="lab")["hello"]
    assert drift(bundle, None, [WEB]) == "not deployed"
    assert drift(replace(bundle, digest="other"), record, [WEB]) == "content changed"
    assert drift(bundle, record, []) == "service web was removed"
    assert drift(bundle, record, [replace(WEB, spec_digest="x")]) == "service web was changed by hand"
    paused = replace(WEB, update_state="paused")
    assert drift(bundle, record, [paused]) == "the last update of service web failed"


def test_a_record_belongs_to_its_cluster(bundle: Bundle) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    assert read_records(store.configs(), cluster="other") == {}


def test_a_new_record_takes_the_place_of_the_old(bundle: Bundle) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    write_record(store.engine, replace(bundle, digest="f" * 64), [WEB], cluster="lab")
    assert [config.name for config in store.configs()] == ["hello_provision-ffffffffffff"]


def test_the_same_content_with_other_services_is_recorded_anew(bundle: Bundle) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    again = replace(WEB, spec_digest="spec-2")
    write_record(store.engine, bundle, [again], cluster="lab")
    assert drift(bundle, read_records(store.configs(), cluster="lab")["hello"], [again]) is None
    assert len(store.kept) == 1


def test_the_same_record_is_left_alone(bundle: Bundle) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    write_record(store.engine, bundle, [WEB], cluster="lab")
    assert store.made == 1


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"digest": "x", "services": 3}', b"\xff"])
def test_a_record_that_cannot_be_read_counts_as_none(bundle: Bundle, data: bytes) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    (config,) = store.configs()
    assert read_records([replace(config, data=data)], cluster="lab") == {}


def test_only_unused_leftovers_of_our_naming_are_pruned(bundle: Bundle) -> None:
    store = FakeStore()
    write_record(store.engine, bundle, [WEB], cluster="lab")
    (current,) = bundle.objects
    for name in (current, "hello_page-0123456789", "hello_used-0123456789", "hello_own", "other_x-0123456789"):
        store.create_config(name, {}, b"")
    used = next(config.id for config in store.configs() if config.name == "hello_used-0123456789")
    store.running = (replace(WEB, configs=frozenset({used})),)
    store.kept_secrets["x"] = SwarmObject(id="x", name="hello_pass-0123456789", labels={}, created="")
    assert prune_objects(store.engine, bundle) == ("hello_page-0123456789", "hello_pass-0123456789")
    assert {config.name for config in store.configs()} == {
        f"hello_provision-{bundle.digest[:12]}",
        current,
        "hello_used-0123456789",
        "hello_own",
        "other_x-0123456789",
    }
