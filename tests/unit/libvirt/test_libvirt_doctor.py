"""What the doctor finds on a machine that lacks something. The machine is a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.driver import Finding
from provision_libvirt import doctor, doctor_hypervisor
from provision_libvirt.capabilities import Capabilities
from provision_libvirt.connection import open_connection
from provision_libvirt.doctor import findings
from provision_libvirt.folders import Account
from provision_libvirt.uri import parse
from provision_libvirt.workplace import Workplace

libvirt = pytest.importorskip("libvirt")

NOBODY = Account("alice", 54321, frozenset({54321}))
QEMU = Account("libvirt-qemu", 64055, frozenset({64055}))
PROGRAMS = ("libvirtd", "qemu-system-x86_64", "qemu-img", "dnsmasq", "iptables")


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """A machine on which all is well, until a test takes something away."""
    root = tmp_path / "root"
    for path in ("run/libvirt/libvirt-sock", "run/systemd/system/x", "dev/kvm", "var/lib/libvirt/provision/x"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
        (root / path).chmod(0o666)
    (tmp_path / "bin").mkdir()
    for name in PROGRAMS:
        (tmp_path / "bin" / name).touch()
        (tmp_path / "bin" / name).chmod(0o755)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return Workplace(root=root, search_path=str(tmp_path / "bin"), me=NOBODY, qemu=None, arch="x86_64")


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the system's hypervisor asks libvirt's pretended one."""
    monkeypatch.setattr(doctor, "open_connection", lambda _uri: open_connection("test:///default"))
    monkeypatch.setattr(
        doctor_hypervisor,
        "read_capabilities",
        lambda _xml: Capabilities(uuid="u", arch="x86_64", types=frozenset({"qemu", "kvm"}), emulator="/q"),
    )


def texts(found: Any) -> list[tuple[str, str]]:
    return [(finding.summary, finding.fix) for finding in found]


def without(place: Workplace, program: str) -> Workplace:
    (Path(place.search_path) / program).unlink()
    return place


def test_machine_that_lacks_nothing(place: Workplace) -> None:
    assert findings({}, place) == ()


def test_pretended_hypervisor_lacks_nothing() -> None:
    assert findings({"uri": "test:///default"}) == ()


def test_uri_that_cannot_be_meant() -> None:
    (found,) = findings({"uri": "qemu:///session"})
    assert found.fatal
    assert "qemu:///system" in found.fix


def test_missing_module_names_what_to_install(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _name: None)
    found = texts(findings({}, place))
    assert ("libvirt's Python module is not installed", doctor.INSTALL) in found
    assert "libvirt-dev" in doctor.INSTALL


def test_libvirt_is_not_installed(place: Workplace) -> None:
    (place.root / "run/libvirt/libvirt-sock").unlink()
    found = texts(findings({}, without(place, "libvirtd")))
    packages = "apt-get install libvirt-daemon-system qemu-system-x86 qemu-utils dnsmasq-base"
    assert found == [("libvirt is not installed", packages)]


def test_daemon_does_not_run(place: Workplace) -> None:
    (place.root / "run/libvirt/libvirt-sock").unlink()
    assert texts(findings({}, place)) == [("libvirt's daemon libvirtd does not run", "systemctl enable --now libvirtd")]


def test_daemon_does_not_run_where_there_is_no_systemd(place: Workplace) -> None:
    (place.root / "run/libvirt/libvirt-sock").unlink()
    (place.root / "run/systemd/system/x").unlink()
    (place.root / "run/systemd/system").rmdir()
    ((_, fix),) = texts(findings({}, place))
    assert fix.startswith("libvirtd --daemon")


def test_newer_daemons_are_several(place: Workplace) -> None:
    (place.root / "run/libvirt/libvirt-sock").rename(place.root / "run/libvirt/virtqemud-sock")
    (Path(place.search_path) / "libvirtd").rename(Path(place.search_path) / "virtqemud")
    fixes = [fix for _, fix in texts(findings({}, place))]
    assert fixes == [f"systemctl enable --now {name}.socket" for name in ("virtnetworkd", "virtstoraged")]


def test_no_permission_on_the_socket(place: Workplace) -> None:
    socket = place.root / "run/libvirt/libvirt-sock"
    socket.chmod(0o660)
    assert texts(findings({}, place)) == [
        (f"no permission on {socket}", "adduser alice libvirt, then log in again"),
    ]


