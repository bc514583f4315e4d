"""The one question that a host is asked, and the parser of its answer.

The script only reads. It prints a line per fact: a key, a space, the value; values of more than one line come in
base64. Everything that is missing is left out, so the parser's defaults say what absence means.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from provision.errors import ProvisionError
from provision.hosts import layout
from provision.hosts.facts import EngineFacts, FirewallFacts, HostFacts, NodeFacts

_INFO = (
    '{"version":{{json .ServerVersion}},"state":{{json .Swarm.LocalNodeState}},"node_id":{{json .Swarm.NodeID}},'
    '"manager":{{json .Swarm.ControlAvailable}},"managers":{{json .Swarm.RemoteManagers}},'
    '"error":{{json .Swarm.Error}},'
    '"cluster_id":{{if .Swarm.Cluster}}{{json .Swarm.Cluster.ID}}{{else}}""{{end}}}'
)

SCRIPT = f"""\
LC_ALL=C; PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin; export LC_ALL PATH
say() {{ printf '%s %s\\n' "$1" "$2"; }}
text() {{ [ -r "$2" ] && say "$1" "$(base64 -w0 <"$2")"; }}
user=${{SUDO_USER:-$(id -un)}}
say user "$user"
say groups "$(id -nG "$user")"
getent group docker >/dev/null && say docker_group yes
read -r name </proc/sys/kernel/hostname; say hostname "$name"
read -r release </proc/sys/kernel/osrelease; say kernel "$release"
say architecture "$(uname -m)"
say cpus "$(nproc)"
say clock "$(date +%s.%N)"
text machine_id /etc/machine-id
text os_release /etc/os-release
text meminfo /proc/meminfo
say addresses "$(ip -o addr show scope global | base64 -w0)"
text owner {layout.OWNER}
text authorized_keys "$(getent passwd "$user" | cut -d: -f6)/.ssh/authorized_keys"
[ -d /run/systemd/system ] && say systemd yes
if [ -e /proc/net/ip_vs ] || modprobe -qn ip_vs 2>/dev/null; then say ipvs yes; fi
if [ -d /sys/module/vxlan ] || modprobe -qn vxlan 2>/dev/null; then say vxlan yes; fi
if command -v nft >/dev/null; then
  say nft yes
  text rules {layout.RULES}
  say chains "$(nft list chains 2>/dev/null | base64 -w0)"
  if [ -r {layout.RULES_LOADED} ]; then
    read -r loaded <{layout.RULES_LOADED}
    [ "$(nft list table {layout.TABLE} 2>/dev/null | sha256sum)" = "$loaded" ] && say intact yes
  fi
  [ -e {layout.WANTS}/{layout.FIREWALL_UNIT} ] && say rules_enabled yes
fi
text daemon_json {layout.DAEMON_JSON}
text daemon_json_before {layout.DAEMON_BEFORE}
[ -e {layout.DAEMON_PENDING} ] && say daemon_pending yes
if command -v dockerd >/dev/null; then
  say engine yes
  [ -n "$ENGINE" ] && info=$(timeout 15 docker info --format '{_INFO}' 2>/dev/null) &&
    say info "$(printf %s "$info" | base64 -w0)"
  [ -n "$IMAGES" ] && say images "$(timeout 15 docker image ls -q --no-trunc | base64 -w0)"
