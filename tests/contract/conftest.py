"""What the contract tests share: real machines of the nspawn driver, in namespaces of the test process's own.

Network and mounts are the ones that `own_namespaces` makes; the data folder is the tests' own too, and borrows the
built images of the real one.
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

pytest.register_assert_rewrite("provision.testing")

from provision.driver import HostKeyPair, Machine, MachineSpec, Role  # noqa: E402
from provision.images.recipes import recipe  # noqa: E402
from provision.testing import Harness, create_and_kill  # noqa: E402
from provision_nspawn import NspawnDriver  # noqa: E402
from provision_nspawn.image import build_image  # noqa: E402
from provision_nspawn.layout import DEFAULT_DATA, Layout  # noqa: E402
from provision_nspawn.testing import leftovers, own_namespaces, scan_host_key  # noqa: E402

Shell = Callable[[Machine, str], str]


@pytest.fixture(scope="module")
def layout(request: pytest.FixtureRequest) -> Iterator[Layout]:
    """A data folder on the disk that the images are on, inside namespaces of our own; removed with all in it."""
    if os.geteuid() != 0:
        pytest.skip("booting machines in namespaces of one's own needs root")
    data = DEFAULT_DATA / f"test-{os.getpid()}"
    for made_of in getattr(request.module, "IMAGES", (recipe("debian-12"),)):
        build_image(made_of, Layout(DEFAULT_DATA))  # now: inside there is no way to a mirror
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
