"""Opening connections, against a real SSH server on loopback."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
import pytest
from ssh_server import SshServer, line_of, new_key

from provision.errors import HostKeyError, UnreachableError
from provision.hosts.connect import Connector, LoginRefusedError
from provision.hosts.host import Host
from provision.hosts.target import Hop, Target
from provision.hosts.trust import Trust


@dataclass
class Client:
    """The cluster's key, and what it takes to connect to a server with it."""

    key_file: str
    public: str
    home: Path
    opened: list[Host | Connector] = field(default_factory=list)

    def connector(self, **fields: Any) -> Connector:
        made = Connector(**{"key": self.key_file, **fields})
        self.opened.append(made)
        return made

    def connect(
        self,
        server: SshServer,
        *,
        made: bool = False,
        seconds: float = 5.0,
        connector: Connector | None = None,
        **more: Any,
    ) -> Host:
        known = more.pop("stated", tuple(line_of(key) for key in server.host_keys))
        host = (connector or self.connector()).connect(
            target(server.port, made=made, hops=more.pop("hops", ())),
            Trust(machine="web1", stated=known),
            seconds=seconds,
            **more,
        )
        self.opened.append(host)
        return host

    def trust(self, server: SshServer, *, known: bool = True) -> None:
        """Put the server's key (or another) into the user's known_hosts."""
        key = server.host_keys[0] if known else new_key()
        file = self.home / ".ssh" / "known_hosts"
        file.parent.mkdir(exist_ok=True)
        with file.open("a") as lines:
            lines.write(f"[127.0.0.1]:{server.port} {line_of(key)}\n")


def target(port: int, *, made: bool = False, hops: tuple[Hop, ...] = ()) -> Target:
    return Target(machine="web1", address="127.0.0.1", port=port, user="root", alias="127.0.0.1", made=made, hops=hops)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=20)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    made = Client(str(key), public, tmp_path)
    yield made
    for thing in reversed(made.opened):
        thing.close()


@pytest.fixture
def server(client: Client) -> Iterator[SshServer]:
    with SshServer(keys={client.public}).running() as running:
        yield running


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_cluster_key_opens_a_host(client: Client, server: SshServer) -> None:
    host = client.connect(server)
    assert host.alive
    assert host.run(("echo", "hello"), seconds=5.0).stdout == "hello\n"
    assert server.logins == ["root"]
    host.close()
    assert not host.alive


@pytest.mark.parametrize("made", [True, False])
def test_a_wrong_host_key_stops_at_once_and_before_any_login(client: Client, server: SshServer, made: bool) -> None:
    began = time.monotonic()
    with pytest.raises(HostKeyError, match="has changed"):
        client.connect(server, made=made, seconds=60.0, stated=(line_of(new_key()),))
    assert time.monotonic() - began < 10.0
    assert (server.attempts, server.connections) == (0, 1)


def test_a_key_of_the_known_type_is_asked_for(client: Client) -> None:
    """The server would rather show its other key."""
    ecdsa, rsa = new_key(), paramiko.RSAKey.generate(2048)
    with SshServer(host_keys=[ecdsa, rsa], keys={client.public}).running() as server:
        for key in (ecdsa, rsa):
            assert client.connect(server, stated=(line_of(key),)).alive


def test_a_machine_that_boots_refuses_the_login_at_first(client: Client) -> None:
    with SshServer(keys={client.public}, refuse_first=2).running() as server:
        causes: list[str] = []
        host = client.connect(server, made=True, waiting=causes.append)
        assert host.alive
    assert causes == ["web1: root@127.0.0.1 refuses the login"]


def test_a_made_machine_that_never_lets_us_in_refuses_the_login_at_the_deadline(client: Client) -> None:
    refused = pytest.raises(LoginRefusedError, match=r"root@127\.0\.0\.1 refuses the login")
    with SshServer().running() as server, refused as caught:
        client.connect(server, made=True, seconds=0.6)
    assert "was the state lost?" in caught.value.hint
    assert server.connections > 1


@pytest.mark.parametrize("key", [True, False])
def test_an_adopted_host_that_refuses_the_login_is_told_at_once(client: Client, key: bool) -> None:
    """With a key that does not open it, and with no key at all."""
    with SshServer().running() as server:
        began = time.monotonic()
        connector = client.connector() if key else client.connector(key=None)
        with pytest.raises(LoginRefusedError, match="refuses the login") as caught:
            client.connect(server, seconds=60.0, connector=connector)
    assert time.monotonic() - began < 10.0
    assert server.connections == 1
    assert "--ask-pass" in str(caught.value)


def test_a_password_opens_what_no_key_opens(client: Client) -> None:
    with SshServer(password="open sesame").running() as server:
        assert client.connect(server, connector=client.connector(password="open sesame")).alive


def test_a_password_is_never_offered_to_a_made_machine(client: Client) -> None:
    with SshServer(password="open sesame").running() as server, pytest.raises(LoginRefusedError):
        client.connect(server, made=True, seconds=0.5, connector=client.connector(password="open sesame"))
    assert server.logins == []


