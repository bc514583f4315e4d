"""The system's ssh logs in with what was rendered, and refuses a host whose key is another one."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from provision.client.ssh_config import render
from provision.driver import HostKeyPair, Machine, MachineState
from provision.state.keys import ensure_cluster_key, new_host_key
from provision.state.known_hosts import KnownHosts
from provision.state.paths import ClusterPaths

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is missing")


class Host(paramiko.ServerInterface):
    """Admits one public key, and answers every command with `hello`."""

    def __init__(self, admitted: str) -> None:
        self._admitted = admitted.split()[1]

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = username == "ops" and key.get_base64() == self._admitted
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=answer, args=(channel,), daemon=True).start()
        return True


def answer(channel: paramiko.Channel) -> None:
    channel.sendall(b"hello\n")
    channel.send_exit_status(0)
    channel.close()


@contextmanager
def host(key: HostKeyPair, admitted: str) -> Iterator[int]:
    """A host for one connection on the loopback; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        transports: list[paramiko.Transport] = []

        def serve() -> None:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(paramiko.Ed25519Key.from_private_key(io.StringIO(key.private)))
            try:
                transport.start_server(server=Host(admitted))
            except (paramiko.SSHException, EOFError):
                return  # the client did not like our key, and left

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(20)
            for transport in transports:
                transport.close()


def login(paths: ClusterPaths, *, known: HostKeyPair, real: HostKeyPair) -> subprocess.CompletedProcess[str]:
    _, public = ensure_cluster_key(paths)
    with host(real, public) as port:
        machine = Machine(
            cluster="lab",
            name="lab-worker-1",
            group="worker",
            number=1,
            driver="ssh",
            state=MachineState.RUNNING,
            address="127.0.0.1",
            user="ops",
            port=port,
        )
        # pinned under another address: the name alone has to do
        KnownHosts(paths.known_hosts).pin("lab-worker-1", address="10.0.0.1", port=22, keys=[known.public])
        paths.ssh_config.write_text(render(paths, [machine]))
        return subprocess.run(
            ["ssh", "-F", str(paths.ssh_config), "lab-worker-1", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.mark.parametrize("folder", ["state", "my state 100%"])
def test_ssh_logs_in_by_the_machines_name(tmp_path: Path, folder: str) -> None:
    key = new_host_key()
    done = login(ClusterPaths(tmp_path / folder, "lab"), known=key, real=key)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_ssh_refuses_a_host_with_another_key(tmp_path: Path) -> None:
    done = login(ClusterPaths(tmp_path / "state", "lab"), known=new_host_key(), real=new_host_key())
    assert done.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr
    assert done.stdout == ""
