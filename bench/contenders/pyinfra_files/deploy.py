"""The work as a pyinfra deploy; what it knows of the hosts is written by pyinfra.py beside this folder."""

from io import StringIO

import swarm
from pyinfra import host, inventory
from pyinfra.operations import files, server, systemd

TABLE_FILE = "/etc/nftables-swarm.nft"

server.hostname(name="hostname", hostname=host.name)
files.line(name="hosts file", path="/etc/hosts", line=r"^127\.0\.1\.1[[:space:]].*$", replace=f"127.0.1.1 {host.name}")
table = files.put(name="nftables file", src=StringIO(host.data.table), dest=TABLE_FILE, create_remote_dir=False)
server.shell(name="nftables table", commands=[f"nft -f {TABLE_FILE}"], _if=table.did_change)
daemon = files.put(
    name="daemon.json", src=StringIO(host.data.daemon), dest="/etc/docker/daemon.json", create_remote_dir=False
)
systemd.service(name="restart docker", service="docker", restarted=True, _if=daemon.did_change)

leader = inventory.get_host(host.data.leader)
if host.name == leader.name:
    swarm.init(name="init", advertise=host.data.ssh_hostname)
else:
    swarm.join(
        name="join",
        advertise=host.data.ssh_hostname,
        role=host.data.role,
        leader=leader,
        address=leader.data.ssh_hostname,
    )

WAIT = """
deadline=$(($(date +%s) + 60))
until ready=$(docker node ls --format '{{.Status}}' | grep -cx Ready || true); [ "$ready" -eq NODES ]; do
    [ "$(date +%s)" -lt "$deadline" ] || { echo "$ready of NODES nodes are ready" >&2; exit 1; }
    sleep 0.1
done
""".replace("NODES", str(len(inventory)))
if host.name == leader.name:
    server.shell(name="wait for all nodes", commands=[WAIT])
