"""Real clusters for the tests in this folder, in namespaces that the run makes for itself and removes.

    def test_something(lab: Lab, shared: Shared) -> None: ...

`lab` is a user's place with no cluster of its own (see lab_support.Lab); `cluster` makes small ones that go with their
test or module; `shared` is one cluster of three managers and two workers for everybody: leave it as you found it.
An image other than debian-12 is built before the namespaces are entered, when a test says
`@pytest.mark.images("debian-13")`, or with `docker=False` for a bare one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_support import Lab, Shared, Up, inventory, user_environment

from provision.driver import Machine
from provision.images.recipes import Recipe, recipe
from provision_nspawn import NspawnDriver
from provision_nspawn.image import build_image
from provision_nspawn.layout import DEFAULT_DATA, Layout
from provision_nspawn.testing import leftovers, own_namespaces

REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "images(name, docker=True): a lab image that the test boots, beside debian-12")


@pytest.fixture(scope="package")
def lab(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    require: Callable[[object, str], None],
) -> Iterator[Lab]:
    """The place that all tests of this folder share. Its end fails when a machine has left anything behind."""
    require(os.geteuid() == 0, "booting machines in namespaces of one's own needs root")
    require(shutil.which("systemd-nspawn", path=f"{os.defpath}:/usr/sbin"), "systemd-nspawn is not installed")
    for made_of in _recipes(request.session.items):
        build_image(made_of, Layout(DEFAULT_DATA))  # now: inside there is no way to a mirror
    root = tmp_path_factory.mktemp("lab")
    # on the disk that the images are on: an overlay does not stack on every /tmp
    data = DEFAULT_DATA / f"lab-{os.getpid()}"
    data.mkdir()
    (data / "images").symlink_to(DEFAULT_DATA / "images")
    layout = Layout(data)
    for name in ("home", "inventories"):
        (root / name).mkdir(mode=0o700)
    patch = pytest.MonkeyPatch()
    patch.setenv("PROVISION_DATA_DIR", str(data))
    environ = user_environment(root, layout)
    made = Lab(root=root, home=root / "home", layout=layout, environ=environ, archive=root / "hello.tar")
    left: list[str] = []
    try:
        with own_namespaces(), _home_in_passwd(root):
            made.command(sys.executable, "-m", "provision_nspawn.hello_image", made.archive).ok()
            yield made
            left += leftovers(layout)
            _destroy_all(layout)
    finally:
        patch.undo()
        shutil.rmtree(data)
    assert not left, f"left behind: {left}"


@pytest.fixture
def alone(lab: Lab, tmp_path: Path) -> Lab:
    """The same place with state and docker folders of the test's own, which hold nothing yet."""
    return lab.elsewhere(tmp_path)


@pytest.fixture(scope="package")
def shared(lab: Lab) -> Iterator[Shared]:
    """Three managers and two workers that run the hello stack: inventories/lab.yml, the workers labelled."""
    stacks = REPOSITORY / "inventories" / "stacks"
    shutil.copytree(stacks, lab.inventories / "stacks", ignore=shutil.ignore_patterns("*.tar"))
    shutil.copy(lab.archive, lab.inventories / "stacks" / "hello.tar")
    plain = (REPOSITORY / "inventories" / "lab.yml").read_text()
    text = plain.replace("    role: worker\n", "    role: worker\n    labels: {tier: web}\n")
    assert text != plain
    path = lab.write("lab.yml", text)
    try:
        yield Shared(inventory=path, up=lab.run("up", path).ok())
    finally:
        lab.remove("lab")


@pytest.fixture
def pair(lab: Lab, running_pair: Path) -> Iterator[Path]:
    """The inventory of a running cluster `pair` for rougher tests: one manager, two workers (label tier: web), no
    stacks. A test may change it and its machines as it likes, and has `up` put right what differs at its end."""
    text = running_pair.read_text()
    yield running_pair
    if running_pair.read_text() != text:
        running_pair.write_text(text)
        lab.run("up", running_pair, "--yes").ok()


@pytest.fixture(scope="package")
def running_pair(lab: Lab) -> Iterator[Path]:
    """Behind `pair`. Its swarm finds a lost node within seconds."""
    path = lab.write("pair.yml", inventory("pair", workers=2, worker="labels: {tier: web}"))
    try:
        lab.run("up", path).ok()
        lab.guest("pair-manager-1").docker("swarm", "update", "--dispatcher-heartbeat", "1s")
        yield path
    finally:
        lab.remove("pair")


@pytest.fixture(scope="module")
def module_cluster(lab: Lab) -> Iterator[Up]:
    """`module_cluster(name, inventory text)` writes NAME.yml, runs `up`, returns the file; gone with the module."""
    yield from _clusters(lab)


@pytest.fixture
def cluster(lab: Lab) -> Iterator[Up]:
    """The same; gone with the test."""
    yield from _clusters(lab)


@pytest.fixture
def unmade(lab: Lab) -> Iterator[Up]:
    """The same without `up`: the test makes the cluster, or part of it. What came of it goes with the test."""
    yield from _clusters(lab, up=False)


def _clusters(lab: Lab, *, up: bool = True) -> Iterator[Up]:
    names: list[str] = []

    def make(name: str, text: str) -> Path:
        names.append(name)
        path = lab.write(f"{name}.yml", text)
        if up:
            lab.run("up", path).ok()
        return path

    try:
        yield make
    finally:
        for name in names:
            lab.remove(name)


def _recipes(items: list[pytest.Item]) -> set[Recipe]:
    marks = (mark for item in items for mark in item.iter_markers("images"))
    return {recipe("debian-12"), *(recipe(*mark.args, **mark.kwargs) for mark in marks)}


@contextmanager
def _home_in_passwd(root: Path) -> Iterator[None]:
    """OpenSSH takes the home from the password database, whatever HOME says; in our mounts that says the lab's."""
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines() if line]
    for user in users:
        if user[2] == "0":
            user[5] = str(root / "home")
    changed = root / "passwd"
    changed.write_text("".join(f"{':'.join(user)}\n" for user in users))
    changed.chmod(0o644)
    subprocess.run(("mount", "--bind", changed, "/etc/passwd"), check=True)
    try:
        yield
    finally:
        # the process keeps these mounts when it leaves the network
        subprocess.run(("umount", "/etc/passwd"), check=True)


def _destroy_all(layout: Layout) -> None:
    driver = NspawnDriver({})
    machines: list[Machine] = []
    for folder in list(layout.machines.iterdir()) if layout.machines.exists() else []:
        machines += driver.discover(folder.name)
    for machine in machines:
        driver.destroy(machine)
