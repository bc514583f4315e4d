"""The nspawn driver against the contract and its own promises, with machines that really boot.

They live in network and mount namespaces that this module makes for the test process (see `own_namespaces`), with a
data folder of their own that borrows the built images of the real one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from provision.driver import HostKeyPair, Machine, MachineSpec, MachineState, Role
from provision.testing import DriverContract, Harness, create_and_kill
from provision_nspawn import NspawnDriver
from provision_nspawn.image import build_image
from provision_nspawn.layout import DEFAULT_DATA, Layout
from provision_nspawn.recipes import recipe
from provision_nspawn.testing import control_groups, leftovers, own_namespaces, scan_host_key

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="booting machines in one's own namespaces needs root")

Shell = Callable[[Machine, str], str]


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """A data folder on the disk that the images are on, inside namespaces of our own; removed with all in it."""
    data = DEFAULT_DATA / f"test-{os.getpid()}"
    build_image(recipe("debian-12"), Layout(DEFAULT_DATA))
    data.mkdir()
    (data / "images").symlink_to(DEFAULT_DATA / "images")
    patch = pytest.MonkeyPatch()
    patch.setenv("PROVISION_DATA_DIR", str(data))
    try:
        with own_namespaces():
            yield Layout(data)
            _remove_all(Layout(data))
    finally:
        patch.undo()
        shutil.rmtree(data)


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key that all machines let in."""
    path = tmp_path_factory.mktemp("ssh") / "id_ed25519"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path), check=True)
    return path


@pytest.fixture
def shell(login: Path, tmp_path: Path) -> Shell:
    """Runs a command on a machine through OpenSSH that trusts only the key that the driver vouches for."""

    def run(machine: Machine, command: str) -> str:
        known = tmp_path / f"known-{machine.name}"
        known.write_text("".join(f"{machine.address} {key}\n" for key in machine.host_keys))
        options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "BatchMode=yes", "ConnectTimeout=5")
        flags = [word for option in options for word in ("-o", option)]
        argv = ("ssh", "-i", str(login), *flags, f"{machine.user}@{machine.address}", command)
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            refused = done.returncode == 255 and "HOST IDENTIFICATION" not in done.stderr
            if not refused or time.monotonic() > deadline:
                assert done.returncode == 0, done.stderr + done.stdout
                return done.stdout
            time.sleep(0.1)

    return run


class NspawnHarness(Harness):
    """Machines with Docker inside; crashes are spread over the 0.2 s that a create takes here, and beyond."""

    crash_after = (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4)

    def __init__(self, layout: Layout, login: Path, folder: Path) -> None:
        self.driver = NspawnDriver({})
        self._layout = layout
        self._login = login
        self._folder = folder

    def specs(self, cluster: str, count: int) -> Sequence[MachineSpec]:
        return [
            MachineSpec(
                cluster=cluster,
                name=f"{cluster}-node-{number}",
                group="node",
                number=number,
                role=Role.WORKER,
                driver="nspawn",
                authorized_keys=(self._login.with_suffix(".pub").read_text().strip(),),
                host_key=_host_key(self._folder / f"{cluster}-{number}"),
            )
            for number in range(1, count + 1)
        ]

    def leftovers(self) -> Sequence[str]:
        return leftovers(self._layout)

    def host_key(self, machine: Machine) -> str:
        return scan_host_key(str(machine.address), seconds=30)

    def crash(self, spec: MachineSpec, seconds: float) -> None:
        create_and_kill("provision_nspawn:NspawnDriver", {}, spec, seconds=seconds)


@pytest.fixture
def harness(layout: Layout, login: Path, tmp_path: Path) -> NspawnHarness:
    return NspawnHarness(layout, login, tmp_path)


class TestNspawn(DriverContract):
    """The whole contract."""


@pytest.fixture
def make(harness: NspawnHarness) -> Iterator[Callable[..., Machine]]:
    """Creates machine NUMBER of a cluster with changes to its spec; all are destroyed at the end."""
    made: list[Machine] = []

    def create(number: int = 1, cluster: str = "pvtest-own", **changes: object) -> Machine:
        spec = replace(harness.specs(cluster, number)[-1], **changes)  # type: ignore[arg-type]
        machine = harness.driver.create(spec)
        made.append(machine)
        return machine

    yield create
    for machine in made:
        harness.driver.destroy(machine)
    assert not harness.leftovers()


def test_docker_is_live_in_a_machine(make: Callable[..., Machine], shell: Shell) -> None:
    machine = make()
    assert shell(machine, "docker info --format '{{.ServerVersion}} {{.Driver}}'").split()[1] == "overlay2"
    assert shell(machine, "systemctl is-system-running --wait || true").strip() == "running"


def test_names_resolve_between_machines_also_later_ones(make: Callable[..., Machine], shell: Shell) -> None:
    first, second = make(1), make(2)
    for one, other in ((first, second), (second, first)):
        assert shell(one, f"getent hosts {other.name}").split() == [other.address, other.name]
        assert "1 received" in shell(one, f"ping -c 1 -W 5 {other.name}")
    assert shell(first, "hostname").strip() == first.name


