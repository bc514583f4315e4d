"""What a host is to its swarm, from an answer that costs its engine nothing.

`GET /info` has the engine start runc, docker-init and containerd's client to ask for their versions: 25 ms of a host's
CPU. `GET /swarm` is answered at once, and how it is refused says the rest; the node's id and its certificate are in the
engine's folder. Where the two do not fit together, None: then `/info` has to be asked.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: how an engine refuses `GET /swarm` that is no manager: in no swarm, or as a worker
_OUTSIDE = 'Use "docker swarm init" or "docker swarm join"'
_WORKER = "Worker nodes can't be used to view or modify cluster state"
#: the name's OID in a certificate, id-at-commonName (RFC 5280, appendix A)
_COMMON_NAME = b"\x06\x03\x55\x04\x03"
_NODE_ID = re.compile(r"[a-z0-9]{25}")
_SERVER = re.compile(r"Docker/(\S+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the Engine API: HTTP status, the Server header, the JSON object."""

    status: int
    server: str
    body: Mapping[str, Any]


def membership(answer: Answer, *, state: bool, certificate: str) -> dict[str, Any] | None:
    """The engine's facts, with the keys of `probe.INFO`; None where only `/info` can tell.

    `answer` is the engine's to `GET /swarm`; `state` whether the engine keeps a swarm's state on disk; `certificate`
    the node's, PEM, "" where there is none. `managers` and `error` are left out: `/info` alone knows them.
    """
    server = _SERVER.match(answer.server)
    if server is None:
        return None
    version, node_id = server[1], _node_id(certificate)
    if answer.status == 200 and node_id and answer.body.get("ID"):
        return {
            "version": version,
            "state": "active",
            "node_id": node_id,
            "manager": True,
            "cluster_id": answer.body["ID"],
        }
    refused = _message(answer.body)
    if answer.status != 503:
        return None
    if _OUTSIDE in refused and not state and not certificate:
        return {"version": version, "state": "inactive"}
    if _WORKER in refused and state and node_id:
        return {"version": version, "state": "active", "node_id": node_id}
    return None


def _message(body: Mapping[str, Any]) -> str:
    return str(body.get("message", ""))


def _node_id(certificate: str) -> str:
    """The subject's common name of the first certificate; the issuer's stands before it. "" where that is no node."""
    block = certificate.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
    try:
        der = binascii.a2b_base64(block)
    except binascii.Error:
        return ""
    place = der.rfind(_COMMON_NAME) + len(_COMMON_NAME)
    length = der[place + 1] if place + 1 < len(der) else 0
    name = der[place + 2 : place + 2 + length].decode(errors="replace")
    return name if _NODE_ID.fullmatch(name) else ""
