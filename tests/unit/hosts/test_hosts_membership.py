"""What a host is to its swarm, by how its engine answers `GET /swarm` and by what it keeps on disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provision.hosts.membership import Answer, membership

NODE, CLUSTER = "0o9n8y7x6w5v4u3t2s1r0q9p8", "c1c2c3c4c5c6c7c8c9c0d1d2d"
SERVER = "Docker/20.10.24+dfsg1 (linux)"
OUTSIDE = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and'
    " try again."
)
WORKER = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this"
    " command on a manager node or promote the current node to a manager."
)


def certificate(node: str = NODE) -> str:
    """As swarmkit issues them: swarm-ca for the node, whose names are the cluster, the role and the id."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, CLUSTER),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-worker"),
            x509.NameAttribute(NameOID.COMMON_NAME, node),
        ]
    )
    now = datetime.now(UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
    made = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), 1, now, now + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("swarm-worker"), x509.DNSName(node)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def refused(message: str, status: int = 503) -> Answer:
    return Answer(status, SERVER, {"message": message})


def test_a_manager_is_told_the_swarm_by_its_engine_and_itself_by_its_certificate() -> None:
    assert membership(Answer(200, SERVER, {"ID": CLUSTER}), state=True, certificate=certificate()) == {
        "version": "20.10.24+dfsg1",
        "state": "active",
        "node_id": NODE,
        "manager": True,
        "cluster_id": CLUSTER,
    }


def test_a_worker() -> None:
    found = membership(refused(WORKER), state=True, certificate=certificate())
    assert found == {"version": "20.10.24+dfsg1", "state": "active", "node_id": NODE}


def test_the_first_certificate_of_a_chain_is_the_nodes() -> None:
    chain = certificate() + certificate("9" * 25)
    found = membership(refused(WORKER), state=True, certificate=chain)
    assert found is not None
    assert found["node_id"] == NODE


def test_outside() -> None:
    found = membership(refused(OUTSIDE), state=False, certificate="")
    assert found == {"version": "20.10.24+dfsg1", "state": "inactive"}


@pytest.mark.parametrize(
    ("answer", "state", "pem"),
    [
        pytest.param(refused(OUTSIDE), True, "", id="a join that goes on, or has failed"),
        pytest.param(refused(OUTSIDE), False, certificate(), id="a certificate of a swarm that it is not in"),
        pytest.param(refused(WORKER), False, "", id="the engine's folder is elsewhere"),
        pytest.param(refused(WORKER), True, certificate("swarm-ca"), id="not a node's id"),
        pytest.param(refused(WORKER), True, "-----BEGIN CERTIFICATE-----\n%%%\n-----END", id="not a certificate"),
        pytest.param(refused(WORKER), True, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END", id="a short one"),
        pytest.param(refused("Swarm is encrypted and needs to be unlocked"), True, certificate(), id="locked"),
        pytest.param(refused("The swarm does not have a leader", 500), True, certificate(), id="no leader"),
        pytest.param(Answer(200, SERVER, {}), True, certificate(), id="a swarm without an id"),
        pytest.param(Answer(200, "nginx", {"ID": CLUSTER}), True, certificate(), id="not an engine"),
    ],
)
def test_doubt(answer: Answer, state: bool, pem: str) -> None:
    assert membership(answer, state=state, certificate=pem) is None