def test_without_a_way_out_look_ups_and_packets_fail_at_once(make: Callable[..., Machine], shell: Shell) -> None:
    machine = make()
    began = time.monotonic()
    shell(machine, "! getent hosts no-such-host.example && ! ping -c 1 -W 10 203.0.113.1")
    assert time.monotonic() - began < 8
    assert shell(machine, "cat /etc/resolv.conf") == ""


def test_sudo_user_on_another_port(make: Callable[..., Machine], layout: Layout, login: Path) -> None:
    machine = make(user="alice", port=2222)
    deadline = time.monotonic() + 30
    argv = ("ssh", "-p", "2222", "-i", str(login), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no")
    known = ("-o", "UserKnownHostsFile=/dev/null")
    while True:
        command = (*argv, *known, f"alice@{machine.address}", "id -un; sudo -n id -un; pwd; stat -c %U ~")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert done.stdout.split() == ["alice", "root", "/home/alice", "alice"], done.stderr


def test_memory_limit_binds(make: Callable[..., Machine], shell: Shell) -> None:
    machine = make(memory=256 * 1024**2)
    # head keeps what tail has not seen a line end of: 400 MB of zeros in memory
    said = shell(machine, "head -c 400M /dev/zero | tail > /dev/null; echo status ${PIPESTATUS[1]}")
    assert said.split() == ["status", "137"]


def test_cpu_limit_binds(make: Callable[..., Machine], shell: Shell) -> None:
    machine = make(cpus=0.25)
    shell(machine, "systemctl is-system-running --wait || true")
    spent = shell(machine, "timeout 2 sh -c 'while :; do :; done'; times | tail -1").split()[0]
    minutes, seconds = spent.rstrip("s").split("m")
    assert float(minutes) * 60 + float(seconds) < 1.0, f"2 s at a quarter of a processor took {spent} of it"


def test_control_groups_go_with_the_machine(make: Callable[..., Machine], harness: NspawnHarness) -> None:
    machine = make(memory=512 * 1024**2)
    assert control_groups(machine.provider_id)
    harness.driver.destroy(machine)
    assert not control_groups(machine.provider_id)


def test_bound_folder_is_seen_inside(make: Callable[..., Machine], shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("hello")
    machine = make(options={"bind": [f"{tmp_path}:/srv/given:ro"]})
    assert shell(machine, "cat /srv/given/word; touch /srv/given/no 2>&1 || true").startswith("hello")
    assert not (tmp_path / "no").exists()


def test_machine_keeps_its_data_over_stop_and_start(
    make: Callable[..., Machine], harness: NspawnHarness, shell: Shell
) -> None:
    machine = make()
    shell(machine, "echo kept > /root/note && sync")
    harness.driver.stop(machine)
    assert [found.state for found in harness.driver.discover("pvtest-own")] == [MachineState.STOPPED]
    assert shell(harness.driver.start(machine), "cat /root/note").strip() == "kept"
    assert "Reached target" in harness.driver.console(machine)


def test_subnet_of_the_inventory_is_used(make: Callable[..., Machine]) -> None:
    machine = make(options={"subnet": "10.77.3.0/28"})
    assert machine.address == "10.77.3.4"


def test_subnet_in_use_is_refused_before_anything_is_made(make: Callable[..., Machine], harness: NspawnHarness) -> None:
    make(options={"subnet": "10.77.3.0/24"})
    other = replace(harness.specs("pvtest-other", 1)[0], options={"subnet": "10.77.0.0/16"})
    (finding,) = [found for found in harness.driver.check([other]) if found.fatal]
    assert "overlaps 10.77.3.0/24" in finding.summary
    with pytest.raises(Exception, match=r"overlaps 10\.77\.3\.0/24"):
        harness.driver.create(other)
    assert not harness.driver.discover("pvtest-other")


def test_private_key_is_in_the_guest_only(make: Callable[..., Machine], layout: Layout) -> None:
    machine = make()
    folder = layout.machine(machine.cluster, machine.name)
    texts = [path for path in folder.root.iterdir() if path.is_file()]
    assert not [path for path in texts if "PRIVATE KEY" in path.read_text(errors="replace")]
    key = folder.upper / "etc/ssh/ssh_host_ed25519_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert folder.disk.stat().st_mode & 0o777 == 0o700


def _host_key(path: Path) -> HostKeyPair:
    if not path.exists():
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path), check=True)
    return HostKeyPair(private=path.read_text(), public=path.with_name(f"{path.name}.pub").read_text().strip())


def _remove_all(layout: Layout) -> None:
    """What a failed test may have left: the suite's own clean-up is part of what is tested."""
    driver = NspawnDriver({})
    for folder in list(layout.machines.iterdir()) if layout.machines.exists() else []:
        for machine in driver.discover(folder.name):
            driver.destroy(machine)
