"""Whose host key is trusted: what the inventory says, what the user knows, what was pinned; never a changed one.

Also home of `Hosts`, the machines that play bare metal for the other tests of the ssh driver.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from lab_support import Guest, Lab, eventually

from provision.driver import MachineSpec, Role
from provision.state.keys import new_host_key
from provision_nspawn import NspawnDriver

#: what `down` must leave as it was: files, who may log in, tables, the engine with its images and networks, packages
_TRACES = {
    "files": "find /etc /root /home -xdev -type f | sort | xargs -d '\\n' sha256sum",
    "folders": "find /etc /root /home -xdev ! -type f -printf '%p %m %u %l\\n' | sort",
    "tables": "if command -v nft >/dev/null; then nft list tables | grep provision; fi; true",
    "engine": "if command -v docker >/dev/null; then systemctl is-active docker; fi; true",
    "swarm": "if command -v docker >/dev/null; then docker info --format '{{.Swarm.LocalNodeState}}'; fi",
    "images": "if command -v docker >/dev/null; then docker image ls -aq | sort; fi",
    "containers": "if command -v docker >/dev/null; then docker ps -aq; fi",
    "packages": "dpkg -l",
}


class Hosts:
    """Hosts that run already, as far as provision can tell: nspawn machines of a cluster that it never hears of.

    The user of the lab gets a key of its own, `~/.ssh/id_ed25519`, that opens them. All goes at the end of the block.
    """

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.ssh = lab.home / ".ssh"
        self._name = name
        self._driver = NspawnDriver({})
        self._made: list[Guest] = []

    def __enter__(self) -> Hosts:
        self.ssh.mkdir(mode=0o700, exist_ok=True)
        argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@here", "-f", str(self.ssh / "id_ed25519"))
        subprocess.run(argv, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._made:
            self._driver.destroy(host.machine)
        for name in ("id_ed25519", "id_ed25519.pub"):
            (self.ssh / name).unlink()

    def boot(self, *, image: str = "debian-12", docker: bool = True, **changes: object) -> Guest:
        """Another host; returns when all of its services are up. `changes` are fields of MachineSpec."""
        number = len(self._made) + 1
        options = {"docker": docker, **dict(changes.pop("options", {}))}  # type: ignore[call-overload]
        spec = MachineSpec(
            cluster=self._name,
            name=f"{self._name}-host-{number}",
            group="host",
            number=number,
            role=Role.WORKER,
            driver="nspawn",
            image=image,
            authorized_keys=((self.ssh / "id_ed25519.pub").read_text().strip(),),
            host_key=new_host_key(),
            options=options,
            **changes,  # type: ignore[arg-type]
        )
        host = Guest(self._driver.create(spec), self.lab.layout)
        self._made.append(host)
        eventually(lambda: host.run("systemctl is-system-running").stdout.strip() == "running", seconds=60)
        return host


class User:
    """The user's own ssh files, and the clusters of one test: put back and taken down at the end of the block."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.known_hosts = lab.home / ".ssh" / "known_hosts"
        self.config = lab.home / ".ssh" / "config"
        self._clusters: list[str] = []
        self._before: dict[Path, bytes | None] = {}

    def __enter__(self) -> User:
        for path in (self.known_hosts, self.config):
            self._before[path] = path.read_bytes() if path.exists() else None
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._clusters:
            if self.lab.state(name).joinpath("state.json").exists():
                self.lab.run("down", "-c", name, "--yes", "--force")
            shutil.rmtree(self.lab.state(name), ignore_errors=True)
        for path, content in self._before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)

    def write(self, name: str, managers: Sequence[str], workers: Sequence[str] = (), *, head: str = "") -> Path:
        """An inventory of the ssh driver; hosts as `entry` writes them."""
        self._clusters.append(name)
        text = f"name: {name}\ndriver: ssh\n{head}\nmachines:\n"
        for role, hosts in (("manager", managers), ("worker", workers)):
            if hosts:
                text += f"  {role}:\n    role: {role}\n    hosts:\n" + "".join(f"      - {host}\n" for host in hosts)
        if "ssh:" not in head:
            text += "ssh: {connect_timeout: 5s}\n"
        return self.lab.write(f"{name}.yml", text)


def entry(host: Guest, **more: object) -> str:
    """A host's line in an inventory: root and the right host key, unless `more` says otherwise (None: not said)."""
    said = {"address": host.address, "user": "root", "host_key": host.machine.host_keys[0], **more}
    return json.dumps({key: value for key, value in said.items() if value is not None})


def traces(host: Guest) -> dict[str, str]:
    """All that provision changes on a host, one entry for each file and for each other thing."""
    found: dict[str, str] = {}
    for what, script in _TRACES.items():
        lines = host.sh(script).splitlines()
        if what == "files":
            files = (line.split(maxsplit=1) for line in lines)
            # `/etc/group-` and its like are the copies that usermod itself keeps of what was before its last change
            found |= {name: digest for digest, name in files if name not in ("/etc/group-", "/etc/gshadow-")}
        elif what == "folders":
            found |= {line.split()[0]: line for line in lines}
        else:
            found[what] = "\n".join(lines)
    return found


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """What is not as it was; empty when all is."""
    both = ((key, before.get(key), after.get(key)) for key in sorted({*before, *after}))
    return {key: (old, new) for key, old, new in both if old != new}


def untouched(host: Guest) -> dict[str, str]:
    """As `traces`, for what must not be changed even for a while: the engine must not have been started anew."""
    return {**traces(host), "engine process": host.engine_started()}


