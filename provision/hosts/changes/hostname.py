"""The host's own name, where the inventory asks for it: it is what the swarm lists the node under."""

from __future__ import annotations

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, command

#: ends the line of ours in /etc/hosts
MARK = "# by provision: hostname"


def changes(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Give the host its machine's name, now and at every boot, and have it resolve (or each sudo waits for DNS)."""
    name = desired.hostname
    if name is None or facts.hostname == name:
        return ()
    body = set_name(name)
    cause = f"hostname is {facts.hostname}, not {name}"
    return (Change(fragment=Fragment("set hostname", body), cause=cause),)


def set_name(name: str, *, etc: str = "/etc", kernel: str = "/proc/sys/kernel/hostname") -> str:
    """Shell that does it. Files are written in place: in a container each may be a mount, or shared and read-only."""
    entry = command("printf", "%s\n", f"127.0.1.1 {name} {MARK}")
    line, word = command("printf", "%s\n", name), command("printf", "%s", name)
    before, file = layout.HOSTNAME_BEFORE, layout.HOSTNAME_FILE
    return f"""\
mkdir -p {layout.DIRECTORY}
# kept before it is changed, and whole or not at all, so that `down` knows the first one even after a crash
if [ ! -e {before} ]; then
  rm -f {file}
  if [ -e {etc}/hostname ]; then cat {etc}/hostname >{file}; fi
  cat {kernel} >{before}.new
  mv -f {before}.new {before}
fi
if [ -w {etc}/hosts ]; then
{_unmark(etc)}
  if [ -n "$(tail -c 1 {etc}/hosts)" ]; then echo >>{etc}/hosts; fi
  {entry} >>{etc}/hosts
fi
if [ -w {etc}/hostname ] || [ ! -e {etc}/hostname ]; then {line} >{etc}/hostname; fi
{word} >{kernel}"""


def restore(*, etc: str = "/etc", kernel: str = "/proc/sys/kernel/hostname") -> str:
    """Give the host back the name that it had before us, where it had another."""
    before, file = layout.HOSTNAME_BEFORE, layout.HOSTNAME_FILE
    return f"""\
if [ -s {before} ]; then
  if [ -w {etc}/hosts ]; then
{_unmark(etc)}
  fi
  if [ -e {file} ]; then
    if [ -w {etc}/hostname ]; then cat {file} >{etc}/hostname; fi
  else
    rm -f {etc}/hostname
  fi
  cat {before} >{kernel}
fi"""


def _unmark(etc: str) -> str:
    """Take our line out of /etc/hosts."""
    kept = f"{layout.DIRECTORY}/hosts.kept"
    return f"""\
  if grep -q ' {MARK}$' {etc}/hosts; then
    grep -v ' {MARK}$' {etc}/hosts >{kept} || true
    cat {kept} >{etc}/hosts; rm -f {kept}
  fi"""
