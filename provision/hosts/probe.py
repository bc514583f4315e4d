"""The one question that a host is asked, and the parser of its answer.

The script only reads, and starts as few commands as it can: each costs the host about a millisecond. It prints a line
per fact: a key, a space, the value. A value `@<path>` is the content of a file, which follows as lines `<path>:<line>`;
of an answer of several lines each begins with `+<key>`. What is missing is left out, so the parser's defaults say what
absence means.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from provision.errors import ProvisionError
from provision.hosts import layout
from provision.hosts.facts import EngineFacts, FirewallFacts, HostFacts, NodeFacts
from provision.hosts.membership import Answer, membership

_INFO = (
    '{"version":{{json .ServerVersion}},"state":{{json .Swarm.LocalNodeState}},"node_id":{{json .Swarm.NodeID}},'
    '"manager":{{json .Swarm.ControlAvailable}},"managers":{{json .Swarm.RemoteManagers}},'
    '"error":{{json .Swarm.Error}},'
    '"cluster_id":{{if .Swarm.Cluster}}{{json .Swarm.Cluster.ID}}{{else}}""{{end}}}'
)


class UnclearError(ProvisionError):
    """An answer that does not tell what a host is to its swarm; `GET /info` does."""


SCRIPT = f"""\
LC_ALL=C; PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin; export LC_ALL PATH; set -f
newline='
'
say() {{ printf '%s %s\\n' "$1" "$2"; }}
lines() {{ IFS=$newline; for line in $2; do say "+$1" "$line"; done; unset IFS; }}
file() {{ [ -f "$2" ] && [ -r "$2" ] && say "$1" "@$2" && files="$files$newline$2"; }}
files=/dev/null
user=${{SUDO_USER:-root}}
say user "$user"
if [ "$user" = root ]; then
  home=~root
else
  home=$(getent passwd "$user" | cut -d: -f6)
  say groups "$(id -nG "$user")"
  getent group docker >/dev/null && say docker_group yes
