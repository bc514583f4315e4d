"""The way out for a cluster's machines: an nftables table of its own, and a word with the host's firewall."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from provision.local.commands import SEARCH_PATH, Commands
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
    rules = _iptables(commands)
    if not any(names.table in rule for rule in rules):
        for argv in accept_rules(names, rules):
            commands.run("iptables", "-w", *argv)


def remove_nat(names: KernelNames, commands: Commands) -> None:
    """Take back what `ensure_nat` put there; gone already is fine."""
    commands.run("nft", "-f", "-", stdin=f"table ip {names.table}\ndelete table ip {names.table}\n")
    for rule in _iptables(commands):
        words = shlex.split(rule)
        if names.table in words and words[0] == "-A":
            commands.run("iptables", "-w", "-D", *words[1:])


def accept_rules(names: KernelNames, rules: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """What to tell iptables, given its rules, where it drops what is forwarded, as Docker and ufw set it up.

    An accept in a table of ours would not help: a packet must pass every table. Docker's bridge filter also sends
    frames between two machines of a bridge through that chain. A firewall that drops in nftables tables of its own
    (firewalld, a hand-written one) is out of reach: its owner must let the bridge through.
    """
    chain = "DOCKER-USER" if "-N DOCKER-USER" in rules else "FORWARD"
    if chain == "FORWARD" and "-P FORWARD DROP" not in rules:
        return ()
    ours = ("-m", "comment", "--comment", names.table, "-j", "ACCEPT")
    answers = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
    return (("-I", chain, "-i", names.bridge, *ours), ("-I", chain, "-o", names.bridge, *answers, *ours))


def _iptables(commands: Commands) -> Sequence[str]:
    """The rules of iptables' filter table as it prints them; none where it is not installed or not in use."""
    if shutil.which("iptables", path=SEARCH_PATH) is None:
        return ()
    done = commands.attempt("iptables", "-w", "-S")
    return done.stdout.splitlines() if done.returncode == 0 else ()
