"""A lab where systemd is the init: machines are services of it, which outlive the login that made them.

The place is a booted host with this Python and this source tree in it, reached by SSH, as a user's own machine is.
"""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_support import Guest, Lab, Ran, eventually
from test_trust import Hosts

from provision_nspawn.layout import DEFAULT_DATA

_REPOSITORY = Path(__file__).resolve().parents[2]
_INVENTORY = """\
name: inner
driver: nspawn
machines:
  manager: {role: manager, memory: 512M}
  worker: {role: worker, memory: 256M, cpus: 0.5}
"""


class Place:
    """The outer host, and a login shell on it."""

    def __init__(self, lab: Lab, host: Guest) -> None:
        self._lab = lab
        self.host = host
        self._known = lab.home / ".ssh" / "known_outer"
        self._known.write_text(f"{host.address} {host.machine.host_keys[0]}\n")

    def ssh(self, command: str, *, seconds: float = 180.0) -> Ran:
        """Run a command in a login of its own, which is over when it ends."""
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={self._known}")
        flags = [word for option in options for word in ("-o", option)]
        return self._lab.command("ssh", *flags, f"root@{self.host.address}", command, seconds=seconds)

    def units(self) -> list[str]:
        """The units of ours that systemd knows, whatever their state."""
        listed = self.host.sh("systemctl list-units --all --plain --no-legend 'provision-*'")
        return sorted(line.split()[0] for line in listed.splitlines())

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What systemd says of a unit."""
        shown = self.host.sh(f"systemctl show {unit} " + " ".join(f"-p {name}" for name in names))
        return dict(line.split("=", 1) for line in shown.splitlines())


@pytest.fixture(scope="module")
def place(lab: Lab) -> Iterator[Place]:
    data = lab.layout.data / "inner"
    data.mkdir()
    # overlays do not stack, so what will hold the inner machines' disks is a plain folder
    images = (lab.layout.data / "images").resolve()
    # the driver asks for mmdebstrap wherever it is to make machines, though no image is built here
    tools = [f"{path}:{path}:ro" for path in [shutil.which("mmdebstrap")] if path]
    binds = [f"{data}:{DEFAULT_DATA}", f"{images}:{DEFAULT_DATA}/images:ro", *tools, *_python()]
    (data / "images").mkdir()
    with Hosts(lab, "outer") as hosts:
        yield Place(lab, hosts.boot(options={"bind": binds}))
    (lab.home / ".ssh" / "known_outer").unlink()


def _python() -> list[str]:
    """Binds for the folders of this Python, its packages and the source tree, read-only at their own paths."""
    base = Path(sys.base_prefix)
    folders = {Path(sys.prefix), _REPOSITORY}
    folders |= {base} if base != Path("/usr") else {Path(sysconfig.get_path("stdlib")), Path(sys.executable).resolve()}
    outer = [folder for folder in folders if not any(other in folder.parents for other in folders)]
    return [f"{folder}:{folder}:ro" for folder in sorted(outer)]


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Place]:
    """The inner cluster is up; the `login` that made it is over, and systemd has killed whatever it left behind."""
    place.host.sh(f"cat >/root/inner.yml <<'END'\n{_INVENTORY}END")
    provision = f"{sys.prefix}/bin/provision"
    login = "systemd-run --quiet --wait --pipe --unit=login --setenv=PYTHONDONTWRITEBYTECODE=1 --setenv=HOME=/root"
    place.ssh(f"{login} {provision} up /root/inner.yml").ok()
    yield place
    place.ssh(f"{provision} down -c inner --yes")


def test_machines_are_units_that_outlive_the_login(running: Place) -> None:
    units = running.units()
    assert [unit.rsplit("-", 1)[0] for unit in units] == ["provision-inner-manager-1", "provision-inner-worker-1"]
    # each turns active when its guest has booted
    eventually(lambda: {running.properties(unit, "ActiveState")["ActiveState"] for unit in units} == {"active"})
    for unit in units:
        shown = running.host.run(f"systemctl status --no-pager {unit}").stdout
        assert "of cluster inner (provision)" in shown, shown
        assert "dockerd" in shown, shown
    assert running.host.run("systemctl is-active login.service").stdout.strip() != "active"


def test_nodes_are_ready(running: Place) -> None:
    provision = f"{sys.prefix}/bin/provision"
    nodes = running.ssh(f"{provision} docker -c inner node ls --format '{{{{json .}}}}'").ok().stdout
    assert {entry["Hostname"]: entry["Status"] for entry in map(json.loads, nodes.splitlines())} == {
        "inner-manager-1": "Ready",
        "inner-worker-1": "Ready",
    }
    assert "nothing to do" in running.ssh(f"{provision} up /root/inner.yml").ok().stdout


def test_limits_are_the_units(running: Place) -> None:
    manager, worker = running.units()
    assert running.properties(manager, "MemoryMax")["MemoryMax"] == str(512 * 1024**2)
    assert running.properties(worker, "MemoryMax")["MemoryMax"] == str(256 * 1024**2)
    assert running.properties(worker, "CPUQuotaPerSecUSec")["CPUQuotaPerSecUSec"] == "500ms"
    group = running.properties(worker, "ControlGroup")["ControlGroup"]
    if "memory" in running.host.sh("cat /sys/fs/cgroup/cgroup.controllers").split():  # the kernel's to give
        assert running.host.sh(f"cat /sys/fs/cgroup{group}/memory.max") == str(256 * 1024**2)


def test_down_leaves_nothing(running: Place) -> None:
    """Stands last, since it takes the cluster of the others away."""
    running.ssh(f"{sys.prefix}/bin/provision down /root/inner.yml --yes").ok()
    assert running.units() == []
    left = running.host.sh(
        "ls -A /var/lib/provision; ip netns; ip -brief link | grep -E '^pv' ; pgrep -a systemd-nspawn;"
        " find /root/.local /root/.ssh/config /root/.docker -type f 2>/dev/null; nft list tables | grep provision; true"
    )
    assert left == "images"