def test_nothing_that_listens_is_unreachable_with_the_last_cause(client: Client) -> None:
    server = SshServer(port=free_port())
    began = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        client.connect(server, seconds=0.5)
    assert 0.3 < time.monotonic() - began < 5.0
    assert "last: connection refused" in str(caught.value)


def test_a_name_that_does_not_resolve_is_told_so(client: Client) -> None:
    wrong = Target(machine="web1", address="no-such-host.invalid", port=22, user="root", alias="x", made=False)
    with pytest.raises(UnreachableError, match="no SSH connection") as caught:
        client.connector().connect(wrong, Trust(machine="web1"), seconds=0.3)
    assert "last: the name 'no-such-host.invalid' does not resolve" in str(caught.value)


def test_a_port_that_is_no_ssh_server_is_unreachable(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UnreachableError) as caught:
            client.connect(SshServer(port=listener.getsockname()[1]), seconds=0.5)
        listener.shutdown(socket.SHUT_RDWR)
    assert "last: SSH handshake failed" in str(caught.value)


def test_a_host_is_connected_to_as_soon_as_it_listens(client: Client) -> None:
    port = free_port()
    causes: list[str] = []
    late = SshServer(keys={client.public})
    late.port = port
    found: list[Host] = []
    waiting = threading.Thread(
        target=lambda: found.append(client.connect(late, made=True, seconds=20.0, waiting=causes.append))
    )
    waiting.start()
    time.sleep(0.4)
    with late.running(port):
        waiting.join(timeout=20.0)
        assert found and found[0].alive
        assert causes == ["connection refused"]
        client.opened.remove(found[0])
        found[0].close()


def test_stop_ends_the_wait(client: Client) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        client.connect(SshServer(port=free_port()), seconds=60.0, stop=lambda: True)
    assert time.monotonic() - began < 5.0


# --- jump hosts ---


def hop(server: SshServer) -> Hop:
    return Hop(address="127.0.0.1", port=server.port, user="jumper", alias="127.0.0.1")


def test_all_machines_behind_a_jump_host_share_its_connection(client: Client, server: SshServer) -> None:
    with SshServer(keys={client.public}).running() as bastion:
        client.trust(bastion)
        connector = client.connector()
        for _ in range(3):
            host = client.connect(server, hops=(hop(bastion),), connector=connector)
            assert host.run(("echo", "behind"), seconds=5.0).stdout == "behind\n"
        assert bastion.logins == ["jumper"]
        assert len(server.logins) == 3
        connector.close()


def test_two_jump_hosts_are_passed_in_order(client: Client, server: SshServer) -> None:
    with SshServer(keys={client.public}).running() as outer, SshServer(keys={client.public}).running() as inner:
        client.trust(outer)
        client.trust(inner)
        host = client.connect(server, hops=(hop(outer), hop(inner)))
        assert host.run(("echo", "far"), seconds=5.0).stdout == "far\n"
        assert (outer.logins, inner.logins) == (["jumper"], ["jumper"])
        host.close()
        client.opened[0].close()


@pytest.mark.parametrize(("known", "words"), [(None, "is not known"), (False, "has changed")])
def test_a_jump_hosts_key_is_checked_too(client: Client, server: SshServer, known: bool | None, words: str) -> None:
    with SshServer(keys={client.public}).running() as bastion:
        if known is not None:
            client.trust(bastion, known=known)
        with pytest.raises(HostKeyError, match=f"jump host 127.0.0.1: .*{words}"):
            client.connect(server, hops=(hop(bastion),), seconds=60.0)
        assert bastion.attempts == 0


def test_a_jump_host_that_cannot_reach_the_machine_is_named(client: Client) -> None:
    with SshServer(keys={client.public}).running() as bastion:
        client.trust(bastion)
        with pytest.raises(UnreachableError) as caught:
            client.connect(SshServer(port=free_port()), hops=(hop(bastion),), seconds=0.5)
        assert "last: jump host 127.0.0.1 cannot reach 127.0.0.1" in str(caught.value)


def test_a_jump_host_that_cannot_reach_the_next_is_named(client: Client, server: SshServer) -> None:
    with SshServer(keys={client.public}).running() as bastion:
        client.trust(bastion)
        gone = Hop(address="127.0.0.1", port=free_port(), user="jumper", alias="127.0.0.1")
        with pytest.raises(UnreachableError) as caught:
            client.connect(server, hops=(hop(bastion), gone), seconds=0.5)
        assert "last: jump host 127.0.0.1 cannot reach 127.0.0.1" in str(caught.value)


def test_a_jump_host_that_refuses_us_is_named(client: Client, server: SshServer) -> None:
    with SshServer().running() as bastion:
        client.trust(bastion)
        with pytest.raises(LoginRefusedError, match=r"jump host 127\.0\.0\.1 refuses jumper's login"):
            client.connect(server, hops=(hop(bastion),), seconds=60.0)
