"""Swarm's ports, open to the cluster's members and to nobody else, in an nftables table of our own.

2377/tcp is Swarm's management API, on managers; 7946/tcp and udp the gossip, 4789/udp (or the data path port) VXLAN.
Our table only drops: what another table drops (ufw, firewalld), it cannot accept. The plan warns of such tables.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.changes.few import few
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, write_file

_UNIT = f"""\
[Unit]
Description=Swarm ports, open to the members of the cluster only
DefaultDependencies=no
Before=network-pre.target docker.service
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {layout.RULES}
ExecStartPost=/bin/sh -c 'nft list table {layout.TABLE} | sha256sum >{layout.RULES_LOADED}'

[Install]
WantedBy=multi-user.target
"""


def changes(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Load our table and have it loaded at boot, where it differs from the target; or take it away."""
    if not desired.firewall:
        if facts.firewall.rules is None:
            return ()
        return (Change(fragment=Fragment("remove firewall", REMOVE), cause="firewall: none"),)
    target = rules(desired)
    cause = _cause(target, desired, facts)
    if cause is None:
        return ()
    body = [_written(target)]
    if not facts.firewall.enabled:
        body += [write_file(layout.FIREWALL_UNIT_FILE, _UNIT)]
        # what `systemctl enable` does, without having systemd read all of its units anew, twice: the next boot reads it
        body += [f"mkdir -p {layout.WANTS}", f"ln -sf ../{layout.FIREWALL_UNIT} {layout.WANTS}/"]
    body += [
        f"nft -f {layout.RULES}",
        f"nft list table {layout.TABLE} | sha256sum >{layout.RULES_LOADED}",
    ]
    return (Change(fragment=Fragment("write firewall", "\n".join(body)), cause=cause),)


@lru_cache(maxsize=4)
def _written(table: str) -> str:
    return write_file(layout.RULES, table)


REMOVE = "\n".join(
    (
        f"systemctl --quiet disable {layout.FIREWALL_UNIT} 2>/dev/null || true",
        f"rm -f {layout.FIREWALL_UNIT_FILE} {layout.RULES} {layout.RULES_LOADED}",
        "systemctl daemon-reload",
        f"if command -v nft >/dev/null; then nft delete table {layout.TABLE} 2>/dev/null || true; fi",
    )
)


def rules(desired: HostDesired) -> str:
    """The table as an nft script, which replaces the loaded one in a single transaction. Stable for equal targets."""
    return _table(desired.cluster, desired.members, desired.data_path_port, manager=desired.manager)


@lru_cache(maxsize=4)  # all hosts of a cluster have one of two tables, and sorting their members is what takes long
def _table(cluster: str, members: tuple[str, ...], data_path_port: int, *, manager: bool) -> str:
    management = ["2377"] if manager else []
    tcp = ", ".join([*management, "7946"])
    udp = f"{data_path_port}, 7946" if data_path_port < 7946 else f"7946, {data_path_port}"
    four, six = _by_family(members)
    return f"""\
# made by provision for cluster {cluster}; changes are overwritten
table {layout.TABLE}
delete table {layout.TABLE}
table {layout.TABLE} {{
    set members4 {{ type ipv4_addr; {_elements(four)}}}
    set members6 {{ type ipv6_addr; {_elements(six)}}}
    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iif "lo" accept
        ip saddr @members4 accept
        ip6 saddr @members6 accept
        tcp dport {{ {tcp} }} drop
        udp dport {{ {udp} }} drop
    }}
}}
"""


def members_of(rules_text: str | None) -> tuple[str, ...]:
    """The members that a table of ours lets in; none where there is no table."""
    found = re.findall(r"elements = \{ ([^}]*) \}", rules_text or "")
    return tuple(address for elements in found for address in elements.split(", "))


def _by_family(members: tuple[str, ...]) -> tuple[list[str], list[str]]:
    parsed = sorted({ipaddress.ip_address(member) for member in members}, key=lambda ip: (ip.version, int(ip)))
    return [str(ip) for ip in parsed if ip.version == 4], [str(ip) for ip in parsed if ip.version == 6]


def _elements(addresses: list[str]) -> str:
    return f"elements = {{ {', '.join(addresses)} }} " if addresses else ""


def _cause(target: str, desired: HostDesired, facts: HostFacts) -> str | None:
    if facts.firewall.rules is None:
        return "the swarm's ports are open to everybody"
    if facts.firewall.rules != target:
        return _difference(target, desired, facts.firewall.rules)
    if not facts.firewall.intact:
        return "the loaded table is not ours"
    if not facts.firewall.enabled:
        return "the table is not loaded at boot"
    return None


def _difference(target: str, desired: HostDesired, current: str) -> str:
    new = _newcomers(desired.members, current)
    if new:
        return "new members: " + few(new)
    if len(target) < len(current):
        return "members have left"
    return "the rules differ"


@lru_cache(maxsize=4)  # hosts that were left behind were so together: their tables are the same
def _newcomers(members: tuple[str, ...], current: str) -> tuple[str, ...]:
    there = frozenset(current.replace(",", " ").split())
    return tuple(member for member in members if member not in there)
