"""Creating and destroying machines at libvirt's pretended hypervisor, also where that is cut short."""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from provision.driver import MachineSpec, MachineState
from provision.errors import DriverError
from provision_libvirt import LibvirtDriver, networks
from provision_libvirt.creating import create
from provision_libvirt.metadata import TEMPLATE, owned, read, write
from provision_libvirt.removing import destroy

Spec = Callable[..., MachineSpec]
Leftovers = Callable[[], list[str]]

TEST_URI = "test:///default"


class Killed(BaseException):
    """As if the process had got SIGKILL: nothing that it still tries has any effect."""


class Dying:
    """A connection, and all that it returns, of a process that is killed before its nth call."""

    def __init__(self, real: Any, left: list[int]) -> None:
        self._real = real
        self._left = left

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*words: Any) -> Any:
            self._left[0] -= 1
            if self._left[0] < 0:
                raise Killed
            return self._wrapped(found(*words))

        return call

    def _wrapped(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._wrapped(each) for each in value]
        return Dying(value, self._left) if type(value).__module__ == "libvirt" else value


def driver() -> LibvirtDriver:
    return LibvirtDriver({"uri": TEST_URI})


def calls_of(act: Callable[[Any], None], connection: Any) -> int:
    """How many calls of libvirt it takes."""
    left = [10_000]
    act(Dying(connection, left))
    return 10_000 - left[0]


