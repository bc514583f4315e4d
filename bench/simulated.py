"""Simulated hosts: one SSH server that plays every machine of an inventory, for sizes that no machine can boot.

    python -m bench.simulated INVENTORY --mode converged --key id_ed25519.pub --host-key ssh_host_ed25519_key

A host is known by the local address that a connection came to. It lets root in with one key, and answers the probe and
the few calls to the engine that observing needs: in mode `bare` as a host that runs Docker and is in no swarm, in mode
`converged` as a member that is all that the inventory wants. Whatever else it is told to run it refuses, with status
127, so that nothing is believed to be done that is not. The answers are made from the inventory by provision's own
functions; should they no longer fit, the server says so instead of starting.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import resource
import shlex
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import asyncssh

from bench.simulated_engine import VERSION, Swarm, outsider, serve
from provision.driver import MachineSpec
from provision.hosts import probe
from provision.hosts.changes import due
from provision.hosts.changes.firewall import rules
from provision.hosts.desired import HostDesired
from provision.inventory.load import load
from provision.inventory.specs import machine_specs
from provision.merge import merge
from provision.planning.hosts import desired_host
from provision.planning.wanted import Wanted

Mode: TypeAlias = Literal["bare", "converged"]
READY = "ready"
_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
_DIAL = "docker system dial-stdio"
_OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
#: both ciphers are cheap, and the client chooses as it would elsewhere; Debian 12's sshd knows no newer key exchange
_CIPHERS = ("aes128-gcm@openssh.com", "aes128-ctr")
_KEY_EXCHANGES = ("curve25519-sha256", "curve25519-sha256@libssh.org")
_MACS = ("hmac-sha2-256", "hmac-sha2-256-etm@openssh.com")


class Hosts:
    """All hosts of an inventory. `machine_at` finds one by its address; `swarm` None: they are bare."""

    def __init__(self, inventory: Path, mode: Mode, key: str) -> None:
        cluster = load(inventory, environ=os.environ)
        self._wanted = Wanted(
            cluster=cluster, specs=machine_specs(cluster), authorized_keys=(key, *cluster.ssh.authorized_keys)
        )
        self._addresses = {spec.name: _address(spec) for spec in self._wanted}
        self.machine_at = {spec.host.address: spec for spec in self._wanted if spec.host}
        self.swarm = Swarm(self._wanted, self._addresses) if mode == "converged" else None
        self._rules: dict[bool, str] = {}
        self._certificates: dict[str, str] = {}
        if mode == "converged":
            self._check()

    def probed(self, spec: MachineSpec, settings: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """What the probe's script prints on a host, in the form that `provision.hosts.probe` describes.

        `settings` are the variables at the head of the script, which choose what it tells.
        """
        desired = self._desired(spec)
        member = self.swarm.info(spec.name) if self.swarm else outsider()
        said = {
            "user": "root",
            "hostname": spec.name,
            "kernel": "6.1.0-18-amd64",
            "architecture": "x86_64",
            "cpus": "2",
            "clock": f"{time.time():.9f}",
            "memory": "4017012",
            "machine_id": hashlib.md5(spec.name.encode(), usedforsecurity=False).hexdigest() + "\n",
            "os_release": _OS_RELEASE,
            "addresses": f"2: eth0    inet {self._addresses[spec.name]}/8 scope global eth0\n",
            "authorized_keys": "".join(f"{key}\n" for key in desired.authorized_keys),
            "systemd": "yes",
            "ipvs": "yes",
            "vxlan": "yes",
            "nft": "yes",
            "chains": "",
            "engine": "yes",
        }
        if settings.get("ENGINE", "yes"):
            said["info"] = json.dumps(_info(member)) + "\n"
        if settings.get("IMAGES"):
            said["images"] = ""
        if self.swarm is not None:
            said |= {
                "owner": json.dumps({"cluster": desired.cluster, "machine": desired.machine}) + "\n",
                "rules": self._ruled(desired),
                "intact": "yes",
                "rules_enabled": "yes",
                "daemon_json": json.dumps(merge({}, desired.daemon)) + "\n",
                "daemon_json_before": "",
                "swarm_state": "yes",
                "node_certificate": self._certificate(spec.name, self.swarm),
            }
        return "".join(_lines(key, value) for key, value in {**said, "end": "yes"}.items()).encode()

    def _certificate(self, machine: str, swarm: Swarm) -> str:
        if machine not in self._certificates:
            self._certificates[machine] = swarm.certificate(machine)
        return self._certificates[machine]

    def _desired(self, spec: MachineSpec) -> HostDesired:
        action = self._wanted.configure(spec, ())
        return desired_host(self._wanted, action, self._addresses.values())

    def _ruled(self, desired: HostDesired) -> str:
        """The rules differ between managers and workers only, and take long to make."""
        if desired.manager not in self._rules:
            self._rules[desired.manager] = rules(desired)
        return self._rules[desired.manager]

    def _check(self) -> None:
        """Raise RuntimeError where a host of ours would still have something to be done."""
        for spec in (self._wanted.specs[0], self._wanted.specs[-1]):
            facts = probe.parse(spec.name, self.probed(spec).decode())
            changes = due(self._desired(spec), facts)
            if changes:
                raise RuntimeError(f"{spec.name} is not converged: {'; '.join(change.cause for change in changes)}")


class _Door(asyncssh.SSHServer):
    """One connection: root and the one key, sessions, and the engine's socket."""

    def __init__(self, hosts: Hosts, key: asyncssh.SSHKey) -> None:
        self._hosts = hosts
        self._key = key
        self._machine: MachineSpec | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._machine = self._hosts.machine_at.get(conn.get_extra_info("sockname")[0])
        if self._machine is None:
            conn.abort()

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == "root" and key == self._key

    def unix_connection_requested(
        self, dest_path: str
    ) -> bool | Callable[[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]], Awaitable[None]]:
        machine = self._machine
        if machine is None or dest_path not in _SOCKETS:
            return False

        async def engine(reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
            await serve(reader, writer, machine.name, self._hosts.swarm)
            writer.close()

        return engine


async def _session(hosts: Hosts, process: asyncssh.SSHServerProcess[bytes]) -> None:
    machine = hosts.machine_at[process.get_extra_info("sockname")[0]]
    command = process.command or ""
    words = shlex.split(command)
    if _DIAL in command and (words == _DIAL.split() or words[:2] == ["sh", "-c"]):
        await serve(process.stdin, process.stdout, machine.name, hosts.swarm)
        process.exit(0)
        return
    script = (await process.stdin.read()).decode()
    settings = _settings(script)
    # whatever starts it: a shell that reads its script from stdin
    if command.startswith(("sh ", "exec sh ")) and settings is not None:
        process.stdout.write(hosts.probed(machine, settings))
        process.exit(0)
        return
    process.stderr.write(f"simulated host: cannot run {command!r} {script[:200]!r}\n".encode())
    process.exit(127)


def _settings(script: str) -> dict[str, str] | None:
    """The variables at the head of a probe; None for any other script."""
    head, _, rest = script.partition("\n")
    pairs = [pair.partition("=") for pair in head.split("; ")]
    if rest != probe.SCRIPT or not all(equals and name.isupper() for name, equals, _ in pairs):
        return None
    return {name: value for name, _, value in pairs}


async def _run(hosts: Hosts, key: str, host_key: Path, port: int) -> None:
    allowed = asyncssh.import_public_key(key)
    acceptor = await asyncssh.create_server(
        lambda: _Door(hosts, allowed),
        "0.0.0.0",
        port,
        backlog=4096,
        server_host_keys=[str(host_key)],
        process_factory=lambda process: _session(hosts, process),
        encoding=None,
        encryption_algs=_CIPHERS,
        kex_algs=_KEY_EXCHANGES,
        mac_algs=_MACS,
        compression_algs=None,
        login_timeout=600,
        agent_forwarding=False,
        gss_host=None,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    print(READY, flush=True)  # noqa: T201 - who started the server waits for it
    async with acceptor:
        await stop.wait()


def _end_with_stdin() -> None:
    """Whoever started the server holds the other end, and lets go of it however it ends."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _address(spec: MachineSpec) -> str:
    if spec.host is None:
        raise RuntimeError(f"{spec.name}: only hosts of the ssh driver can be simulated")
    return spec.host.private_address or spec.host.address


def _info(member: dict[str, object]) -> dict[str, object]:
    """What the probe's format string makes of `docker info`."""
    cluster = member.get("Cluster")
    return {
        "version": VERSION,
        "state": member["LocalNodeState"],
        "node_id": member["NodeID"],
        "manager": member["ControlAvailable"],
        "managers": member["RemoteManagers"],
        "error": member["Error"],
        "cluster_id": cluster["ID"] if isinstance(cluster, dict) else "",
        "errors": None,
    }


def _lines(key: str, value: str) -> str:
    if "\n" not in value:
        return f"{key} {value}\n"
    return "".join(f"+{key} {line}\n" for line in value.removesuffix("\n").split("\n"))


def main() -> None:
    """Serve until SIGTERM or the end of stdin; says `ready` on stdout when connections are taken."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulated", description=__doc__.splitlines()[0])
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--mode", choices=get_args(Mode), required=True)
    parser.add_argument("--key", type=Path, required=True, help="the public key that lets root in")
    parser.add_argument("--host-key", type=Path, required=True, help="the private host key that all hosts show")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    key = given.key.read_text().strip()
    hosts = Hosts(given.inventory, given.mode, key)
    asyncio.run(_run(hosts, key, given.host_key, given.port))


if __name__ == "__main__":
    main()
