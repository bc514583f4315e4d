"""Real virtual machines for the tests in this folder: a libvirtd, a network and mounts that the run makes for itself.

    def test_something(lab: VmLab, shared: Path) -> None: ...

`lab` is a user's place with no cluster; `shared` is one cluster of one manager and two workers for all that come
before `test_vm_removal.py`, which takes it down. The order of the files is told here, since VMs are dear: on two cores
without KVM three of them take a minute and a half to boot.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "lab"))  # its support module serves here too

from lab_support import Up, user_environment
from vm_support import VmLab, home_in_passwd, vm_inventory

from provision.errors import ProvisionError
from provision.images.store import require_disk
from provision_libvirt.testing import own_libvirtd
from provision_nspawn.layout import DEFAULT_DATA, Layout
from provision_nspawn.testing import own_namespaces

REPOSITORY = Path(__file__).resolve().parents[2]
HELLO = REPOSITORY / "inventories" / "stacks" / "hello.tar"
#: first what needs an empty hypervisor, then all that share a cluster, then its end, then what needs the room
ORDER = ("driver", "remote", "crash", "main_job", "network", "growing", "snapshots", "removal", "warm")

STACK = """
services:
  web:
    image: provision/hello:1
    command: [httpd, -f, -p, "8080", -h, /www]
    stop_grace_period: 1s
    environment: {NODE: "{{.Node.Hostname}}"}
    configs: [{source: page, target: /www/index.html}]
    ports: ["8080:8080"]
    networks: [sealed]
    deploy: {replicas: 2, placement: {max_replicas_per_node: 1, constraints: [node.role == worker]}}
  probe:
    image: provision/hello:1
    command: [sleep, "1000000"]
    stop_grace_period: 1s
    networks: [sealed]
    deploy: {mode: global}
networks:
  sealed: {driver: overlay, driver_opts: {encrypted: ""}}
configs:
  page: {file: app/page.txt, template_driver: golang}
"""
WORKER = """
labels: {tier: web}
user_data: |
  #cloud-config
  write_files:
    - {path: /etc/ours, content: it}
"""
PAGE = 'hello from {{env "NODE"}}\n'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if item.path.parent == here]
    ours.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_vm_")))
    items[:] = [item for item in items if item.path.parent != here] + ours


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, require: Callable[[object, str], None]) -> Iterator[VmLab]:
    """The place that all tests of this folder share. Its end fails when a machine has left anything behind."""
    require(os.geteuid() == 0, "virtual machines in namespaces of one's own need root")
    require(shutil.which("libvirtd", path=f"{os.defpath}:/usr/sbin"), "libvirtd is not installed")
    require(shutil.which("qemu-system-x86_64"), "QEMU is not installed")
    require(HELLO.exists(), "the hello stack's image is not built: make image")
    try:
        require_disk("debian-12", {**os.environ, "PROVISION_DATA_DIR": str(DEFAULT_DATA)})
    except ProvisionError as error:
        require(False, f"{error.summary}: make test-images")
    root = tmp_path_factory.mktemp("vm")
    # on the disk that the images are on: a machine's disk may grow, and /tmp may be memory
    data = DEFAULT_DATA / f"vm-{os.getpid()}"
    data.mkdir()
    (data / "images").symlink_to(DEFAULT_DATA / "images")
    for name in ("home", "inventories"):
        (root / name).mkdir(mode=0o700)
    patch = pytest.MonkeyPatch()
    patch.setenv("PROVISION_DATA_DIR", str(data))
    layout = Layout(data)
    try:
        with (
            own_namespaces(),
            own_libvirtd(data / "libvirtd") as libvirtd,
            home_in_passwd(root / "home", root),
        ):
            made = VmLab(
                root=root,
                home=root / "home",
                layout=layout,
                environ=user_environment(root, layout),
                archive=HELLO,
                libvirtd=libvirtd,
            )
            yield made
            left = libvirtd.leftovers()
    finally:
        patch.undo()
        shutil.rmtree(data)
    assert not left, f"left behind: {left}"


@pytest.fixture
def alone(lab: VmLab, tmp_path: Path) -> VmLab:
    """The same place with state and docker folders of the test's own, which hold nothing yet."""
    made = lab.elsewhere(tmp_path)
    assert isinstance(made, VmLab)
    return made


@pytest.fixture(scope="package")
def shared(lab: VmLab) -> Iterator[Path]:
    """The inventory of a running cluster `vm`: one manager, two workers (label tier: web), and the stack `app`, whose
    pages come from two tasks on the workers, through the routing mesh, on port 8080 of every node."""
    lab.write("app.yml", STACK)
    lab.write("app/page.txt", PAGE)
    stack = f"stacks:\n  app: {{file: app.yml, images: [{lab.archive}], resolve_image: never}}\n"
    path = lab.write("vm.yml", vm_inventory("vm", workers=2, worker=WORKER, rest=stack))
    try:
        lab.run("up", path, seconds=900).ok()
        yield path
    finally:
        lab.remove("vm")


@pytest.fixture
def unmade(lab: VmLab) -> Iterator[Up]:
    """`unmade(name, inventory text)` writes NAME.yml; what came of it goes with the test."""
    yield from _clusters(lab, up=False)


@pytest.fixture
def cluster(lab: VmLab) -> Iterator[Up]:
    """The same, with `up`."""
    yield from _clusters(lab, up=True)


def _clusters(lab: VmLab, *, up: bool) -> Iterator[Up]:
    names: list[str] = []

    def make(name: str, text: str) -> Path:
        names.append(name)
        path = lab.write(f"{name}.yml", text)
        if up:
            lab.run("up", path, seconds=900).ok()
        return path

    try:
        yield make
    finally:
        for name in names:
            lab.remove(name)