def test_killed_at_any_call_of_create_leaves_what_destroy_removes(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    wanted = spec(options={"disks": [{"size": "1GiB"}]})
    count = calls_of(lambda conn: create(conn, wanted), held)
    destroy(held, "lab", wanted.name)
    assert count > 20
    for number in range(count):
        with pytest.raises(Killed):
            create(Dying(held, [number]), wanted)
        for found in driver().discover("lab"):
            assert found.name == wanted.name
            driver().destroy(found)
        assert not leftovers(), f"killed before call {number} of {count}"


def test_killed_at_any_call_of_create_is_completed_by_the_next(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    wanted = spec()
    count = calls_of(lambda conn: create(conn, wanted), held)
    destroy(held, "lab", wanted.name)
    for number in range(count):
        with pytest.raises(Killed):
            create(Dying(held, [number]), wanted)
        made = driver().create(wanted)
        assert made.state is MachineState.RUNNING, number
        driver().destroy(made)
        assert not leftovers(), f"killed before call {number} of {count}"


def test_killed_at_any_call_of_destroy_leaves_what_the_next_removes(
    held: Any, spec: Spec, leftovers: Leftovers
) -> None:
    wanted = spec()
    create(held, wanted)
    count = calls_of(lambda conn: destroy(conn, "lab", wanted.name), held)
    for number in range(count):
        create(held, wanted)
        with pytest.raises(Killed):
            destroy(Dying(held, [number]), "lab", wanted.name)
        for found in driver().discover("lab"):
            driver().destroy(found)
        assert not leftovers(), f"killed before call {number} of {count}"


def test_another_image_after_a_crash_leaves_nothing_of_the_first(
    held: Any, spec: Spec, leftovers: Leftovers, tmp_path: Path
) -> None:
    wanted = spec()
    count = calls_of(lambda conn: create(conn, wanted), held)
    destroy(held, "lab", wanted.name)
    with pytest.raises(Killed):
        create(Dying(held, [count - 3]), wanted)
    other = tmp_path / "other.raw"
    other.write_bytes(Path(str(wanted.image)).read_bytes() + b"more")
    create(held, spec(image=str(other)))
    assert len([line for line in leftovers() if line.startswith("volume provision-")]) == 1
    destroy(held, "lab", wanted.name)
    assert not leftovers()


def test_failed_create_is_an_error_at_once_not_under_way(
    held: Any, spec: Spec, leftovers: Leftovers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise DriverError("no more disk")

    with monkeypatch.context() as patch:
        patch.setattr("provision_libvirt.creating.make_file", fail)
        with pytest.raises(DriverError, match="no more disk"):
            create(held, spec())
    (found,) = driver().discover("lab")
    assert found.state is MachineState.ERROR
    assert found.details["problem"] == "half made: the last run did not finish it"
    address = found.address
    assert driver().create(spec()).address == address
    driver().destroy(found)
    assert not leftovers()


def test_domain_of_others_is_never_touched(held: Any, spec: Spec) -> None:
    theirs = held.lookupByName("test")
    before = theirs.XMLDesc()
    with pytest.raises(DriverError, match="there is a domain 'test' already, which is not of cluster 'lab'"):
        create(held, spec(name="test"))
    destroy(held, "lab", "test")
    assert theirs.XMLDesc() == before
    assert [finding.summary for finding in driver().check([spec(name="test")]) if finding.fatal] == [
        "there is a domain 'test' already, which is not of cluster 'lab'"
    ]


def test_domain_of_another_cluster_is_never_touched(held: Any, spec: Spec) -> None:
    create(held, spec(cluster="a", name="same"))
    with pytest.raises(DriverError, match="not of cluster 'b'"):
        create(held, spec(cluster="b", name="same"))
    destroy(held, "b", "same")
    assert [each.mark.cluster for each in owned(held)] == ["a"]
    destroy(held, "a", "same")


def test_network_of_others_is_never_touched(held: Any, spec: Spec) -> None:
    theirs = held.networkDefineXML("<network><name>provision-lab</name><ip address='10.9.0.1' prefix='24'/></network>")
    with pytest.raises(DriverError, match="network 'provision-lab' is there, and is not the one of cluster 'lab'"):
        create(held, spec())
    for found in driver().discover("lab"):
        driver().destroy(found)
    assert "10.9.0.1" in theirs.XMLDesc()
    theirs.undefine()


def test_volume_of_others_is_never_touched(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    pool = held.storagePoolLookupByName("default-pool")
    volume = pool.createXML("<volume><name>lab-node-1.qcow2</name><capacity>1000</capacity></volume>")
    with pytest.raises(DriverError, match=r"has lab-node-1\.qcow2 already"):
        create(held, spec(options={"pool": "default-pool"}))
    assert leftovers() == ["volume lab-node-1.qcow2"]
    volume.delete()


def test_pool_of_others_stays(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    create(held, spec(options={"pool": "default-pool"}))
    assert "volume lab-node-1.qcow2" in leftovers()
    assert "pool provision" not in leftovers()
    destroy(held, "lab", "lab-node-1")
    assert not leftovers()


def test_bases_and_pool_stay_while_another_cluster_needs_them(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    create(held, spec(cluster="a"))
    create(held, spec(cluster="b"))
    destroy(held, "a", "a-node-1")
    left = leftovers()
    assert [line for line in left if line.startswith(("network", "pool"))] == ["network provision-b", "pool provision"]
    assert any(line.startswith("volume provision-") for line in left)
    destroy(held, "b", "b-node-1")
    assert not leftovers()


def test_machines_that_are_made_at_once_share_one_network_and_no_address(
    held: Any, spec: Spec, leftovers: Leftovers
) -> None:
    with ThreadPoolExecutor(8) as pool:
        machines = list(pool.map(driver().create, [spec(number) for number in range(1, 9)]))
    assert len({machine.address for machine in machines}) == 8
    network = ET.fromstring(held.networkLookupByName("provision-lab").XMLDesc())
    told = {host.get("ip"): host.findtext("hostname") for host in network.iterfind("dns/host")}
    assert told == {machine.address: machine.name for machine in machines}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(driver().destroy, machines))
    assert not leftovers()


def test_freed_address_goes_to_the_next_with_its_mac(held: Any, spec: Spec) -> None:
    create(held, spec(1))
    create(held, spec(2))
    (first, second) = owned(held, "lab")
    destroy(held, "lab", first.name)
    create(held, spec(3))
    (third,) = (each for each in owned(held, "lab") if each.name == "lab-node-3")
    assert third.mark.nics == first.mark.nics != second.mark.nics
    for each in owned(held, "lab"):
        destroy(held, "lab", each.name)


def test_two_clusters_have_two_networks(held: Any, spec: Spec) -> None:
    create(held, spec(cluster="a"))
    create(held, spec(cluster="b"))
    subnets = [
        networks.network_facts(held.networkLookupByName(name).XMLDesc()).subnet
        for name in ("provision-a", "provision-b")
    ]
    assert subnets[0] != subnets[1]
    for name in ("a", "b"):
        destroy(held, name, f"{name}-node-1")


def test_hypervisor_that_knows_better_gets_another_subnet(
    held: Any, spec: Spec, leftovers: Leftovers, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = networks.ensure_own_network
    refused: list[IPv4Network] = []

    def ensure(conn: Any, cluster: str, subnet: IPv4Network) -> None:
        if len(refused) < 2:
            refused.append(subnet)
            raise networks.SubnetTakenError(subnet, "Network is already in use by interface eth0")
        real(conn, cluster, subnet)

    monkeypatch.setattr("provision_libvirt.creating.ensure_own_network", ensure)
    create(held, spec())
    (found,) = owned(held, "lab")
    assert found.mark.address is not None
    assert not any(found.mark.address.startswith(str(subnet).rpartition(".")[0]) for subnet in refused)
    destroy(held, "lab", found.name)
    assert not leftovers()


def test_private_key_is_in_no_definition(held: Any, spec: Spec) -> None:
    machine = driver().create(spec())
    assert "secretsecret" not in held.lookupByName(machine.name).XMLDesc()
    assert "secretsecret" not in repr(machine)
    driver().destroy(machine)


def test_named_network_gives_addresses_that_nobody_has_and_reserves_them(
    held: Any, spec: Spec, leftovers: Leftovers
) -> None:
    options = {"network": {"name": "default"}}
    machine = driver().create(spec(options=options))
    facts = networks.network_facts(held.networkLookupByName("default").XMLDesc())
    assert machine.address == "192.168.122.2"
    assert [str(address) for address in facts.reserved.values()] == ["192.168.122.2"]
    assert list(facts.hosts.values()) == [(machine.name,)]
    driver().destroy(machine)
    assert not leftovers()
    facts = networks.network_facts(held.networkLookupByName("default").XMLDesc())
    assert (dict(facts.reserved), dict(facts.hosts)) == ({}, {})


def test_bridge_gives_the_addresses_of_its_range(held: Any, spec: Spec) -> None:
    options = {
        "network": {"bridge": "br0", "addresses": "192.0.2.50-192.0.2.51/24", "gateway": "192.0.2.50"},
        "networks": [{"name": "default"}],
    }
    machine = driver().create(spec(1, options=options))
    assert machine.address == "192.0.2.51"
    with pytest.raises(DriverError, match="bridge 'br0' has no free address"):
        driver().create(spec(2, options=options))
    devices = ET.fromstring(held.lookupByName(machine.name).XMLDesc()).findall("devices/interface")
    assert [device.get("type") for device in devices] == ["bridge", "network"]
    for found in driver().discover("lab"):
        driver().destroy(found)


def test_other_uri_of_a_group_is_refused(held: Any, spec: Spec) -> None:
    wanted = spec(options={"uri": "qemu:///system"})
    assert [finding.summary for finding in driver().check([wanted]) if finding.fatal] == [
        "group 'node' has another `uri` than the cluster, which has one hypervisor"
    ]
    with pytest.raises(DriverError, match="its cluster is at test:///default"):
        driver().create(wanted)


def test_what_is_wrong_is_found_before_anything_is_made(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    specs = [
        spec(1, group="a", disk=1000),
        spec(2, group="b", image="/nowhere/x.qcow2"),
        spec(3, group="c", options={"network": {"name": "nowhere"}}),
        spec(4, group="d", options={"pool": "nowhere"}),
        spec(5, group="e", options={"direct_boot": True}),
        spec(6, group="f", memory=64 * 1024**2),
        spec(7, group="g", options={"no_such": 1}),
        spec(8, group="h", user_data="#cloud-config\nhostname: mine\n"),
    ]
    fatal = "\n".join(finding.summary for finding in driver().check(specs) if finding.fatal)
    for words in (
        "too small for image",
        "there is no disk image",
        "there is no network 'nowhere'",
        "there is no storage pool 'nowhere'",
        "no kernel beside it",
        "64 MiB of memory",
        "no_such",
        "hostname",
    ):
        assert words in fatal
    assert not leftovers()


def test_plan_says_how_machines_boot(held: Any, spec: Spec) -> None:
    said = [finding.summary for finding in driver().check([spec(1), spec(2), spec(3, options={"boot": "warm"})])]
    assert f"2 machines boot cold from image {spec().image}" in said
    assert f"lab-node-3 is cloned from a booted machine of image {spec().image}" in said


def test_half_made_machine_cannot_be_switched(held: Any, spec: Spec) -> None:
    wanted = spec()
    with pytest.raises(Killed):
        create(Dying(held, [30]), wanted)
    (found,) = driver().discover("lab")
    for act in (driver().start, driver().stop, driver().kill):
        with pytest.raises(DriverError, match="only half made"):
            act(found)
    driver().destroy(found)


def test_template_of_a_killed_run_goes_with_the_last_machine(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    for number in (1, 2, 3):
        create(held, spec(number))
    template = held.lookupByName("lab-node-3")
    mark = read(template)
    assert mark is not None
    write(template, replace(mark, boot=TEMPLATE, made=False, nics=(), bases=(*mark.bases, "provision-more.qcow2")))
    assert [machine.name for machine in driver().discover("lab")] == ["lab-node-1", "lab-node-2"]
    destroy(held, "lab", "lab-node-1")
    assert "domain lab-node-3" in leftovers()
    destroy(held, "lab", "lab-node-2")
    assert not leftovers()


def test_template_that_is_all_there_is_can_be_removed(held: Any, spec: Spec, leftovers: Leftovers) -> None:
    create(held, spec())
    template = held.lookupByName("lab-node-1")
    mark = read(template)
    assert mark is not None
    write(template, replace(mark, boot=TEMPLATE, made=False))
    (found,) = driver().discover("lab")
    assert found.state is MachineState.ERROR
    driver().destroy(found)
    assert not leftovers()


def test_connection_is_shared_by_threads(held: Any) -> None:
    one = driver()
    seen = set()
    barrier = threading.Barrier(4)

    def ask(_: int) -> None:
        barrier.wait()
        seen.add(id(one._connection()))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    assert len(seen) == 1