@pytest.mark.parametrize(
    ("program", "package"),
    [("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("dnsmasq", "dnsmasq-base")],
)
def test_missing_program_names_its_package(place: Workplace, program: str, package: str) -> None:
    found = texts(findings({}, without(place, program)))
    assert found == [(f"the program {program!r} is missing", f"apt-get install {package}")]


def test_network_of_somebody_else_needs_no_dnsmasq(place: Workplace) -> None:
    assert findings({"network": {"name": "default"}}, without(place, "dnsmasq")) == ()


def test_folder_above_the_disks_keeps_qemu_out(place: Workplace) -> None:
    folder = place.root / "var/lib/libvirt"
    folder.chmod(0o700)
    place = Workplace(root=place.root, search_path=place.search_path, me=NOBODY, qemu=QEMU, arch="x86_64")
    found = [each for each in findings({}, place) if "may not search" in each.summary]
    assert [each.fix for each in found] == [f"chmod o+x {folder}"]


class TestKvm:
    """KVM that is missing makes machines slow, and is fatal only where it was asked for."""

    def test_no_device_on_a_processor_that_could(self, place: Workplace) -> None:
        (place.root / "dev/kvm").unlink()
        (place.root / "proc").mkdir()
        (place.root / "proc/cpuinfo").write_text("flags\t\t: fpu svm sse\n")
        (found,) = findings({}, place)
        assert found == Finding(
            summary="there is no /dev/kvm; machines run without it, many times slower",
            fix="modprobe kvm_amd",
            fatal=False,
        )

    def test_no_device_and_no_processor_for_it(self, place: Workplace) -> None:
        (place.root / "dev/kvm").unlink()
        (found,) = findings({"accel": "kvm"}, place)
        assert found.fatal
        assert found.summary == "the processor offers no virtualization"
        assert "firmware" in found.fix

    def test_device_that_is_closed_to_its_group(self, place: Workplace) -> None:
        (place.root / "dev/kvm").chmod(0o600)
        place = Workplace(root=place.root, search_path=place.search_path, me=NOBODY, qemu=QEMU, arch="x86_64")
        found = [each for each in findings({}, place) if "kvm" in each.summary]
        assert [each.fix for each in found] == ["chgrp kvm /dev/kvm; chmod 660 /dev/kvm"]

    def test_emulation_needs_none(self, place: Workplace) -> None:
        (place.root / "dev/kvm").unlink()
        assert findings({"accel": "qemu"}, place) == ()


class TestNamedThings:
    """A pool or a network that the settings name must be there; the pretended hypervisor has one of each."""

    def test_they_are_there(self, place: Workplace) -> None:
        assert findings({"pool": "default-pool", "network": {"name": "default"}}, place) == ()

    def test_network_is_missing(self, place: Workplace) -> None:
        ((summary, fix),) = texts(findings({"network": {"name": "lan"}}, place))
        assert summary == "there is no network 'lan'"
        assert fix.startswith("virsh -c qemu:///system net-define")

    def test_network_is_not_active(self, place: Workplace) -> None:
        connection = open_connection("test:///default")
        network = connection.networkLookupByName("default")
        network.destroy()
        try:
            found = texts(findings({"network": {"name": "default"}}, place))
        finally:
            network.create()
        assert found == [
            (
                "the network 'default' is not active",
                "virsh -c qemu:///system net-start default; virsh -c qemu:///system net-autostart default",
            )
        ]

    def test_pool_is_missing(self, place: Workplace) -> None:
        ((summary, fix),) = texts(findings({"pool": "fast"}, place))
        assert summary == "there is no storage pool 'fast'"
        assert "pool-create-as fast dir" in fix

    def test_bridge_is_missing_or_none(self, place: Workplace) -> None:
        uri = parse("qemu:///system")
        settings = {"network": {"bridge": "br0"}}
        connection = open_connection("test:///default")

        def look() -> list[tuple[str, str]]:
            return texts(doctor_hypervisor.hypervisor_findings(settings, uri, place, connection))

        assert look() == [("there is no bridge 'br0' here", "ip link add br0 type bridge")]
        (place.root / "sys/class/net/br0").mkdir(parents=True)
        assert [summary for summary, _ in look()] == ["'br0' is no bridge"]
        (place.root / "sys/class/net/br0/bridge").mkdir()
        assert look() == []


def test_hypervisor_elsewhere_without_qemu(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Capabilities(uuid="u", arch="x86_64", types=frozenset(), emulator="")
    monkeypatch.setattr(doctor_hypervisor, "read_capabilities", lambda _xml: nothing)
    ((summary, fix),) = texts(findings({"uri": "qemu+ssh://hv/system"}, place))
    assert (summary, fix) == ("the hypervisor has no QEMU", "there: apt-get install qemu-system-x86")
