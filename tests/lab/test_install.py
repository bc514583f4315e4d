"""Docker Engine comes from the distribution's packages, and goes again where `up` brought it: on hosts without it.

The hosts have no way out, so they install from an apt repository in a folder: what a bare image lacks for Docker,
downloaded once and kept beside the images.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab_support import Guest, Lab
from test_trust import Hosts, User, difference, entry, traces, untouched

from provision.images.recipes import recipe
from provision_nspawn.image import build_image
from provision_nspawn.layout import DEFAULT_DATA, Layout

pytestmark = [pytest.mark.images("debian-12", docker=False)]

_WANTED = ("docker.io", "ca-certificates", "iptables", "nftables")
_IN_GUEST = "/srv/packages"
#: what Debian's own packages leave behind when they are purged: a cache, their groups, a folder of containerd's
_DEBIANS = {"/etc/ld.so.cache", "/etc/cni", "/etc/cni/net.d"}
_DEBIANS |= {f"/etc/{name}{backup}" for name in ("group", "gshadow") for backup in ("", "-")}
#: where the packages are downloaded: this module is imported before the namespaces without a way out are entered
_OUTSIDE = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@pytest.fixture(scope="module")
def packages(require: Callable[[object, str], None], lab: Lab) -> Path:
    """A flat apt repository with all that a bare debian-12 needs for an engine."""
    require(shutil.which("apt-get") and shutil.which("dpkg-deb"), "apt and dpkg are not here")
    bare = recipe("debian-12", docker=False)
    folder = (
        DEFAULT_DATA / "test-packages" / hashlib.sha256(" ".join((bare.digest, *_WANTED)).encode()).hexdigest()[:16]
    )
    if not folder.is_dir():
        half = folder.with_name(f".{folder.name}.{os.getpid()}")
        half.mkdir(parents=True)
        try:
            _download(build_image(bare, Layout(DEFAULT_DATA)), half)
            (half / "Packages").write_text("\n".join(map(_stanza, sorted(half.glob("*.deb")))))
            half.rename(folder)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
    return folder


def _download(tree: Path, folder: Path) -> None:
    """What apt would install in the tree, from the tree's own sources; nothing of this host's apt is changed."""
    work = folder / "work"
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    options = {
        "Dir::Etc::sourcelist": tree / "etc/apt/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::trustedparts": tree / "etc/apt/trusted.gpg.d",
        "Dir::State": work / "state",
        "Dir::State::status": tree / "var/lib/dpkg/status",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Retries": "3",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    apt = ("nsenter", f"--net=/proc/self/fd/{_OUTSIDE}", "apt-get", "-q", "-y", *flags)
    # --reinstall: a test takes nftables, which the image has, away
    install = ("install", "--download-only", "--no-install-recommends", "--reinstall", *_WANTED)
    for words in (("update",), install):
        done = subprocess.run(
            (*apt, *words), pass_fds=(_OUTSIDE,), capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"apt-get {words[0]} failed:\n{done.stdout}\n{done.stderr}"
    for archive in (work / "cache" / "archives").glob("*.deb"):
        archive.rename(folder / archive.name.replace("%3a", "."))
    shutil.rmtree(work)


def _stanza(archive: Path) -> str:
    """A package's entry in the index."""
    control = subprocess.run(("dpkg-deb", "--field", archive), capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return f"{control.rstrip()}\nFilename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n"


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    with Hosts(lab, "raw") as made:
        yield made


@pytest.fixture
def user(lab: Lab, hosts: Hosts) -> Iterator[User]:
    with User(lab) as made:
        yield made


def boot(hosts: Hosts, packages: Path, *, docker: bool) -> Guest:
    """A host whose apt knows the folder only, and without nft."""
    host = hosts.boot(docker=docker, options={"bind": [f"{packages}:{_IN_GUEST}:ro"]})
    host.sh(f"echo 'deb [trusted=yes] file:{_IN_GUEST} ./' >/etc/apt/sources.list; dpkg --purge nftables")
    return host


@pytest.fixture(scope="module")
def bare(hosts: Hosts, packages: Path) -> tuple[Guest, Guest]:
    """Two hosts that have neither Docker nor nft."""
    made = (boot(hosts, packages, docker=False), boot(hosts, packages, docker=False))
    for host in made:
        assert host.run("command -v dockerd || command -v nft").status != 0
    return made


def test_without_install_a_host_that_lacks_docker_is_refused(lab: Lab, user: User, bare: tuple[Guest, Guest]) -> None:
    before = [untouched(host) for host in bare]
    hosts = [[entry(host)] for host in bare]
    inventory = user.write("refused", *hosts, head="engine: {install: none}\n")
    ran = lab.run("up", inventory).fails(1, "refused-manager-1: docker not found", "refused-worker-1: docker not found")
    assert "engine: {install: distro}" in ran.stderr, ran
    assert "nothing was changed" in ran.stderr, ran
    assert [untouched(host) for host in bare] == before


def test_up_installs_docker_and_purge_takes_it_away(lab: Lab, user: User, bare: tuple[Guest, Guest]) -> None:
    manager, worker = bare
    before = traces(manager)
    head = "engine: {daemon: {log-driver: local, labels: [made=fresh]}}\n"
    inventory = user.write("fresh", [entry(manager)], [entry(worker)], head=head)
    lab.run("up", inventory, seconds=400).ok()
    assert {name for name, node in lab.nodes(manager.name).items() if node.ready} == {manager.name, worker.name}
    for host in bare:
        info = json.loads(host.docker("info", "--format", "{{json .}}"))
        assert (info["LoggingDriver"], info["Labels"]) == ("local", ["made=fresh"])
        # its configuration was there at its first start: it was never started anew
        assert host.sh("journalctl -o cat -u docker | grep -c 'Daemon has completed initialization'") == "1"
        assert "tcp dport" in host.firewall()
    assert "nothing to do" in lab.run("up", inventory).ok().stdout

    lab.run("rm", "fresh-worker-1", "--yes").ok()  # without --purge Docker stays
    assert worker.docker("info", "--format", "{{.Swarm.LocalNodeState}} {{.LoggingDriver}}") == "inactive json-file"
    assert "provision" not in worker.firewall()

    lab.run("down", inventory, "--yes", "--purge").ok()
    assert manager.run("command -v dockerd || command -v nft || pgrep dockerd").status != 0
    assert manager.sh("find /var/lib/docker /var/lib/containerd -mindepth 1 2>/dev/null || true") == ""
    assert set(difference(before, traces(manager))) <= _DEBIANS


def test_purge_leaves_an_engine_that_was_there_before(lab: Lab, user: User, hosts: Hosts, packages: Path) -> None:
    host = boot(hosts, packages, docker=True)
    host.sh("tar -C /bin -c busybox | docker import - theirs:1 && docker volume create theirs")
    before = traces(host)
    inventory = user.write("settled", [entry(host)], head="engine: {daemon: {debug: true}}\n")
    lab.run("up", inventory, seconds=400).ok()
    assert "tcp dport" in host.firewall()
    lab.run("down", inventory, "--yes", "--purge").ok()
    assert set(difference(before, traces(host))) <= _DEBIANS
    assert "theirs" in host.docker("image", "ls")
    assert "theirs" in host.docker("volume", "ls")
