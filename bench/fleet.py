"""Real hosts for a measurement: booted containers with systemd, sshd and Docker Engine, in namespaces of this run."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.site import Site, Target
from provision.driver import Machine, MachineSpec, Role
from provision.images.recipes import recipe
from provision.state.keys import new_host_key
from provision_nspawn import NspawnDriver
from provision_nspawn.image import build_image
from provision_nspawn.layout import DEFAULT_DATA, Layout
from provision_nspawn.processes import children
from provision_nspawn.records import read_process
from provision_nspawn.testing import leftovers, own_namespaces

CLUSTER = "bench"
_BOOT_SECONDS = 240.0
_AT_ONCE = 8

#: what brings a host back to how it booted: no swarm, the engine's own configuration, its first name, no table of ours.
#: An engine that never knew a daemon.json is left running.
_RESET = """\
PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
docker swarm leave --force >/dev/null 2>&1
docker network rm docker_gwbridge >/dev/null 2>&1
rm -rf /etc/provision /etc/systemd/system/provision-firewall.service /root/.ansible /etc/docker/key.json
rm -f /etc/systemd/system/multi-user.target.wants/provision-firewall.service /etc/nftables-swarm.nft
for table in $(nft list tables | sed -n 's/^table inet //p'); do nft delete table inet "$table"; done
printf '%s\\n' {authorized} >/root/.ssh/authorized_keys
hostname {name}; echo {name} >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' {name} >/etc/hosts
systemctl daemon-reload
systemctl reset-failed docker.service 2>/dev/null
if [ -e /etc/docker/daemon.json ]; then rm -f /etc/docker/daemon.json; systemctl restart docker.service; fi
systemctl reset-failed docker.service 2>/dev/null
docker info --format '{{{{.Swarm.LocalNodeState}}}}'
"""


@dataclass(frozen=True, slots=True)
class BenchHost:
    """One booted host, looked at and reset through its namespaces, so that no contender has a part in it."""

    machine: Machine
    pid: int

    def run(self, script: str, *, seconds: float = 90.0) -> str:
        """Run a shell script as root; returns its output. Raises RuntimeError with all that it printed."""
        argv = ("nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "sh", "-c", script)
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=seconds, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.machine.name}: {script[:60]!r} ended with {done.returncode}: {done.stderr}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts, in order, and the site that a contender is given."""

    hosts: tuple[BenchHost, ...]
    site: Site

    def first(self, count: int) -> Fleet:
        """A smaller fleet of the same hosts."""
        return Fleet(self.hosts[:count], replace(self.site, targets=self.site.targets[:count]))

    def each(self, do: Callable[[BenchHost], str]) -> list[str]:
        """Do something on every host, a few at once."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(do, self.hosts))

    def reset(self) -> bool:
        """Bring every host back to its first state; False when the machine did not come to rest afterwards.

        Raises RuntimeError when one does not get there.
        """
        authorized = shlex.quote(self.site.key.with_suffix(".pub").read_text().strip())
        states = self.each(lambda host: host.run(_RESET.format(name=host.machine.name, authorized=authorized)).strip())
        wrong = [host.machine.name for host, state in zip(self.hosts, states, strict=True) if state != "inactive"]
        if wrong:
            raise RuntimeError(f"not back in their first state: {', '.join(wrong)}")
        return quiet()

    def check(self) -> None:
        """Every target is a ready node under its name, the managers are managers, the engine has the daemon.json and
        the table is loaded. Raises RuntimeError saying what is wrong: a contender that is fast because it did not do
        the work."""
        listed = self.hosts[0].run("docker node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'")
        nodes = {words[0]: words[1:] for words in map(str.split, listed.splitlines())}
        names = [target.name for target in self.site.targets]
        managers = set(names[: self.site.managers])
        wrong = [name for name in names if nodes.get(name, ["missing"])[0] != "Ready"]
        wrong += [name for name in managers if nodes.get(name, [])[1:2] not in (["Leader"], ["Reachable"])]
        wrong += sorted(nodes.keys() - set(names))
        last = self.site.targets[-1].address.replace(".", "[.]")
        configured = self.each(
            lambda host: host.run(
                "docker info --format '{{.LoggingDriver}}'; grep -c max-size /etc/docker/daemon.json;"
                f" nft list ruleset | grep -c 'tcp dport.*7946.*drop'; nft list ruleset | grep -cw {last}; hostname"
            )
        )
        for target, found in zip(self.site.targets, configured, strict=True):
            if found.split() != ["local", "1", "1", "1", target.name]:
                wrong.append(f"{target.name}: {found.split()}")
        if wrong:
            raise RuntimeError(f"not as it should be: {', '.join(wrong)}\n{listed}")

    def engines(self) -> list[str]:
        """A word for each engine that changes whenever its process does."""
        return self.each(lambda host: host.run("systemctl show docker --property=ExecMainStartTimestampMonotonic"))


@contextmanager
def fleet(count: int, *, python: bool = True) -> Iterator[Fleet]:
    """Boot that many hosts; all of them, and all that they leave, are gone at the end. Root only, on the main thread.

    `python`: they have Python, which Ansible wants there.
    """
    image = _image(python=python)
    # on the disk that the images are on: an overlay does not stack on every /tmp
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=DEFAULT_DATA))
    (folder / "images").mkdir()
    (folder / "images" / recipe("debian-12").digest).symlink_to(image)
    layout = Layout(folder)
    os.environ["PROVISION_DATA_DIR"] = str(folder)
    driver = NspawnDriver({})
    try:
        with own_namespaces(), _own_ssh_folder(folder / "ssh"):
            try:
                yield _boot(count, driver, layout)
            finally:
                with ThreadPoolExecutor(driver.parallel) as pool:
                    list(pool.map(driver.destroy, driver.discover(CLUSTER)))
                left = leftovers(layout)
        if left:
            raise RuntimeError(f"left behind: {left}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _image(*, python: bool) -> Path:
    """The driver's own debian-12, or the same with Python; built where it is not cached."""
    made_of = recipe("debian-12")
    if python:
        made_of = replace(made_of, packages=tuple(sorted((*made_of.packages, "python3"))))
    DEFAULT_DATA.mkdir(parents=True, exist_ok=True)
    return build_image(made_of, Layout(DEFAULT_DATA)).parent