fi
read -r name </proc/sys/kernel/hostname; say hostname "$name"
read -r release </proc/sys/kernel/osrelease; say kernel "$release"
[ -r /proc/sys/kernel/arch ] && read -r machine </proc/sys/kernel/arch || machine=$(uname -m)
say architecture "$machine"
say cpus "$(nproc)"
say clock "$(date +%s.%N)"
read -r name memory unit </proc/meminfo; say memory "$memory"
file machine_id /etc/machine-id
file os_release /etc/os-release
lines addresses "$(ip -o addr show scope global)"
file owner {layout.OWNER}
file authorized_keys "$home/.ssh/authorized_keys"
[ -d /run/systemd/system ] && say systemd yes
if [ -e /proc/net/ip_vs ] || modprobe -qn ip_vs 2>/dev/null; then say ipvs yes; fi
if [ -d /sys/module/vxlan ] || modprobe -qn vxlan 2>/dev/null; then say vxlan yes; fi
if command -v nft >/dev/null; then
  say nft yes
  file rules {layout.RULES}
  chains= table=
  # one start of nft instead of two: the table stands behind the chains
  if [ -r {layout.RULES_LOADED} ] && read -r loaded <{layout.RULES_LOADED} &&
    chains=$(nft 'list chains; list table {layout.TABLE}' 2>/dev/null)
  then
    table=${{chains##*"$newline"table {layout.TABLE} \\{{}}
    chains=${{chains%"$newline"table {layout.TABLE} \\{{*}}
    [ "$(printf '%s\n' "table {layout.TABLE} {{$table" | sha256sum)" = "$loaded" ] && say intact yes
  else
    chains=$(nft list chains 2>/dev/null)
  fi
  lines chains "$chains"
  [ -e {layout.WANTS}/{layout.FIREWALL_UNIT} ] && say rules_enabled yes
fi
file daemon_json {layout.DAEMON_JSON}
file daemon_json_before {layout.DAEMON_BEFORE}
[ -e {layout.DAEMON_PENDING} ] && say daemon_pending yes
if command -v dockerd >/dev/null; then
  say engine yes
  [ -e {layout.SWARM_STATE} ] && say swarm_state yes
  file node_certificate {layout.NODE_CERTIFICATE}
  [ -n "$ENGINE" ] && lines info "$(timeout 15 docker info --format '{_INFO}' 2>/dev/null)"
  [ -n "$IMAGES" ] && lines images "$(timeout 15 docker image ls -q --no-trunc)"
fi
IFS=$newline; grep -aH '' $files; unset IFS
say end yes
"""


#: what every host has an answer to
_ALWAYS = {"user", "hostname", "kernel", "architecture", "cpus", "clock", "memory"}


def script(*, images: bool = False, engine: bool = True) -> str:
    """The probe as a POSIX shell script; with `images` it lists the engine's images too (a second engine call).

    `engine` False: what the engine says is asked of it in another way, and handed to `parse`.
    """
    return f"IMAGES={'yes' if images else ''}; ENGINE={'yes' if engine else ''}\n{SCRIPT}"


def parse(machine: str, output: str, answer: Answer | None = None, *, whole: bool = True) -> HostFacts:
    """The facts of `machine` from the script's output. Raises ProvisionError when the output is not whole.

    `answer` is the engine's, where it was asked by itself: to `GET /info`, or, not `whole`, to `GET /swarm`. Raises
    UnclearError when that answer does not tell what the host is to its swarm.
    """
    said = _said(output)
    if said.get("end") != "yes" or not said.keys() >= _ALWAYS:
        raise ProvisionError(f"{machine}: the probe's answer is not whole", detail=output[-400:])
    try:
        return _facts(machine, said, _info(machine, said, answer, whole=whole))
    except (ValueError, TypeError, AttributeError) as odd:
        raise ProvisionError(f"{machine}: the probe's answer is odd", detail=f"{odd}\n{output[-400:]}") from odd


def _info(machine: str, said: dict[str, str], answer: Answer | None, *, whole: bool) -> Mapping[str, Any]:
    """What the engine says, with the keys of `_INFO`; empty where it says nothing."""
    if answer is None:
        return _json(said.get("info", "")) or {}
    if whole:
        return _from_api(answer.body) if answer.status == 200 else {}
    found = membership(answer, state="swarm_state" in said, certificate=said.get("node_certificate", ""))
    if found is None:
        raise UnclearError(f"{machine}: the engine does not say clearly whether it is in a swarm")
    return found


def _facts(machine: str, said: dict[str, str], info: Mapping[str, Any]) -> HostFacts:
    os_release = _assignments(said.get("os_release", ""))
    return HostFacts(
        machine=machine,
        user=said["user"],
        hostname=said["hostname"],
        machine_id=said.get("machine_id", "").strip(),
        os_id=os_release.get("ID", ""),
        os_version=os_release.get("VERSION_ID", ""),
        os_like=tuple(os_release.get("ID_LIKE", "").split()),
        kernel=said["kernel"],
        architecture=said["architecture"],
        cpus=int(said["cpus"]),
        memory=int(said["memory"]) * 1024,
        clock=float(said["clock"]),
        addresses=_addresses(said.get("addresses", "")),
        owner=_json(said.get("owner", "")),
        authorized_keys=tuple(
            sys.intern(line.strip()) for line in said.get("authorized_keys", "").splitlines() if line.strip()
        ),
        engine=_engine(said, info),
        firewall=_firewall(said),
        ipvs="ipvs" in said,
        vxlan="vxlan" in said,
        systemd="systemd" in said,
        groups=tuple(said.get("groups", "").split()),
        docker_group="docker_group" in said,
    )


def _said(output: str) -> dict[str, str]:
    """Each fact by its key, those of several lines put together."""
    said: dict[str, str] = {}
    files: dict[str, list[str]] = {}
    answers: dict[str, list[str]] = {}
    for line in output.split("\n"):
        if line.startswith("/"):
            path, _, text = line.partition(":")
            files.setdefault(path, []).append(text)
        else:
            key, _, value = line.partition(" ")
            if key.startswith("+"):
                answers.setdefault(key[1:], []).append(value)
            else:
                said[key] = value
    for key, value in said.items():
        if value.startswith("@/"):
            said[key] = "".join(f"{text}\n" for text in files.get(value[1:], ()))
    return said | {key: "".join(f"{text}\n" for text in found) for key, found in answers.items()}


def _shared(said: dict[str, str], key: str) -> str | None:
    """A text that a thousand hosts have alike, and that names all thousand: kept once."""
    return sys.intern(said[key]) if key in said else None


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


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


def _engine(said: dict[str, str], info: Mapping[str, Any]) -> EngineFacts:
    node = NodeFacts(
        state=info.get("state") or "inactive",
        node_id=info.get("node_id") or "",
        cluster_id=info.get("cluster_id") or "",
        manager=bool(info.get("manager")),
        managers=frozenset(sys.intern(str(known.get("Addr"))) for known in info.get("managers") or ()),
        error=info.get("error") or "",
    )
    return EngineFacts(
        installed="engine" in said,
        version=info.get("version") or None,
        daemon_json=_shared(said, "daemon_json"),
        daemon_json_before=_shared(said, "daemon_json_before"),
        pending="daemon_pending" in said,
        node=node,
        images=frozenset(map(sys.intern, said.get("images", "").split())),
    )


def _firewall(said: dict[str, str]) -> FirewallFacts:
    return FirewallFacts(
        available="nft" in said,
        rules=_shared(said, "rules"),
        intact="intact" in said,
        enabled="rules_enabled" in said,
        dropping=_dropping(said.get("chains", "")),
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
