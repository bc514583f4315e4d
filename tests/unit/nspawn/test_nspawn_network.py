"""Networks, addresses, names: what is decided before anything is made."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.errors import DriverError
from provision_nspawn.layout import Layout, mac_address
from provision_nspawn.names import hosts_text, resolv_conf, write_in_place
from provision_nspawn.nat import accept_rules, nat_table
from provision_nspawn.network import networks_of
from provision_nspawn.records import ClusterRecord, MachineRecord
from provision_nspawn.subnets import choose_address, choose_subnet


def test_subnet_is_the_same_each_time_and_differs_between_clusters() -> None:
    names = [f"lab{number}" for number in range(50)]
    subnets = [choose_subnet(name, taken=()) for name in names]
    assert subnets == [choose_subnet(name, taken=()) for name in names]
    assert len(set(subnets)) > 45
    assert all(subnet.is_private and subnet.prefixlen == 24 for subnet in subnets)


def test_subnet_in_use_is_passed_over() -> None:
    first = choose_subnet("lab", taken=())
    second = choose_subnet("lab", taken=[first])
    assert not second.overlaps(first)


def test_subnet_leaves_ten_alone_where_all_of_it_is_routed() -> None:
    subnet = choose_subnet("lab", taken=[IPv4Network("10.0.0.0/8")])
    assert subnet.subnet_of(IPv4Network("172.16.0.0/12"))


def test_subnet_that_was_asked_for_and_overlaps_is_refused() -> None:
    with pytest.raises(DriverError, match=r"10\.0\.4\.0/24 of cluster 'lab' overlaps 10\.0\.0\.0/16") as caught:
        choose_subnet("lab", taken=[IPv4Network("10.0.0.0/16")], asked="10.0.4.0/24")
    assert "subnet:" in caught.value.hint


def test_no_free_subnet_is_an_error_that_names_what_is_in_use() -> None:
    with pytest.raises(DriverError, match="no private network is free"):
        choose_subnet("lab", taken=[IPv4Network("0.0.0.0/0")])


def test_address_is_the_lowest_free_one_and_never_the_bridges() -> None:
    network = IPv4Network("10.9.8.0/24")
    assert choose_address(network, taken=()) == IPv4Address("10.9.8.10")
    assert choose_address(network, taken=[IPv4Address("10.9.8.10")]) == IPv4Address("10.9.8.11")


def test_small_subnet_holds_what_it_can_and_then_says_so() -> None:
    network = IPv4Network("10.9.8.0/28")
    taken: list[IPv4Address] = []
    with pytest.raises(DriverError, match=r"10\.9\.8\.0/28 is full with 11 machines"):
        while True:
            taken.append(choose_address(network, taken=taken))
    assert IPv4Address("10.9.8.1") not in taken
    assert IPv4Address("10.9.8.15") not in taken


def testnetworks_of_in_use_are_those_of_routes_and_addresses() -> None:
    routes = [
        {"dst": "default", "gateway": "192.0.2.1"},
        {"dst": "192.0.2.0/24"},
        {"dst": "198.51.100.7"},
        {"type": "broadcast", "dst": "192.0.2.255"},
    ]
    links = [{"addr_info": [{"family": "inet", "local": "10.1.2.3", "prefixlen": 20}]}, {}]
    assert list(map(str, networks_of(routes, links))) == ["192.0.2.0/24", "198.51.100.7/32", "10.1.0.0/20"]


def test_kernel_names_fit_and_differ_for_each_data_folder_cluster_and_machine() -> None:
    long = "a" * 31
    names = [
        Layout(Path(folder)).kernel_names(cluster, f"{cluster}-{long}-1000")
        for folder in ("/one", "/two")
        for cluster in ("lab", long)
    ]
    assert all(len(name.bridge) <= 15 and len(name.veth) <= 15 for name in names)
    for kind in ("bridge", "veth", "unit", "table"):
        assert len({getattr(name, kind) for name in names}) == len(names)


def test_mac_is_a_unicast_local_one_that_stays_with_the_address() -> None:
    mac = mac_address("pvb-1", IPv4Address("10.9.8.10"))
    assert int(mac.split(":")[0], 16) & 0b11 == 0b10
    assert mac == mac_address("pvb-1", IPv4Address("10.9.8.10"))
    assert mac != mac_address("pvb-1", IPv4Address("10.9.8.11"))


def test_nat_table_masquerades_only_what_leaves_the_bridge() -> None:
    names = Layout(Path("/data")).kernel_names("lab")
    text = nat_table(names, ClusterRecord(cluster="lab", subnet="10.9.8.0/24"))
    assert f'ip saddr 10.9.8.0/24 oifname != "{names.bridge}" masquerade' in text
    assert text.index(f"delete table ip {names.table}") < text.index("chain postrouting")


def test_iptables_is_told_only_where_it_drops() -> None:
    names = Layout(Path("/data")).kernel_names("lab")
    assert accept_rules(names, ()) == ()
    assert accept_rules(names, ("-P INPUT ACCEPT", "-P FORWARD ACCEPT")) == ()
    for chain, rules in (
        ("FORWARD", ("-P FORWARD DROP",)),
        ("DOCKER-USER", ("-P FORWARD DROP", "-N DOCKER-USER")),
    ):
        told = accept_rules(names, rules)
        assert [argv[1:4] for argv in told] == [(chain, "-i", names.bridge), (chain, "-o", names.bridge)]
        assert "RELATED,ESTABLISHED" in told[1]


def test_hosts_file_names_every_machine_and_keeps_its_inode(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    write_in_place(path, hosts_text([_machine("lab-b-1", "10.9.8.11"), _machine("lab-a-1", "10.9.8.10")]))
    inode = path.stat().st_ino
    write_in_place(path, hosts_text([_machine("lab-a-1", "10.9.8.10")]))
    assert path.stat().st_ino == inode
    assert path.read_text().splitlines()[2:] == ["10.9.8.10 lab-a-1"]


def test_resolver_is_empty_where_there_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    assert resolv_conf(way_out=False, etc=tmp_path, run=tmp_path) == ""
    assert resolv_conf(way_out=True, etc=tmp_path, run=tmp_path) == "nameserver 192.0.2.53\n"


def test_resolver_looks_behind_a_stub_on_the_loopback(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\noptions edns0\nsearch example\n")
    behind = tmp_path / "systemd/resolve"
    behind.mkdir(parents=True)
    (behind / "resolv.conf").write_text("# managed\nnameserver 192.0.2.9\nnameserver fe80::1%eth0\nsearch example\n")
    assert resolv_conf(way_out=True, etc=tmp_path, run=tmp_path) == "nameserver 192.0.2.9\nsearch example\n"


def _machine(name: str, address: str) -> MachineRecord:
    common = {"cluster": "lab", "group": "a", "role": "worker", "mac": "", "user": "root", "image": "", "digest": ""}
    return MachineRecord(name=name, address=address, number=1, port=22, **common)  # type: ignore[arg-type]