@contextmanager
def _own_ssh_folder(folder: Path) -> Iterator[None]:
    """OpenSSH reads the home of the password database, whatever HOME says: ours is laid over it."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700)
    subprocess.run(("mount", "--bind", str(folder), str(home)), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", str(home)), check=True)


def _boot(count: int, driver: NspawnDriver, layout: Layout) -> Fleet:
    key = layout.data / "id_ed25519"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(key)), check=True)
    public = key.with_suffix(".pub").read_text().strip()
    specs = [
        MachineSpec(
            cluster=CLUSTER,
            name=f"{CLUSTER}-host-{number}",
            group="host",
            number=number,
            role=Role.WORKER,
            driver="nspawn",
            image="debian-12",
            authorized_keys=(public,),
            host_key=new_host_key(),
        )
        for number in range(1, count + 1)
    ]
    with ThreadPoolExecutor(driver.parallel) as pool:
        machines = list(pool.map(driver.create, specs))
    hosts = tuple(BenchHost(machine, _init(layout, machine)) for machine in machines)
    known_hosts = layout.data / "known_hosts"
    known_hosts.write_text(
        "".join(f"{machine.address} {' '.join(machine.host_keys[0].split()[:2])}\n" for machine in machines)
    )
    targets = tuple(Target(f"node-{number}", machine.address or "") for number, machine in enumerate(machines, 1))
    scratch = layout.data / "scratch"
    scratch.mkdir()
    made = Fleet(hosts, Site(folder=scratch, targets=targets, key=key, known_hosts=known_hosts))
    made.each(_booted)
    return made


def _init(layout: Layout, machine: Machine) -> int:
    process = read_process(layout.machine(machine.cluster, machine.name))
    if process is None:
        raise RuntimeError(f"{machine.name} does not run")
    return children(process.pid)[0]


def _booted(host: BenchHost) -> str:
    """All services are up, which a measurement shall not wait for, and /etc/hosts is the host's own."""
    deadline = time.monotonic() + _BOOT_SECONDS
    while True:
        try:
            return host.run("systemctl is-system-running --wait && umount /etc/hosts", seconds=_BOOT_SECONDS)
        except RuntimeError as not_yet:  # the bus is not there in the first moments
            if time.monotonic() > deadline:
                raise
            if "degraded" in str(not_yet):
                raise
        time.sleep(0.2)


def quiet(*, busy: float = 0.15, seconds: float = 60.0) -> bool:
    """Wait until this machine has next to nothing to do, so that nobody pays for who ran before; False: in vain."""
    deadline = time.monotonic() + seconds
    while True:
        before = _jiffies()
        time.sleep(0.5)
        after = _jiffies()
        total = sum(after) - sum(before)
        idle = after[3] + after[4] - before[3] - before[4]
        if total > 0 and 1 - idle / total < busy:
            return True
        if time.monotonic() > deadline:
            return False


def busy_seconds() -> float:
    """CPU seconds that this machine has spent on anything since its boot."""
    now = _jiffies()
    return (sum(now) - now[3] - now[4]) / 100


def _jiffies() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
