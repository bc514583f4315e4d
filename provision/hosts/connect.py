"""Opening SSH connections. The only place that knows fabric and paramiko's client.

Fabric as it comes accepts any host key, and paramiko leaves Nagle's algorithm on (44 ms a command). So the socket is
ours, the host key is judged by `Trust`, and fabric carries the session.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from provision.errors import HostKeyError, ProvisionError, UnreachableError
from provision.hosts.host import Host
from provision.hosts.target import Hop, Target
from provision.hosts.trust import Trust

if TYPE_CHECKING:
    import fabric
    import paramiko

#: seconds for the key exchange and the login, once TCP is up
_HANDSHAKE = 20.0
#: seconds for which a machine of ours that was made before may go on to refuse logins
_STILL_BOOTING = 20.0
#: milliseconds for which what we send may stay without an acknowledgement before the connection counts as broken
_SILENCE_MS = 30_000


class LoginRefusedError(ProvisionError):
    """The host answers and is the right one, but none of our keys may log in."""


class Connector:
    """Opens connections; keeps one to each jump host, which all machines behind it share. Thread-safe.

    `key` is the cluster's private key file (offered first, absent before it is made); `password` is tried last.
    """

    def __init__(
        self,
        *,
        key: str | None,
        password: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._key = key
        self._password = password
        self._clock = clock
        self._sleep = sleep
        self._hops: dict[tuple[Hop, ...], fabric.Connection] = {}
        self._lock = threading.RLock()
        self._pkey: paramiko.PKey | None = None

    def connect(
        self,
        target: Target,
        trust: Trust,
        *,
        seconds: float,
        boots: bool = False,
        stop: Callable[[], bool] = lambda: False,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> Host:
        """An open connection, as soon as the host takes one, within `seconds`.

        A machine that `boots` refuses logins at first, and one that we made may still boot: the refusals of the first
        are waited out, those of the second for a while, those of an adopted host not at all. Raises UnreachableError
        with the last cause, LoginRefusedError, HostKeyError (always at once). `waiting` is told each new cause; `stop`
        True ends the wait.
        """
        deadline = self._clock() + seconds
        refusals_end = deadline if boots else self._clock() + (_STILL_BOOTING if target.made else 0.0)
        pause, patience, cause = 0.05, 0.25, ""
        while True:
            try:
                left = max(deadline - self._clock(), 0.2)
                return self._open(target, trust, patience=min(patience, left), handshake=min(_HANDSHAKE, left + 1.0))
            except HostKeyError:
                raise
            except LoginRefusedError as refused:
                if self._clock() >= min(refusals_end, deadline) or stop():
                    raise
                problem: ProvisionError = refused
            except UnreachableError as unreachable:
                problem = unreachable
            if problem.summary != cause:
                cause = problem.summary
                waiting(cause)
            if stop() or self._clock() + pause >= deadline:
                if isinstance(problem, LoginRefusedError):
                    raise problem
                door = f"{target.user}@{target.address} port {target.port}"
                raise UnreachableError(
                    f"{target.machine}: no SSH connection to {door} within {seconds:.0f} s",
                    detail=f"last: {cause}",
                    hint=f"is the machine up, and does its firewall let SSH in? provision inspect {target.machine}",
                ) from problem
            self._sleep(pause)
            pause = min(pause * 1.3, 1.0)
            patience = min(patience * 2, 10.0)

    def close(self) -> None:
        """Close the connections to the jump hosts."""
        with self._lock:
            for connection in self._hops.values():
                connection.close()
            self._hops.clear()

    def _open(self, target: Target, trust: Trust, *, patience: float, handshake: float) -> Host:
        # before the import, which takes longer: the hosts' sshds start meanwhile
        sock = self._socket(target, patience)
        import paramiko

        try:
            connection = self._session(
                target.address,
                target.port,
                target.user,
                target.identity_files,
                sock,
                trust,
                everything=not target.made,
                handshake=handshake,
            )
        except HostKeyError:
            raise
        except paramiko.AuthenticationException as refused:
            raise _refused(target, refused) from refused
        except (paramiko.SSHException, OSError, EOFError) as failed:
            if "No authentication methods" in str(failed):  # we had nothing to offer, and waiting brings no key
                raise _refused(target, failed) from failed
            raise UnreachableError(f"SSH handshake failed: {failed or type(failed).__name__}") from failed
        return Host(target.machine, connection)

    def _session(
        self,
        address: str,
        port: int,
        user: str,
        identity_files: tuple[str, ...],
        sock: Any,
        trust: Trust,
        *,
        everything: bool,
        handshake: float = _HANDSHAKE,
    ) -> fabric.Connection:
        import fabric

        # its log repeats, on stderr, what is raised
        logging.getLogger("paramiko").addHandler(logging.NullHandler())
        connection = fabric.Connection(
            host=address,
            user=user,
            port=port,
            config=_fabric_config(),
            connect_kwargs={
                "sock": sock,
                "pkey": self._cluster_key(),
                "key_filename": list(identity_files),
                "password": self._password if everything else None,
                "allow_agent": everything,
                "look_for_keys": everything,
                "timeout": handshake,
                "banner_timeout": handshake,
                "auth_timeout": handshake,
                "transport_factory": _preferring(trust.key_types()),
            },
        )
        connection.client.set_missing_host_key_policy(_Judge(trust))
        try:
            connection.open()
        except BaseException:
            connection.client.close()
            sock.close()
            raise
        connection.transport.set_keepalive(15)
        return connection

    def _socket(self, target: Target, patience: float) -> Any:
        if target.proxy_command:
            import paramiko

            return paramiko.ProxyCommand(target.proxy_command)
        if target.hops:
            return self._through(target.hops, (target.address, target.port), patience)
        return _tcp(target.address, target.port, patience)

    def _through(self, hops: tuple[Hop, ...], destination: tuple[str, int], patience: float) -> Any:
        import paramiko

        connection = self._hop(hops)
        try:
            return connection.transport.open_channel("direct-tcpip", destination, ("", 0), timeout=max(patience, 5.0))
        except paramiko.SSHException as failed:
            raise UnreachableError(f"jump host {hops[-1].address} cannot reach {destination[0]}: {failed}") from failed

    def _hop(self, hops: tuple[Hop, ...]) -> fabric.Connection:
        with self._lock:  # held while it opens: the others wait for this one instead of opening theirs
            known = self._hops.get(hops)
            if known is not None and known.is_connected:
                return known
            self._hops[hops] = self._open_hop(hops)
            return self._hops[hops]

    def _open_hop(self, hops: tuple[Hop, ...]) -> fabric.Connection:
        import paramiko

        from provision.hosts import users_known_hosts

        hop = hops[-1]
        if hops[:-1]:
            sock: Any = self._through(hops[:-1], (hop.address, hop.port), _HANDSHAKE)
        else:
            sock = _tcp(hop.address, hop.port, _HANDSHAKE)
        files = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
        trust = Trust(
            machine=f"jump host {hop.alias}",
            users=users_known_hosts.lookup(files, hop.alias, hop.port),
            learn=f"log in to it once, compare the fingerprint and say yes: ssh -p {hop.port} {hop.user}@{hop.alias}",
        )
        try:
            return self._session(hop.address, hop.port, hop.user, hop.identity_files, sock, trust, everything=True)
        except paramiko.AuthenticationException as refused:
            raise LoginRefusedError(f"jump host {hop.alias} refuses {hop.user}'s login") from refused
        except (paramiko.SSHException, OSError, EOFError) as failed:
            raise UnreachableError(f"jump host {hop.alias}: {failed}") from failed

    def _cluster_key(self) -> paramiko.PKey | None:
        if self._pkey is None and self._key is not None:
            import paramiko

            self._pkey = paramiko.Ed25519Key.from_private_key_file(self._key)
        return self._pkey


def _tcp(address: str, port: int, patience: float) -> socket.socket:
    try:
        sock = socket.create_connection((address, port), timeout=patience)
    except socket.gaierror as failed:
        raise UnreachableError(f"the name {address!r} does not resolve: {failed.strerror}") from failed
    except TimeoutError as failed:
        raise UnreachableError("no answer") from failed
    except OSError as failed:
        raise UnreachableError((failed.strerror or str(failed)).lower()) from failed
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # a host that vanishes is noticed by the keepalive messages that nobody acknowledges, not after a quarter of an hour
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MS)
    return sock


def _refused(target: Target, refused: Exception) -> LoginRefusedError:
    hint = "which key opens it? set `identity_file:` under `ssh:`, load it with ssh-add, or use --ask-pass once"
    if target.made:
        hint = "it knows another key of the cluster: was the state lost? restore it, or provision down and up"
    return LoginRefusedError(
        f"{target.machine}: {target.user}@{target.address} refuses the login",
        detail=f"last: {refused}",
        hint=hint,
    )


def _fabric_config() -> Any:
    import fabric

    # the user's ssh config was read already, by `target`
    return fabric.Config(overrides={"load_ssh_configs": False}, lazy=True)


def _preferring(kinds: tuple[str, ...]) -> Callable[..., paramiko.Transport]:
    """A transport that asks for a host key of a kind that is known: else a server with several keys would show one
    that we cannot judge."""
    from provision.hosts.streamlocal import UnixTransport

    def make(sock: Any, **options: Any) -> paramiko.Transport:
        transport = UnixTransport(sock, **options)
        security = transport.get_security_options()
        wanted = [name for kind in kinds for name in _algorithms(kind) if name in security.key_types]
        security.key_types = [*wanted, *(name for name in security.key_types if name not in wanted)]
        return transport

    return make


def _algorithms(kind: str) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


class _Judge:
    """Paramiko's hook for a key that its own (empty) table does not have: every key comes here."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def missing_host_key(self, _client: paramiko.SSHClient, _name: str, key: paramiko.PKey) -> None:
        self._trust.check(f"{key.get_name()} {key.get_base64()}")