fi
say end yes
"""


#: what every host has an answer to
_ALWAYS = {"user", "hostname", "kernel", "architecture", "cpus", "clock"}


def script(*, images: bool = False, engine: bool = True) -> str:
    """The probe as a POSIX shell script; with `images` it lists the engine's images too (a second engine call).

    `engine` False: what the engine says is asked of it in another way, and handed to `parse`.
    """
    return f"IMAGES={'yes' if images else ''}; ENGINE={'yes' if engine else ''}\n{SCRIPT}"


def parse(machine: str, output: str, info: Mapping[str, Any] | None = None) -> HostFacts:
    """The facts of `machine` from the script's output. Raises ProvisionError when the output is not whole.

    `info` is the engine's answer to `GET /info`, where it was asked by itself.
    """
    said = {key: value for key, _, value in (line.partition(" ") for line in output.splitlines())}
    if said.get("end") != "yes" or not said.keys() >= _ALWAYS:
        raise ProvisionError(f"{machine}: the probe's answer is not whole", detail=output[-400:])
    os_release = _assignments(_text(said, "os_release"))
    return HostFacts(
        machine=machine,
        user=said["user"],
        hostname=said["hostname"],
        machine_id=_text(said, "machine_id").strip(),
        os_id=os_release.get("ID", ""),
        os_version=os_release.get("VERSION_ID", ""),
        os_like=tuple(os_release.get("ID_LIKE", "").split()),
        kernel=said["kernel"],
        architecture=said["architecture"],
        cpus=int(said["cpus"]),
        memory=_memory(_text(said, "meminfo")),
        clock=float(said["clock"]),
        addresses=_addresses(_text(said, "addresses")),
        owner=_json(_text(said, "owner")),
        authorized_keys=tuple(line.strip() for line in _text(said, "authorized_keys").splitlines() if line.strip()),
        engine=_engine(said, info),
        firewall=_firewall(said),
        ipvs="ipvs" in said,
        vxlan="vxlan" in said,
        systemd="systemd" in said,
        groups=tuple(said.get("groups", "").split()),
        docker_group="docker_group" in said,
    )


def _text(said: dict[str, str], key: str) -> str:
    return base64.b64decode(said.get(key, "")).decode(errors="replace")


def _optional(said: dict[str, str], key: str) -> str | None:
    return _text(said, key) if key in said else None


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


def _memory(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _addresses(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.split()  # 2: eth0    inet 10.0.0.2/24 scope global eth0
        if len(words) > 3 and words[2] in ("inet", "inet6"):
            found[words[1]] = (*found.get(words[1], ()), words[3].split("/")[0])
    return found


def _from_api(info: Mapping[str, Any]) -> dict[str, Any]:
    """What `_INFO` prints, of the engine's own answer."""
    swarm = info.get("Swarm") or {}
    return {
        "version": info.get("ServerVersion"),
        "state": swarm.get("LocalNodeState"),
        "node_id": swarm.get("NodeID"),
        "manager": swarm.get("ControlAvailable"),
        "managers": swarm.get("RemoteManagers"),
        "error": swarm.get("Error"),
        "cluster_id": (swarm.get("Cluster") or {}).get("ID"),
    }


def _engine(said: dict[str, str], answer: Mapping[str, Any] | None) -> EngineFacts:
    info = (_json(_text(said, "info")) or {}) if answer is None else _from_api(answer)
    node = NodeFacts(
        state=info.get("state") or "inactive",
        node_id=info.get("node_id") or "",
        cluster_id=info.get("cluster_id") or "",
        manager=bool(info.get("manager")),
        managers=frozenset(str(known.get("Addr")) for known in info.get("managers") or ()),
        error=info.get("error") or "",
    )
    return EngineFacts(
        installed="engine" in said,
        version=info.get("version") or None,
        daemon_json=_optional(said, "daemon_json"),
        daemon_json_before=_optional(said, "daemon_json_before"),
        pending="daemon_pending" in said,
        node=node,
        images=frozenset(_text(said, "images").split()),
    )


def _firewall(said: dict[str, str]) -> FirewallFacts:
    return FirewallFacts(
        available="nft" in said,
        rules=_optional(said, "rules"),
        intact="intact" in said,
        enabled="rules_enabled" in said,
        dropping=_dropping(_text(said, "chains")),
    )


def _dropping(chains: str) -> tuple[str, ...]:
    """The tables, ours apart, that hook input with policy drop, from `nft list chains`."""
    found: list[str] = []
    table = ""
    for line in chains.splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            table = " ".join(words[1:3])
        elif "hook input" in line and "policy drop" in line and table != layout.TABLE:
            found.append(table)
    return tuple(found)
