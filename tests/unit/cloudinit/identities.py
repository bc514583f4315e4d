"""Machines as drivers describe them to cloud-init."""

from __future__ import annotations

from provision.cloudinit.seed import Identity, Nic
from provision.driver import HostKeyPair

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl lab"
HOST_KEY = HostKeyPair(
    private="-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n",
    public="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF4kh2",
)
MAC = "52:54:00:0a:0b:0c"

PLAIN = Identity(name="lab-worker-1", instance_id="lab-worker-1-7f", authorized_keys=(KEY,), host_key=HOST_KEY)
STATIC = Nic(mac=MAC, addresses=("10.80.3.7/24",), gateway="10.80.3.1", nameservers=("10.80.3.1",))
FULL = Identity(
    name="lab-worker-1",
    instance_id="lab-worker-1-7f",
    user="ops",
    port=2222,
    authorized_keys=(KEY, KEY, "ssh-ed25519 AAAA2 someone's <key> & more é\n"),
    host_key=HOST_KEY,
    nics=(
        STATIC,
        Nic(mac="52:54:00:0A:0B:0D", addresses=("fd00:1::7/64",), gateway="fd00:1::1", name="lan", optional=True),
        Nic(mac="52:54:00:0a:0b:0e"),
    ),
    hosts={"192.0.2.9": "registry.example registry"},
    domain="lab.internal",
)
BARE = Identity(name="lab-worker-1", instance_id="lab-worker-1-7f")
