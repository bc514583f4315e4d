"""What libvirt is told: domains, networks, volumes; and the mark that says whose a domain is."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from provision_libvirt.addresses import Range
from provision_libvirt.domain_xml import DiskSettings, DomainSettings, Platform, domain_element, domain_xml
from provision_libvirt.metadata import Mark, NicMark, from_xml, read, to_element, write
from provision_libvirt.network_xml import network_facts, own_network_xml
from provision_libvirt.volume_xml import pool_facts, pool_xml, volume_xml

MARK = Mark(
    cluster="lab",
    group="node",
    number=3,
    role="worker",
    user="alice",
    port=2222,
    host_key="ssh-ed25519 AAAA",
    image="debian-12",
    boot="warm",
    first_boot="cloud-init",
    pool="provision",
    volumes=("a.qcow2", "a-seed.iso"),
    bases=("provision-1.qcow2",),
    nics=(
        NicMark(mac="52:54:00:00:00:01", network="provision-lab", address="10.1.0.10/24"),
        NicMark(mac="52:54:00:00:00:02", bridge="br0"),
        NicMark(mac="52:54:00:00:00:03", network="default", address="10.2.0.10/24", reserved=True),
    ),
    made=True,
    maker="host/1/2",
)

SETTINGS = DomainSettings(
    name="lab-node-3",
    uuid="5f0c2f9b-3f0c-5b43-9f37-6f0f5a3f7c11",
    mark=MARK,
    platform=Platform(kind="qemu", arch="x86_64"),
    cpus=2,
    memory=2**30,
    disks=(
        DiskSettings(path="/pool/a.qcow2", form="qcow2", backing="/pool/base.qcow2", backing_form="qcow2"),
        DiskSettings(path="/pool/a-disk1.raw", form="raw", serial="disk1"),
        DiskSettings(path="/pool/a-seed.iso", form="raw", read_only=True, serial="seed"),
    ),
    nics=MARK.nics,
    console="/pool/a-console.log",
)


def element(**changes: Any) -> ET.Element:
    return ET.fromstring(domain_xml(replace(SETTINGS, **changes)))


def attributes(root: ET.Element, path: str) -> dict[str, str]:
    found = root.find(path)
    assert found is not None, path
    return dict(found.attrib)


def test_mark_survives_the_way_to_libvirt_and_back() -> None:
    assert from_xml(ET.tostring(to_element(MARK), encoding="unicode")) == MARK
    assert from_xml("<machine cluster='lab' number='x' port=''/>") == Mark(cluster="lab")


def test_mark_is_written_to_what_runs_and_what_is_kept(held: Any) -> None:
    domain = held.lookupByName("test")
    assert read(domain) is None
    write(domain, MARK)
    assert read(domain) == MARK
    write(domain, replace(MARK, made=False))
    assert read(domain) == replace(MARK, made=False)


def test_mark_is_read_from_a_definition(held: Any) -> None:
    domain = held.defineXML(domain_xml(replace(SETTINGS, platform=Platform(kind="test", arch="i686"))))
    assert read(domain) == MARK


def test_transient_domain_is_none_of_ours(held: Any) -> None:
    domain = held.createXML("<domain type='test'><name>x</name><memory>1024</memory><os><type>hvm</type></os></domain>")
    assert read(domain) is None
    domain.destroy()


@pytest.mark.parametrize(("kind", "mode"), [("kvm", "host-passthrough"), ("qemu", "maximum")])
def test_processor_is_all_that_the_hypervisor_has(kind: str, mode: str) -> None:
    root = element(platform=Platform(kind=kind, arch="x86_64"))
    assert root.get("type") == kind
    assert attributes(root, "cpu") == {"mode": mode}
    assert attributes(root, "os/type") == {"arch": "x86_64", "machine": "q35"}


@pytest.mark.parametrize(("cpus", "whole", "quota"), [(2, "2", None), (0.5, "1", "50000"), (2.5, "3", "83333")])
def test_fraction_of_a_processor_is_a_quota(cpus: float, whole: str, quota: str | None) -> None:
    root = element(cpus=cpus)
    assert (root.findtext("vcpu"), root.findtext("cputune/quota")) == (whole, quota)


def test_disks_wait_for_the_hardware_unless_they_are_ephemeral() -> None:
    lasting, quick = (attributes(element(ephemeral=flag), "devices/disk/driver") for flag in (False, True))
    assert (lasting["cache"], lasting["io"]) == ("none", "native")
    assert quick["cache"] == "unsafe"
    assert "io" not in quick


def test_formats_below_a_disk_are_said_and_none_is_guessed() -> None:
    root = element()
    for disk in root.iterfind("devices/disk"):
        below = disk.find("backingStore")
        while below is not None and len(below):
            assert below.find("format") is not None
            below = below.find("backingStore")
        assert below is not None


def test_second_disk_of_the_guest_is_the_users() -> None:
    targets = {
        disk.findtext("serial"): attributes(disk, "target")["dev"] for disk in element().iterfind("devices/disk")
    }
    assert targets == {None: "vda", "disk1": "vdb", "seed": "vdc"}


def test_seed_is_read_only() -> None:
    assert [disk.find("readonly") is not None for disk in element().iterfind("devices/disk")] == [False, False, True]


def test_direct_boot_names_kernel_and_options() -> None:
    root = element(kernel="/pool/k", initrd="/pool/i", cmdline="root=/dev/vda1")
    assert [root.findtext(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline")] == [
        "/pool/k",
        "/pool/i",
        "root=/dev/vda1",
    ]
    assert element().find("os/kernel") is None


def test_firmware_and_hugepages() -> None:
    assert attributes(element(firmware="efi"), "os") == {"firmware": "efi"}
    assert element(hugepages=True).find("memoryBacking/hugepages") is not None


def test_network_cards_are_in_networks_and_bridges() -> None:
    cards = element().findall("devices/interface")
    assert [card.get("type") for card in cards] == ["network", "bridge", "network"]
    assert attributes(cards[0], "source") == {"network": "provision-lab"}
    assert attributes(cards[1], "source") == {"bridge": "br0"}


def test_there_is_room_to_plug_in_more() -> None:
    root = domain_element(SETTINGS)
    ports = [each for each in root.iterfind("devices/controller") if each.get("model") == "pcie-root-port"]
    assert len(ports) == 3 + 3 + 3 + 10


def test_own_network_names_its_cluster_and_asks_others_for_no_plain_name() -> None:
    root = ET.fromstring(own_network_xml("lab", IPv4Network("10.200.1.0/24")))
    assert attributes(root, "forward") == {"mode": "nat"}
    assert attributes(root, "dns") == {"forwardPlainNames": "no"}
    assert attributes(root, "ip") == {"address": "10.200.1.1", "prefix": "24"}
    bridge = attributes(root, "bridge")
    assert (bridge["stp"], bridge["delay"]) == ("off", "0")
    assert len(bridge["name"]) <= 15
    facts = network_facts(own_network_xml("lab", IPv4Network("10.200.1.0/24")))
    assert (facts.cluster, facts.address, facts.dns) == ("lab", IPv4Interface("10.200.1.1/24"), True)


def test_network_of_others_is_understood() -> None:
    facts = network_facts(
        """<network><name>default</name><bridge name='virbr0'/>
        <dns><host ip='192.168.122.5'><hostname>a</hostname><hostname>b</hostname></host><host ip='fe80::1'/></dns>
        <ip family='ipv6' address='fd00::1' prefix='64'/>
        <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'/>
        <host mac='52:54:00:00:00:01' ip='192.168.122.7'/><host name='x'/></dhcp></ip></network>"""
    )
    assert facts.cluster == ""
    assert facts.subnet == IPv4Network("192.168.122.0/24")
    assert facts.dhcp == (Range(IPv4Address("192.168.122.2"), IPv4Address("192.168.122.254"), 24),)
    assert dict(facts.hosts) == {IPv4Address("192.168.122.5"): ("a", "b")}
    assert dict(facts.reserved) == {"52:54:00:00:00:01": IPv4Address("192.168.122.7")}


def test_network_without_addresses_of_libvirts() -> None:
    facts = network_facts("<network><name>lan</name><forward mode='bridge'/><bridge name='br0'/></network>")
    assert (facts.address, facts.subnet, facts.dns) == (None, None, False)
    dark = network_facts("<network><name>n</name><dns enable='no'/><ip address='10.0.0.1' prefix='24'/></network>")
    assert not dark.dns


def test_pool_and_volumes() -> None:
    facts = pool_facts(pool_xml("provision", "/srv/provision/"))
    assert (facts.name, facts.kind, facts.folder) == ("provision", "dir", "/srv/provision")
    layer = ET.fromstring(volume_xml("a.qcow2", size=2**30, form="qcow2", backing="/b.qcow2", backing_form="qcow2"))
    assert layer.findtext("capacity") == str(2**30)
    assert layer.findtext("backingStore/path") == "/b.qcow2"
    assert attributes(layer, "backingStore/format") == {"type": "qcow2"}
    assert layer.findtext("target/permissions/mode") == "0600"
