"""Which machine has which number, and that it keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.driver import HostEntry, Role
from provision.inventory.cluster import Cluster, Group, SshSettings
from provision.inventory.specs import machine_specs


def cluster(*groups: Group, **more) -> Cluster:
    return Cluster(name="lab", source=Path("/i.yml"), groups=groups, **more)


def counted(count: int) -> Cluster:
    return cluster(Group(name="w", role=Role.WORKER, driver="fake", count=count))


def listed(*hosts: str | HostEntry) -> Cluster:
    entries = tuple(HostEntry(address=h) if isinstance(h, str) else h for h in hosts)
    return cluster(Group(name="w", role=Role.WORKER, driver="ssh", count=len(hosts), hosts=entries))


def exist(*numbers: int):
    return [(f"lab-w-{n}", "w", n, f"10.0.0.{n}") for n in numbers]


@pytest.mark.parametrize(
    ("count", "there", "numbers"),
    [
        (3, (), (1, 2, 3)),
        (3, (2,), (1, 2, 3)),
        (3, (2, 5), (1, 2, 5)),
        (2, (5, 1, 3), (1, 3)),
        (0, (1,), ()),
        (2, (7, 8), (7, 8)),
    ],
)
def test_numbers_stay_and_new_ones_take_the_smallest(count, there, numbers):
    specs = machine_specs(counted(count), exist(*there))
    assert tuple(spec.number for spec in specs) == numbers
    assert tuple(spec.name for spec in specs) == tuple(f"lab-w-{n}" for n in numbers)


def test_another_groups_machines_do_not_count():
    assert [s.number for s in machine_specs(counted(1), [("lab-m-1", "m", 1, None)])] == [1]


def names(inventory: Cluster, existing) -> dict[str, str]:
    return {spec.host.address: spec.name for spec in machine_specs(inventory, existing)}


def test_removing_the_first_host_renames_no_other():
    there = [("lab-w-1", "w", 1, "a"), ("lab-w-2", "w", 2, "b"), ("lab-w-3", "w", 3, "c")]
    assert names(listed("b", "c"), there) == {"b": "lab-w-2", "c": "lab-w-3"}


def test_a_new_host_never_gets_the_number_of_one_that_is_about_to_go():
    there = [("lab-w-1", "w", 1, "a"), ("lab-w-2", "w", 2, "b")]
    assert names(listed("new", "b"), there) == {"new": "lab-w-3", "b": "lab-w-2"}


def test_hosts_are_matched_by_any_spelling_of_their_address():
    there = [("lab-w-1", "w", 1, "2001:db8::1"), ("lab-w-2", "w", 2, "Host.example")]
    assert names(listed("host.example", "2001:DB8:0::1"), there) == {
        "host.example": "lab-w-2",
        "2001:DB8:0::1": "lab-w-1",
    }


def test_a_name_goes_before_an_address_and_is_the_machines():
    there = [("box", "w", 1, "a"), ("lab-w-2", "w", 2, "b")]
    specs = machine_specs(listed("a", HostEntry(address="moved", name="box"), "b"), there)
    assert [(s.number, s.name, s.host.address) for s in specs] == [
        (1, "box", "moved"),
        (2, "lab-w-2", "b"),
        (3, "lab-w-3", "a"),
    ]


def test_a_crash_before_the_address_was_known_wastes_no_number():
    assert names(listed("a", "b"), [("lab-w-1", "w", 1, None)]) == {"a": "lab-w-1", "b": "lab-w-2"}


def test_a_spec_takes_user_and_port_from_its_host_then_from_ssh():
    inventory = listed(HostEntry(address="a", user="me"), HostEntry(address="b", port=2222))
    inventory = cluster(*inventory.groups, ssh=SshSettings(user="ops", port=22022))
    specs = machine_specs(inventory)
    assert [(s.user, s.port) for s in specs] == [("me", 22022), ("ops", 2222)]
    assert [(s.user, s.port) for s in machine_specs(counted(1))] == [("root", 22)]
