"""The way out for a cluster's machines: an nftables table of its own, and a word with the host's firewall."""

from __future__ import annotations

from pathlib import Path

from provision.errors import DriverError
from provision_nspawn.commands import Commands
from provision_nspawn.layout import KernelNames
from provision_nspawn.network import has_default_route
from provision_nspawn.records import ClusterRecord

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def nat_table(names: KernelNames, cluster: ClusterRecord) -> str:
    """What `nft -f` reads: the table made anew, in one transaction."""
    return (
        f"table ip {names.table}\n"
        f"delete table ip {names.table}\n"
        f"table ip {names.table} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat\n"
        f'    ip saddr {cluster.network} oifname != "{names.bridge}" masquerade\n'
        "  }\n"
        "}\n"
    )


def ensure_nat(names: KernelNames, cluster: ClusterRecord, commands: Commands) -> None:
    """Let the machines out, where this machine has a default route itself; always let them reach each other.

    Forwarding, once on, is left on when the cluster goes: others may have come to rely on it.
    """
    commands.run("nft", "-f", "-", stdin=nat_table(names, cluster))
    if has_default_route(commands) and _FORWARD.read_text().strip() == "0":
        _FORWARD.write_text("1")
    for chain, rule in _accepts(names, commands):
        if commands.attempt("iptables", "-w", "-C", chain, *rule).returncode != 0:
            commands.run("iptables", "-w", "-I", chain, *rule)


def remove_nat(names: KernelNames, commands: Commands) -> None:
    """Take back what `ensure_nat` put there; gone already is fine."""
    commands.run("nft", "-f", "-", stdin=f"table ip {names.table}\ndelete table ip {names.table}\n")
    for chain, rule in _accepts(names, commands):
        while commands.attempt("iptables", "-w", "-D", chain, *rule).returncode == 0:
            pass


def _accepts(names: KernelNames, commands: Commands) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Rules for a host whose iptables drops what is forwarded, as Docker and ufw set it up.

    An accept in a table of ours would not help: a packet must pass every table. Docker's bridge filter also sends
    frames between two machines of a bridge through that chain. A firewall that drops in nftables tables of its own
    (firewalld, a hand-written one) is out of reach: its owner must let the bridge through.
    """
    try:
        chains = commands.attempt("iptables", "-w", "-S")
    except DriverError:
        return ()
    lines = chains.stdout.splitlines()
    chain = "DOCKER-USER" if "-N DOCKER-USER" in lines else "FORWARD"
    if chains.returncode != 0 or ("-P FORWARD ACCEPT" in lines and chain == "FORWARD"):
        return ()
    ours = ("-m", "comment", "--comment", names.table, "-j", "ACCEPT")
    answers = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
    return ((chain, ("-i", names.bridge, *ours)), (chain, ("-o", names.bridge, *answers, *ours)))
