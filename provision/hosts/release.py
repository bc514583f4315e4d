"""What takes back all that `up` put on an adopted host. Docker and its data stay unless they are purged."""

from __future__ import annotations

from provision.hosts import layout
from provision.hosts.changes.firewall import REMOVE
from provision.hosts.fragments import Fragment, command


def fragments(*, user: str, member: bool, purge: bool) -> tuple[Fragment, ...]:
    """Everything in order; the login keys last, since the connection may rest on them. Safe on a half-made host."""
    steps: list[Fragment] = []
    if member:
        steps.append(Fragment("leave swarm", "docker swarm leave --force"))
    steps += [
        Fragment("remove images", _IMAGES),
        Fragment("purge packages", _PURGE) if purge else Fragment("restore daemon.json", _DAEMON),
        Fragment("remove firewall", REMOVE),
        Fragment("remove keys", _keys(user)),
        Fragment("remove mark", f"rm -rf {layout.DIRECTORY}"),
    ]
    return tuple(steps)


_IMAGES = f"""\
if [ -s {layout.LOADED_IMAGES} ] && command -v docker >/dev/null; then
  sort -u {layout.LOADED_IMAGES} | while read -r image; do docker image rm -f "$image" >/dev/null 2>&1 || true; done
fi"""

_DAEMON = f"""\
if [ -e {layout.DAEMON_BEFORE} ]; then
  if [ -s {layout.DAEMON_BEFORE} ]; then
    mv -f {layout.DAEMON_BEFORE} {layout.DAEMON_JSON}
  else
    rm -f {layout.DAEMON_JSON}
  fi
  if systemctl --quiet is-active docker.service; then systemctl restart docker.service; fi
fi"""

_PURGE = f"""\
if [ -s {layout.INSTALLED} ]; then
  export DEBIAN_FRONTEND=noninteractive
  systemctl stop docker.socket docker.service 2>/dev/null || true
  # shellcheck disable=SC2046 # one package a line, made by us
  apt-get -q -y -o DPkg::Lock::Timeout=300 purge --autoremove $(sort -u {layout.INSTALLED})
  find /var/lib/docker /var/lib/containerd -mindepth 1 -delete 2>/dev/null || true
  rmdir /var/lib/docker /var/lib/containerd 2>/dev/null || true
  rm -rf /etc/docker
elif [ -e {layout.DAEMON_BEFORE} ]; then
{_DAEMON}
fi"""


def _keys(user: str) -> str:
    return f"""\
file="$(getent passwd {command(user)} | cut -d: -f6)/.ssh/authorized_keys"
if [ -e {layout.ADDED_KEYS} ] && [ -e "$file" ]; then
  grep -vxFf {layout.ADDED_KEYS} "$file" >{layout.DIRECTORY}/authorized_keys.kept || true
  cat {layout.DIRECTORY}/authorized_keys.kept >"$file"
fi"""
