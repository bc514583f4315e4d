"""Growing beside a second cluster that comes up at the same time: nobody is in another's way, what goes is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab_support import eventually, fetch
from vm_support import VmLab, vm_inventory

OLD = ["vm-manager-1", "vm-worker-1", "vm-worker-2"]


@dataclass(frozen=True)
class Before:
    """How things were before `add-worker` for `vm` and `up` of `pair`, which ran at the same time."""

    text: str
    there: set[str]
    engines: dict[str, str]
    pair: Path


@pytest.fixture(scope="module")
def grown(lab: VmLab, shared: Path) -> Iterator[Before]:
    """The shared cluster has a third worker, and there is a cluster `pair` of one manager."""
    before = Before(
        text=shared.read_text(),
        there=set(lab.libvirtd.leftovers()),
        engines={name: guest.engine_started() for name, guest in lab.guests("vm").items()},
        pair=lab.write("pair.yml", vm_inventory("pair", workers=0)),
    )
    try:
        with lab.start("up", before.pair) as second:
            lab.run("add-worker", shared, seconds=900).ok()
            ended = second.end(900)
            assert ended.status == 0, ended
        yield before
    finally:
        lab.remove("pair")


def test_new_worker_joins_and_the_others_stay_as_they_are(lab: VmLab, shared: Path, grown: Before) -> None:
    nodes = lab.nodes("vm-manager-1")
    assert sorted(nodes) == [*OLD, "vm-worker-3"]
    assert nodes["vm-worker-3"].ready
    assert nodes["vm-worker-3"].labels["tier"] == "web"
    assert {name: lab.guest(name).engine_started() for name in OLD} == grown.engines
    assert shared.read_text() == grown.text.replace("count: 2", "count: 3")


def test_new_worker_answers_through_the_mesh_and_is_known_by_name(lab: VmLab, shared: Path, grown: Before) -> None:
    address = lab.guest("vm-worker-3").address
    assert fetch(address, seconds=60).startswith("hello from vm-worker-")
    assert lab.guest("vm-worker-1").sh("getent hosts vm-worker-3").split()[0] == address


def test_clusters_have_networks_and_swarms_of_their_own(lab: VmLab, shared: Path, grown: Before) -> None:
    addresses = {name: [guest.address for guest in lab.guests(name).values()] for name in ("vm", "pair")}
    networks = {name: {address.rpartition(".")[0] for address in found} for name, found in addresses.items()}
    assert len(networks["vm"]) == len(networks["pair"]) == 1
    assert networks["vm"] != networks["pair"]
    assert sorted(lab.nodes("pair-manager-1")) == ["pair-manager-1"]
    assert lab.guest("pair-manager-1").run("getent hosts vm-manager-1").status != 0
    for name in ("pair-manager-1", "vm-worker-1"):
        assert lab.run("ssh", name, "hostname").ok().stdout.strip() == name


def test_what_goes_leaves_nothing_and_the_rest_is_as_before(lab: VmLab, shared: Path, grown: Before) -> None:
    lab.run("down", grown.pair, "--yes").ok()
    lab.run("rm", "vm-worker-3", "--yes").ok()

    assert set(lab.libvirtd.leftovers()) == grown.there
    assert sorted(lab.nodes("vm-manager-1")) == OLD
    assert {name: lab.guest(name).engine_started() for name in OLD} == grown.engines
    assert shared.read_text() == grown.text
    assert lab.guest("vm-worker-1").run("getent hosts vm-worker-3").status != 0
    eventually(lambda: lab.run("up", shared).ok().stdout == "vm: nothing to do\n")
