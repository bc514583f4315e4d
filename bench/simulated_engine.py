"""The Engine API of simulated hosts: what observing a swarm asks of a manager, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from provision.driver import Role
from provision.planning.wanted import Wanted

VERSION = "24.0.7"
_API = "1.43"
_CREATED = "2024-01-01T00:00:00.000000000Z"
_MANAGEMENT_PORT = 2377
#: how an engine refuses `GET /swarm`
_OUTSIDE = 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to join one.'
_WORKER = "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state."
#: what every engine lists of itself; it makes an answer about a node as long as a real one
_PLUGINS = [
    *({"Type": "Log", "Name": name} for name in ("awslogs", "fluentd", "gcplogs", "gelf", "journald", "json-file")),
    *({"Type": "Log", "Name": name} for name in ("local", "logentries", "splunk", "syslog")),
    *({"Type": "Network", "Name": name} for name in ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")),
    {"Type": "Volume", "Name": "local"},
]
#: the PEM of the swarm's CA and the digests of issuer and subject, by their usual length
_TLS = {"TrustRoot": "A" * 570, "CertIssuerSubject": "A" * 28, "CertIssuerPublicKey": "A" * 124}


class Reader(Protocol):
    """The part of asyncssh's reader that is used."""

    async def readuntil(self, separator: bytes) -> bytes:
        """Bytes up to and with the separator; IncompleteReadError at the end."""
        ...

    async def readexactly(self, n: int) -> bytes:
        """That many bytes; IncompleteReadError at the end."""
        ...


class Writer(Protocol):
    """The part of asyncssh's writer that is used."""

    def write(self, data: bytes) -> None:
        """Send, at some time."""
        ...

    async def drain(self) -> None:
        """Wait while too much is on its way."""
        ...


class Swarm:
    """The swarm that the wanted machines form when all is as wanted: answers to what its members are asked."""

    cluster_id = "simulated0000000000000000"

    def __init__(self, wanted: Wanted, addresses: Mapping[str, str]) -> None:
        self.ids = {name: f"node{number:021d}" for number, name in enumerate(wanted.names, 1)}
        self.manager_names = frozenset(wanted.managers)
        self.managers = [
            {"NodeID": self.ids[name], "Addr": f"{addresses[name]}:{_MANAGEMENT_PORT}"} for name in wanted.managers
        ]
        leader = wanted.managers[0]
        nodes = [
            _node(wanted, spec.name, self.ids[spec.name], addresses[spec.name], number, leader=spec.name == leader)
            for number, spec in enumerate(wanted, 1)
        ]
        self._nodes = json.dumps(nodes).encode()
        self._key = Ed25519PrivateKey.generate()

    def info(self, machine: str) -> dict[str, Any]:
        """`.Swarm` of `GET /info` at a member."""
        found: dict[str, Any] = {
            "LocalNodeState": "active",
            "NodeID": self.ids[machine],
            "ControlAvailable": machine in self.manager_names,
            "RemoteManagers": self.managers,
            "Error": "",
        }
        if machine in self.manager_names:
            found |= {"Cluster": {"ID": self.cluster_id}, "Nodes": len(self.ids), "Managers": len(self.managers)}
        return found

    def certificate(self, machine: str) -> str:
        """The node's certificate as swarmkit issues it, PEM. Nobody checks it; its names say who the node is."""
        names = ((NameOID.ORGANIZATION_NAME, self.cluster_id), (NameOID.COMMON_NAME, self.ids[machine]))
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
        begins = datetime(2026, 1, 1, tzinfo=UTC)
        builder = x509.CertificateBuilder(issuer, subject, self._key.public_key(), 1, begins, begins + timedelta(90))
        return builder.sign(self._key, None).public_bytes(serialization.Encoding.PEM).decode()

    def nodes(self) -> bytes:
        """The body of `GET /nodes`."""
        return self._nodes


def outsider() -> dict[str, Any]:
    """`.Swarm` of `GET /info` at an engine that is in no swarm."""
    return {"LocalNodeState": "inactive", "NodeID": "", "ControlAvailable": False, "RemoteManagers": None, "Error": ""}


async def serve(reader: Reader, writer: Writer, machine: str, swarm: Swarm | None) -> None:
    """Answer requests, one after another, until the client ends. `swarm` None: the engine is in none."""
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(_length(head))
        except asyncio.IncompleteReadError:
            return
        method, target, version = head.split("\r\n", 1)[0].split(" ")
        status, body = _answer(method, urlsplit(target).path, machine, swarm)
        writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\nApi-Version: {_API}\r\nContent-Type: application/json\r\n"
            f"Server: Docker/{VERSION} (linux)\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        writer.write(body)
        await writer.drain()
        if version == "HTTP/1.0":  # one request a connection, and its end is the answer's
            return


def _length(head: str) -> int:
    fields = (line.partition(":") for line in head.split("\r\n")[1:])
    return next((int(value) for name, _, value in fields if name.lower() == "content-length"), 0)


def _answer(method: str, path: str, machine: str, swarm: Swarm | None) -> tuple[HTTPStatus, bytes]:
    call = f"{method} /{path.removeprefix('/').partition('/')[2] if path.startswith('/v1.') else path.strip('/')}"
    if call == "GET /version":
        return HTTPStatus.OK, _json({"Version": VERSION, "ApiVersion": _API, "MinAPIVersion": "1.12"})
    if call == "GET /info":
        state = swarm.info(machine) if swarm else outsider()
        return HTTPStatus.OK, _json({"Name": machine, "ServerVersion": VERSION, "Swarm": state})
    if call == "GET /swarm" and swarm is not None and machine in swarm.manager_names:
        return HTTPStatus.OK, _json({"ID": swarm.cluster_id})
    if call == "GET /swarm":
        return HTTPStatus.SERVICE_UNAVAILABLE, _json({"message": _OUTSIDE if swarm is None else _WORKER})
    if call in ("GET /nodes", "GET /services", "GET /configs"):
        if swarm is None or machine not in swarm.manager_names:
            return HTTPStatus.SERVICE_UNAVAILABLE, _json({"message": "This node is not a swarm manager."})
        return HTTPStatus.OK, swarm.nodes() if call == "GET /nodes" else b"[]"
    return HTTPStatus.NOT_IMPLEMENTED, _json({"message": f"the simulated engine does not know {call}"})


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _node(wanted: Wanted, machine: str, node_id: str, address: str, number: int, *, leader: bool) -> dict[str, Any]:
    target = wanted.node(wanted.specs[number - 1])
    found: dict[str, Any] = {
        "ID": node_id,
        "Version": {"Index": 10 * number},
        "CreatedAt": _CREATED,
        "UpdatedAt": _CREATED,
        "Spec": {
            "Labels": dict(target.labels),
            "Role": str(target.role),
            "Availability": str(target.availability),
        },
        "Description": {
            "Hostname": machine,
            "Platform": {"Architecture": "x86_64", "OS": "linux"},
            "Resources": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 4 << 30},
            "Engine": {"EngineVersion": VERSION, "Plugins": _PLUGINS},
            "TLSInfo": _TLS,
        },
        "Status": {"State": "ready", "Addr": address},
    }
    if target.role is Role.MANAGER:
        manager = {"Reachability": "reachable", "Addr": f"{address}:{_MANAGEMENT_PORT}"}
        found["ManagerStatus"] = {"Leader": True, **manager} if leader else manager
    return found
