"""Snapshots of a cluster's domains, on libvirt's own pretended hypervisor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from provision.errors import DriverError
from provision_libvirt import metadata, snapshots
from provision_libvirt.connection import open_connection
from provision_libvirt.metadata import Mark
from provision_libvirt.snapshot_xml import Part, has_agent, parse, render

libvirt = pytest.importorskip("libvirt")

DOMAIN = "<domain type='test'><name>{}</name><memory>1024</memory><os><type>hvm</type></os></domain>"
NAMES = ("lab-manager-1", "lab-worker-1")


class Spied:
    """A domain of libvirt's whose calls are written down, and which fails where it is told to."""

    def __init__(self, domain: Any, calls: list[tuple[str, str]], fails: set[tuple[str, str]]) -> None:
        self._domain, self._calls, self._fails = domain, calls, fails

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._domain, name)
        if name not in ("suspend", "resume", "snapshotCreateXML", "revertToSnapshot", "setTime"):
            return found

        def call(*arguments: Any) -> Any:
            self._calls.append((name, self._domain.name()))
            if (name, self._domain.name()) in self._fails:
                raise libvirt.libvirtError(f"{name} fails")
            return found(*arguments)

        return call


class Hypervisor:
    """A connection that hands out spied domains; all else is the pretended hypervisor's."""

    def __init__(self) -> None:
        self.real = open_connection("test:///default")
        self.calls: list[tuple[str, str]] = []
        self.fails: set[tuple[str, str]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def listAllDomains(self, flags: int) -> list[Spied]:  # noqa: N802 # libvirt's
        return [Spied(domain, self.calls, self.fails) for domain in self.real.listAllDomains(flags)]

    def machine(
        self, name: str, *, cluster: str = "lab", made: bool = True, runs: bool = True, boot: str = "cold"
    ) -> Any:
        domain = self.real.defineXML(DOMAIN.format(name))
        metadata.write(domain, Mark(cluster=cluster, made=made, boot=boot, pool="default-pool"))
        if runs:
            domain.create()
        return domain

    def states(self) -> dict[str, int]:
        return {each.name(): each.state()[0] for each in self.real.listAllDomains(0) if each.name() != "test"}


@pytest.fixture
def hypervisor() -> Iterator[Hypervisor]:
    hypervisor = Hypervisor()
    yield hypervisor
    for domain in hypervisor.real.listAllDomains(0):  # its machines live as long as the process
        if domain.name() != "test":
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
    hypervisor.real.close()


def test_all_stand_still_before_the_first_is_saved_and_go_on_after_the_last(hypervisor: Hypervisor) -> None:
    for name in NAMES:
        hypervisor.machine(name)
    saved = snapshots.save(hypervisor, "lab", "base")
    assert saved.machines == NAMES
    verbs = [verb for verb, _ in hypervisor.calls]
    assert verbs == ["suspend"] * 2 + ["snapshotCreateXML"] * 2 + ["resume"] * 2
    assert snapshots.list_(hypervisor, "lab") == (saved,)


def test_a_restored_machine_runs_or_is_off_as_it_was(hypervisor: Hypervisor) -> None:
    running = hypervisor.machine("lab-manager-1")
    off = hypervisor.machine("lab-worker-1", runs=False)
    snapshots.save(hypervisor, "lab", "base")
    running.destroy()
    off.create()
    snapshots.restore(hypervisor, "lab", "base")
    assert hypervisor.states() == {
        "lab-manager-1": libvirt.VIR_DOMAIN_RUNNING,
        "lab-worker-1": libvirt.VIR_DOMAIN_SHUTOFF,
    }


def test_all_are_back_before_the_first_goes_on(hypervisor: Hypervisor) -> None:
    for name in NAMES:
        hypervisor.machine(name)
    snapshots.save(hypervisor, "lab", "base")
    hypervisor.calls.clear()
    snapshots.restore(hypervisor, "lab", "base")
    assert [verb for verb, _ in hypervisor.calls] == ["revertToSnapshot"] * 2 + ["resume"] * 2


def test_other_clusters_and_other_peoples_snapshots_are_left_alone(hypervisor: Hypervisor) -> None:
    mine = hypervisor.machine("lab-worker-1")
    other = hypervisor.machine("web-worker-1", cluster="web")
    mine.snapshotCreateXML("<domainsnapshot><name>by-hand</name></domainsnapshot>")
    snapshots.save(hypervisor, "lab", "base")
    assert other.snapshotListNames() == []
    assert [each.name for each in snapshots.list_(hypervisor, "lab")] == ["base"]
    assert snapshots.list_(hypervisor, "web") == ()
    snapshots.remove(hypervisor, "lab", "by-hand")
    assert sorted(mine.snapshotListNames()) == ["base", "by-hand"]
    with pytest.raises(DriverError, match="there is a snapshot 'by-hand' of lab-worker-1 already"):
        snapshots.save(hypervisor, "lab", "by-hand")


@pytest.mark.parametrize("verb", ["suspend", "snapshotCreateXML"])
def test_a_save_that_fails_leaves_nothing_and_all_go_on(hypervisor: Hypervisor, verb: str) -> None:
    for name in NAMES:
        hypervisor.machine(name)
    hypervisor.fails.add((verb, "lab-worker-1"))
    with pytest.raises(DriverError, match="lab-worker-1: cannot be"):
        snapshots.save(hypervisor, "lab", "base")
    assert set(hypervisor.states().values()) == {libvirt.VIR_DOMAIN_RUNNING}
    assert snapshots.list_(hypervisor, "lab") == ()


def test_who_is_back_waits_for_one_that_cannot_be_put_back(hypervisor: Hypervisor) -> None:
    for name in NAMES:
        hypervisor.machine(name)
    snapshots.save(hypervisor, "lab", "base")
    hypervisor.fails.add(("revertToSnapshot", "lab-worker-1"))
    with pytest.raises(DriverError, match="not restored; machines that are back wait, paused") as caught:
        snapshots.restore(hypervisor, "lab", "base")
    assert "provision snapshot restore base -c lab" in caught.value.hint
    assert hypervisor.states()["lab-manager-1"] == libvirt.VIR_DOMAIN_PAUSED
    hypervisor.fails.clear()
    snapshots.restore(hypervisor, "lab", "base")
    assert set(hypervisor.states().values()) == {libvirt.VIR_DOMAIN_RUNNING}


def test_a_machine_that_was_added_since_has_no_part(hypervisor: Hypervisor) -> None:
    hypervisor.machine("lab-manager-1")
    snapshots.save(hypervisor, "lab", "base")
    hypervisor.machine("lab-worker-1")
    with pytest.raises(DriverError, match="not of the machines") as caught:
        snapshots.restore(hypervisor, "lab", "base")
    assert "lab-worker-1 has no part of it: it was added since" in caught.value.detail


def test_a_machine_that_is_gone_took_its_part_along(hypervisor: Hypervisor) -> None:
    for name in NAMES:
        hypervisor.machine(name)
    snapshots.save(hypervisor, "lab", "base")
    gone = hypervisor.real.lookupByName("lab-worker-1")
    gone.destroy()
    gone.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
    assert snapshots.list_(hypervisor, "lab")[0].machines == ("lab-manager-1",)
    with pytest.raises(DriverError) as caught:
        snapshots.restore(hypervisor, "lab", "base")
    assert "lab-worker-1 is gone" in caught.value.detail
    assert "provision snapshot rm base -c lab" in caught.value.hint


def test_what_is_made_by_half_or_paused_cannot_be_saved(hypervisor: Hypervisor) -> None:
    with pytest.raises(DriverError, match="has no machine"):
        snapshots.save(hypervisor, "lab", "base")
    hypervisor.machine("lab-worker-1").suspend()
    with pytest.raises(DriverError, match="lab-worker-1 is paused"):
        snapshots.save(hypervisor, "lab", "base")
    hypervisor.machine("lab-worker-2", made=False, runs=False)
    with pytest.raises(DriverError, match="lab-worker-2: made by half"):
        snapshots.save(hypervisor, "lab", "base")


def test_a_template_is_no_machine_of_the_cluster(hypervisor: Hypervisor) -> None:
    hypervisor.machine("lab-worker-1")
    hypervisor.machine("lab-warm-0", made=False, runs=False, boot=metadata.TEMPLATE)
    assert snapshots.save(hypervisor, "lab", "base").machines == ("lab-worker-1",)


def test_what_a_reboot_of_the_hypervisor_left_down_is_started_for_a_restore(hypervisor: Hypervisor) -> None:
    hypervisor.machine("lab-worker-1")
    snapshots.save(hypervisor, "lab", "base")
    pool = hypervisor.real.storagePoolLookupByName("default-pool")
    pool.destroy()
    snapshots.restore(hypervisor, "lab", "base")
    assert pool.isActive()


def test_to_remove_what_is_gone_is_fine(hypervisor: Hypervisor) -> None:
    hypervisor.machine("lab-worker-1")
    snapshots.save(hypervisor, "lab", "base")
    snapshots.remove(hypervisor, "lab", "base")
    snapshots.remove(hypervisor, "lab", "base")
    assert snapshots.list_(hypervisor, "lab") == ()


def test_a_part_is_what_it_was_when_libvirt_tells_it() -> None:
    part = Part(name="base", cluster="lab", machines=NAMES, ran=True, agent=False, created=1700000000)
    told = render(part).replace("</name>", "</name><creationTime>1700000000</creationTime><state>paused</state>")
    assert parse(told) == part


@pytest.mark.parametrize("description", ["", "<description>mine</description>", '<description>{"a": 1}</description>'])
def test_a_snapshot_without_our_mark_is_none_of_ours(description: str) -> None:
    assert parse(f"<domainsnapshot><name>base</name>{description}</domainsnapshot>") is None


@pytest.mark.parametrize(
    ("target", "connected"),
    [
        ("name='org.qemu.guest_agent.0' state='connected'", True),
        ("name='org.qemu.guest_agent.0' state='disconnected'", False),
        ("name='org.qemu.guest_agent.0'", False),
        ("name='other' state='connected'", False),
    ],
)
def test_a_guest_agent_is_there_when_libvirt_says_that_it_is_connected(target: str, connected: bool) -> None:
    xml = f"<domain><devices><channel type='unix'><target type='virtio' {target}/></channel></devices></domain>"
    assert has_agent(xml) is connected