def fingerprint_of(line: str) -> str:
    """`SHA256:…` of a public key line, as OpenSSH tells it."""
    done = subprocess.run(("ssh-keygen", "-lf", "-"), input=line, capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    with Hosts(lab, "trusted") as made:
        yield made


@pytest.fixture(scope="module")
def host(hosts: Hosts) -> Guest:
    """One host, its sshd on a port other than 22 too."""
    booted = hosts.boot()
    booted.sh("printf 'Port 22\\nPort 2200\\n' >/etc/ssh/sshd_config.d/30-ports.conf && systemctl restart ssh")
    return booted


@pytest.fixture
def user(lab: Lab, hosts: Hosts) -> Iterator[User]:
    with User(lab) as made:
        yield made


def trusts(lab: Lab, inventory: Path) -> None:
    """Assert that a plan for the one host was made from what it answered: nothing is left to be found out."""
    plan = lab.run("plan", inventory).ok().stdout
    assert "configure" in plan, plan
    assert "reach" not in plan, f"the host was not let in:\n{plan}"


@pytest.mark.parametrize("form", ["line", "fingerprint"])
def test_key_of_the_inventory_is_trusted(form: str, lab: Lab, user: User, host: Guest) -> None:
    line = host.machine.host_keys[0]
    stated = line if form == "line" else fingerprint_of(line)
    trusts(lab, user.write("stated", [entry(host, host_key=stated)]))


@pytest.mark.parametrize("port", [22, 2200])
@pytest.mark.parametrize("form", ["plain", "hashed"])
def test_key_of_the_users_known_hosts_is_trusted(form: str, port: int, lab: Lab, user: User, host: Guest) -> None:
    name = host.address if port == 22 else f"[{host.address}]:{port}"
    user.known_hosts.write_text(
        f"other.example,192.0.2.9 {new_host_key().public}\n{name} {host.machine.host_keys[0]}\n"
    )
    if form == "hashed":
        subprocess.run(("ssh-keygen", "-q", "-H", "-f", str(user.known_hosts)), check=True, capture_output=True)
        user.known_hosts.with_name("known_hosts.old").unlink()
        assert host.address not in user.known_hosts.read_text()
    trusts(lab, user.write("known", [entry(host, host_key=None, port=port)]))


def test_unknown_key_stops_before_any_host_is_touched(lab: Lab, user: User, host: Guest, hosts: Hosts) -> None:
    other = hosts.boot()
    before = [untouched(each) for each in (host, other)]
    inventory = user.write("unknown", [entry(other)], [entry(host, host_key=None)])
    ran = lab.run("up", inventory).fails(1, "unknown-worker-1: its SSH host key is not known", "nothing was changed")
    assert fingerprint_of(host.machine.host_keys[0]) in ran.stderr, ran
    assert "--accept-new-host-keys" in ran.stderr, ran
    assert [untouched(each) for each in (host, other)] == before
    assert not lab.state("unknown").exists()


def test_accepted_key_is_pinned_and_its_change_stops_always(lab: Lab, user: User, hosts: Hosts) -> None:
    host = hosts.boot()
    inventory = user.write("pinned", [entry(host, host_key=None)])
    lab.run("up", inventory, "--accept-new-host-keys").ok()
    pinned = (lab.state("pinned") / "known_hosts").read_text()
    assert " ".join(host.machine.host_keys[0].split()[:2]) in pinned
    assert "nothing to do" in lab.run("up", inventory).ok().stdout  # no flag any more

    key = "/etc/ssh/ssh_host_ed25519_key"
    host.sh(f"mv {key} {key}.first && mv {key}.pub {key}.first.pub && ssh-keygen -q -t ed25519 -N '' -f {key}")
    host.sh("systemctl restart ssh")
    before = untouched(host)
    ran = lab.run("up", inventory, "--accept-new-host-keys").fails(1, "pinned-manager-1: its SSH host key has changed")
    assert fingerprint_of(host.sh(f"cat {key}.pub")) in ran.stderr, ran
    assert fingerprint_of(host.machine.host_keys[0]) in ran.stderr, ran
    assert untouched(host) == before
    assert (lab.state("pinned") / "known_hosts").read_text() == pinned

    host.sh(f"mv {key}.first {key} && mv {key}.first.pub {key}.pub && systemctl restart ssh")
    assert "nothing to do" in lab.run("up", inventory).ok().stdout


@pytest.mark.parametrize("known", ["inventory's line", "inventory's fingerprint", "known_hosts"])
def test_another_key_than_the_known_one_is_never_accepted(known: str, lab: Lab, user: User, host: Guest) -> None:
    wrong = new_host_key().public
    stated = {"inventory's line": wrong, "inventory's fingerprint": fingerprint_of(wrong), "known_hosts": None}[known]
    if known == "known_hosts":
        user.known_hosts.write_text(f"{host.address} {wrong}\n")
    before = untouched(host)
    inventory = user.write("changed", [entry(host, host_key=stated)])
    ran = lab.run("up", inventory, "--accept-new-host-keys").fails(1, "its SSH host key has changed")
    assert fingerprint_of(wrong) in ran.stderr, ran
    assert fingerprint_of(host.machine.host_keys[0]) in ran.stderr, ran
    assert untouched(host) == before
    assert not lab.state("changed").exists()


def test_plan_pins_nothing(lab: Lab, user: User, host: Guest) -> None:
    inventory = user.write("looked", [entry(host, host_key=None)])
    lab.run("plan", inventory, "--accept-new-host-keys").ok()
    assert not lab.state("looked").exists()
    lab.run("plan", inventory).fails(1, "its SSH host key is not known")
