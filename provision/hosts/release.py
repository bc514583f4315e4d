"""What takes back all that `up` put on an adopted host. Docker and its data stay unless they are purged."""

from __future__ import annotations

from provision.hosts import layout
from provision.hosts.changes import hostname
from provision.hosts.changes.firewall import REMOVE
from provision.hosts.fragments import Fragment, command


def fragments(*, user: str, member: bool, purge: bool) -> tuple[Fragment, ...]:
    """Everything in order; the login keys last, since the connection may rest on them. Safe on a half-made host."""
    steps: list[Fragment] = []
    if member:
        steps.append(Fragment("leave swarm", "docker swarm leave --force"))
    steps += [
        Fragment("remove images", _IMAGES),
        # before the packages, of which nft may be one
        Fragment("remove firewall", REMOVE),
        Fragment("purge packages", _PURGE) if purge else Fragment("restore daemon.json", _DAEMON),
        Fragment("leave group docker", _group(user)),
        Fragment("restore hostname", hostname.restore()),
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

#: packages that we installed, and Docker's data with them if its engine is among those: it was not there before us
_PURGE = f"""\
engine=no
if grep -qsx docker.io {layout.INSTALLED}; then
  engine=ours
  systemctl stop docker.socket docker.service 2>/dev/null || true
fi
{_DAEMON}
if [ -s {layout.INSTALLED} ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt="apt-get -q -y -o DPkg::Lock::Timeout=300"
  # shellcheck disable=SC2046 # one package a line, made by us
  $apt purge $(sort -u {layout.INSTALLED})
  # what came along with them and nobody needs now; not what was an orphan before us
  orphans=$(apt-get -s autoremove | sed -n 's/^Remv \\([^ ]*\\).*/\\1/p' | grep -vxFf {layout.PACKAGES_BEFORE} || true)
  [ -z "$orphans" ] || $apt purge $orphans
fi
if [ $engine = ours ]; then
  find /var/lib/docker /var/lib/containerd -mindepth 1 -delete 2>/dev/null || true
  rmdir /var/lib/docker /var/lib/containerd 2>/dev/null || true
  rm -f /etc/docker/key.json
  rmdir /etc/docker 2>/dev/null || true
fi"""


def _group(user: str) -> str:
    leave = command("gpasswd", "--delete", user, "docker")
    return f"if [ -e {layout.GROUP_ADDED} ] && getent group docker >/dev/null; then {leave} >/dev/null || true; fi"


def _keys(user: str) -> str:
    kept = f"{layout.DIRECTORY}/authorized_keys.kept"
    return f"""\
folder="$(getent passwd {command(user)} | cut -d: -f6)/.ssh"
file="$folder/authorized_keys"
if [ -e {layout.ADDED_KEYS} ] && [ -e "$file" ]; then
  grep -vxFf {layout.ADDED_KEYS} "$file" >{kept} || true
  if [ -e {layout.KEYS_UNENDED} ]; then
    size=$(cat {layout.KEYS_UNENDED})
    [ "$(wc -c <{kept})" -ne $((size + 1)) ] || truncate -s "$size" {kept}
  fi
  cat {kept} >"$file"
fi
if [ -e {layout.KEYS_FILE_MADE} ] && [ ! -s "$file" ]; then rm -f "$file"; fi
if [ -e {layout.KEYS_FOLDER_MADE} ]; then rmdir "$folder" 2>/dev/null || true; fi"""
