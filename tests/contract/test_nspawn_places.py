"""The nspawn driver in other surroundings: with a way out, under systemd, without root, on the other images."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import provision
from provision.driver import Machine
from provision.images.recipes import recipe
from provision_nspawn.hello_image import TAG, busybox_of, hello_archive
from provision_nspawn.layout import DEFAULT_DATA, Layout

REPOSITORY = Path(provision.__file__).parent.parent

#: What must be built before there is no way out.
IMAGES = (recipe("debian-12"), recipe("debian-12", docker=False), recipe("debian-13"))

#: Runs in a booted host, as whoever logged in.
SCRIPT = """
import json, sys
from provision.driver import MachineSpec, Role
from provision_nspawn import NspawnDriver
driver = NspawnDriver({})
spec = MachineSpec(cluster="inner", name="inner-node-1", group="node", number=1, role=Role.WORKER, driver="nspawn",
                   memory=512 * 1024**2, cpus=0.5)
if sys.argv[1] == "up":
    driver.create(spec)
if sys.argv[1] == "stop":
    driver.stop(driver.discover("inner")[0])
if sys.argv[1] == "down":
    for machine in driver.discover("inner"):
        driver.destroy(machine)
found = driver.discover("inner")
print(json.dumps([[machine.provider_id, machine.address, machine.state] for machine in found]))
"""


@pytest.fixture
def outside(layout: Layout) -> Iterator[str]:
    """A default route to a neighbour that answers to 203.0.113.1 and knows no way back to private addresses."""
    commands = (
        "ip netns add outside",
        "ip link add out0 type veth peer name eth0 netns outside",
        "ip address add 203.0.113.2/24 dev out0",
        "ip link set out0 up",
        "ip -netns outside address add 203.0.113.1/24 dev eth0",
        "ip -netns outside link set eth0 up",
        "ip route add default via 203.0.113.1",
    )
    for command in commands:
        subprocess.run(command.split(), check=True)
    yield "203.0.113.1"
    for command in ("ip link delete out0", "ip netns delete outside"):
        subprocess.run(command.split(), check=True)


def test_machines_get_out_where_this_machine_does(
    outside: str, make: Callable[..., Machine], shell: Callable[..., str]
) -> None:
    machine = make()
    assert "1 received" in shell(machine, f"ping -c 1 -W 5 {outside}")


def test_hello_image_runs_in_the_guests_docker(
    make: Callable[..., Machine], shell: Callable[..., str], layout: Layout
) -> None:
    machine = make()
    archive = layout.machine(machine.cluster, machine.name).disk / "docker" / "hello.tar"
    shell(machine, "docker version")
    archive.write_bytes(hello_archive(busybox_of(layout), machine="x86_64"))
    assert TAG in shell(machine, "docker load -i /var/lib/docker/hello.tar")
    said = shell(machine, f"docker run --rm --network none {TAG} sh -c 'touch /tmp/x && id -un && ls /bin/httpd'")
    assert said.split() == ["root", "/bin/httpd"]


@pytest.mark.parametrize(("image", "docker"), [("debian-13", True), ("debian-12", False)])
def test_other_images_boot(image: str, docker: bool, make: Callable[..., Machine], shell: Callable[..., str]) -> None:
    machine = make(image=image, options={"docker": docker})
    assert shell(machine, "systemctl is-system-running --wait || systemctl --failed").strip() == "running"
    assert shell(machine, ". /etc/os-release; echo debian-$VERSION_ID").strip() == image
    engine = shell(machine, "docker version --format '{{.Server.Version}}' 2>/dev/null || true").strip()
    assert bool(engine) is docker


@pytest.fixture
def inner_host(
    layout: Layout, make: Callable[..., Machine], shell: Callable[..., str]
) -> Iterator[Callable[[str], str]]:
    """A booted host on which this Python and this source tree are, to run the driver on; `alice` may use sudo."""
    inner = layout.data / "inner"
    (inner / "images").mkdir(parents=True, exist_ok=True)
    # An engine's worth of plain folder: an overlay's upper layer cannot be on the host's own overlay.
    binds = [f"{inner}:{DEFAULT_DATA}", f"{DEFAULT_DATA}/images:{DEFAULT_DATA}/images:ro", *python_binds()]
    machine = make(user="alice", options={"bind": binds})

    def run(command: str) -> str:
        return shell(machine, command)

    # where this Python lives may be below /root
    run("sudo chmod 755 /root")
    yield run
    run("sudo systemctl stop 'provision-inner-*' || true")


def test_systemd_runs_the_machines_where_it_is_the_init(inner_host: Callable[[str], str]) -> None:
    root = "sudo env " + driver_command()
    ((unit, address, state),) = json.loads(inner_host(f"{root} up"))
    assert state == "Running"
    shown = inner_host(f"systemctl show {unit}.service -p Type -p Delegate -p MemoryMax -p CPUQuotaPerSecUSec")
    assert {"Type=notify", "Delegate=yes", f"MemoryMax={512 * 1024**2}", "CPUQuotaPerSecUSec=500ms"} <= set(
        shown.split()
    )
    wait = f"for i in $(seq 100); do systemctl is-active --quiet {unit}.service && break; sleep 0.3; done"
    assert inner_host(f"{wait}; systemctl is-active {unit}.service").strip() == "active"
    assert "1 received" in inner_host(f"ping -c 1 -W 5 {address}")
    ((_, _, state),) = json.loads(inner_host(f"{root} stop"))
    assert state == "Stopped"
    assert json.loads(inner_host(f"{root} down")) == []
    assert (
        inner_host("systemctl list-units --all --no-legend 'provision-*'; ip netns; ls /var/lib/provision")
        == "images\n"
    )


def test_host_firewall_that_drops_what_is_forwarded_lets_the_machines_out(inner_host: Callable[[str], str]) -> None:
    inner_host("sudo docker version")  # from here on Docker's rules are there
    assert "-P FORWARD DROP" in inner_host("sudo iptables -S FORWARD")
    root = "sudo env " + driver_command()
    ((unit, _, _),) = json.loads(inner_host(f"{root} up"))
    gateway = inner_host("ip -4 route show default").split()[2]
    assert "1 received" in inner_host(f"sudo ip netns exec {unit} ping -c 1 -W 5 {gateway}")
    inner_host(f"{root} down")
    assert "provision" not in inner_host("sudo iptables -S; sudo nft list tables")


def test_user_with_sudo_needs_not_be_root(inner_host: Callable[[str], str]) -> None:
    user = "env " + driver_command()
    ((_, _, state),) = json.loads(inner_host(f"{user} up"))
    assert state == "Running"
    assert inner_host("id -un; stat -c %U /var/lib/provision/nspawn/inner").split() == ["alice", "root"]
    assert json.loads(inner_host(f"{user} down")) == []
    inner_host("sudo rm /etc/sudoers.d/90-alice")
    refused = inner_host(f"{user} up 2>&1 || true")
    assert "sudo asks for a password" in refused
    assert "sudo -v" in refused


def driver_command() -> str:
    """This Python with this source tree in the guest, up to the script's argument."""
    path = f"PYTHONPATH={REPOSITORY}:{REPOSITORY / 'drivers'}"
    quoted = SCRIPT.replace("'", "'\\''")
    return f"{path} PYTHONDONTWRITEBYTECODE=1 {sys.executable} -c '{quoted}'"


def python_binds() -> list[str]:
    """The folders of this Python, its packages and the source tree, read-only at their own paths."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    python = Path(sys.executable).resolve()
    base = [Path(sys.base_prefix)] if sys.base_prefix != "/usr" else [stdlib, python]
    folders = {*base, Path(sys.prefix), REPOSITORY} - {Path("/usr")}
    outer = [folder for folder in folders if not any(other in folder.parents for other in folders)]
    return [f"{folder}:{folder}:ro" for folder in sorted(outer)]
