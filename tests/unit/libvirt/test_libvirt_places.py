"""Subnets, addresses, names, locks, and who works on what."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.driver import MachineState
from provision.errors import DeadlineError, DriverError
from provision_libvirt.addresses import Segment, choose_address, hosts_of, is_served, parse_range
from provision_libvirt.describe import judge
from provision_libvirt.locks import locked
from provision_libvirt.makers import is_at_work, this_process
from provision_libvirt.metadata import Mark
from provision_libvirt.names import bridge_name, domain_uuid, mac_address
from provision_libvirt.subnets import choose_subnet, networks_of

NET = IPv4Network("10.200.1.0/24")


def test_subnet_is_the_same_each_time_and_overlaps_nothing() -> None:
    first = choose_subnet("lab", taken=())
    assert choose_subnet("lab", taken=()) == first
    assert first.prefixlen == 24
    other = choose_subnet("lab", taken=[first])
    assert not other.overlaps(first)
    far = choose_subnet("lab", taken=[IPv4Network("10.0.0.0/8")])
    assert not far.overlaps(IPv4Network("10.0.0.0/8"))


def test_subnet_that_is_asked_for_must_be_free() -> None:
    assert choose_subnet("lab", taken=(), asked="10.9.0.0/24") == IPv4Network("10.9.0.0/24")
    with pytest.raises(DriverError, match=r"10\.9\.0\.0/24 of cluster 'lab' overlaps 10\.9\.0\.0/16"):
        choose_subnet("lab", taken=[IPv4Network("10.9.0.0/16")], asked="10.9.0.0/24")


def test_no_subnet_left_is_said() -> None:
    everything = [IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    with pytest.raises(DriverError, match="no private network is free"):
        choose_subnet("lab", taken=everything)


def test_routes_are_networks_but_for_the_default() -> None:
    routes = [
        {"dst": "default", "gateway": "10.0.0.1"},
        {"dst": "10.1.0.0/16", "dev": "eth0"},
        {"dst": "10.2.0.5"},
        {"type": "broadcast", "dst": "10.1.255.255"},
    ]
    assert list(networks_of(routes)) == [IPv4Network("10.1.0.0/16"), IPv4Network("10.2.0.5/32")]


def test_addresses_go_from_low_to_high_and_keep_what_they_had() -> None:
    segment = Segment(network="n", range=hosts_of(NET), taken=frozenset({NET[10], NET[11]}))
    assert choose_address(segment) == NET[12]
    assert choose_address(segment, keep=NET[77]) == NET[77]
    assert choose_address(segment, keep=NET[10]) == NET[12]
    assert choose_address(segment, keep=IPv4Address("10.9.9.9")) == NET[12]


def test_small_subnet_has_addresses_too_and_then_none() -> None:
    small = hosts_of(IPv4Network("10.0.0.0/28"))
    assert (str(small.first), str(small.last)) == ("10.0.0.4", "10.0.0.14")
    full = Segment(network="n", range=small, taken=frozenset(small))
    with pytest.raises(DriverError, match="network 'n' has no free address"):
        choose_address(full)


def test_addresses_that_dhcp_does_not_give_away_come_first() -> None:
    whole = parse_range("10.200.1.2-10.200.1.254/24")
    segment = Segment(network="n", range=whole, dhcp=(parse_range("10.200.1.2-10.200.1.200/24"),))
    assert choose_address(segment) == NET[201]
    assert not is_served(segment, NET[201])
    served = Segment(network="n", range=whole, dhcp=(whole,))
    assert choose_address(served) == NET[2]
    assert is_served(served, NET[2])


def test_names_fit_and_differ() -> None:
    assert len(bridge_name("a" * 31)) <= 15
    assert bridge_name("a") != bridge_name("b")
    assert domain_uuid("a", "b") == domain_uuid("a", "b") != domain_uuid("b", "a")
    mac = mac_address("net", "10.0.0.1")
    assert mac.startswith("52:54:00:")
    assert len(mac) == 17
    assert mac != mac_address("net", "10.0.0.2")


def test_lock_lets_one_in_and_leaves_no_file(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with locked("x", seconds=60, folder=tmp_path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert set(most) == {1}
    assert not list(tmp_path.iterdir())


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from provision_libvirt.locks import locked\n"
        "with locked('x', seconds=9, folder=Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        with (
            pytest.raises(DeadlineError, match="waiting for x took") as caught,
            locked("x", seconds=0.1, folder=tmp_path),
        ):
            pass
        assert f"process {process.pid} is at work on it" in caught.value.detail
        process.kill()
    with locked("x", seconds=5, folder=tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_lock_of_one_thing_does_not_keep_others_waiting(tmp_path: Path) -> None:
    with locked("a", seconds=1, folder=tmp_path), locked("b", seconds=1, folder=tmp_path):
        assert len(list(tmp_path.iterdir())) == 2


def test_process_is_at_work_while_it_lives() -> None:
    assert is_at_work(this_process())
    host, pid, start = this_process().split("/")
    assert not is_at_work(f"{host}/{pid}/{int(start) + 1}")
    assert not is_at_work(f"elsewhere/{pid}/{start}")
    assert not is_at_work("")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        began = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        assert is_at_work(f"{host}/{process.pid}/{began}")
        process.kill()
        process.wait()
        assert not is_at_work(f"{host}/{process.pid}/{began}")


@pytest.mark.parametrize(
    ("mark", "state", "problem"),
    [
        (Mark(cluster="a", made=True), MachineState.RUNNING, ""),
        (Mark(cluster="a"), MachineState.ERROR, "half made: the last run did not finish it"),
        (Mark(cluster="a", leaving=True), MachineState.ERROR, "half removed: the last run did not finish it"),
        (
            Mark(cluster="a", maker="elsewhere/7/9"),
            MachineState.ERROR,
            "half made, by process 7 of elsewhere: the last run did not finish it",
        ),
        (Mark(cluster="a", maker=this_process()), MachineState.STARTING, ""),
        (Mark(cluster="a", maker=this_process(), leaving=True), MachineState.STOPPING, ""),
    ],
)
def test_half_made_machine_says_so(mark: Mark, state: MachineState, problem: str) -> None:
    assert judge(mark, MachineState.RUNNING) == (state, problem)


def test_waiting_for_a_lock_takes_no_longer_than_it_is_held(tmp_path: Path) -> None:
    began = time.monotonic()
    with locked("x", seconds=5, folder=tmp_path):
        assert os.listdir(tmp_path)  # noqa: PTH208
    with locked("x", seconds=5, folder=tmp_path):
        pass
    assert time.monotonic() - began < 2
