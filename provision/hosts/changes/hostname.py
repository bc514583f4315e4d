"""The host's own name, where the inventory asks for it: it is what the swarm lists the node under."""

from __future__ import annotations

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, command, write_file

#: ends the line of ours in /etc/hosts
MARK = "# provision"


def changes(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Give the host its machine's name, now and at every boot, and have it resolve (or each sudo waits for DNS)."""
    name = desired.hostname
    if name is None or facts.hostname == name:
        return ()
    entry = command("printf", "%s\\n", f"127.0.1.1 {name} {MARK}")
    body = "\n".join(
        (
            f"mkdir -p {layout.DIRECTORY}",
            # written before it is changed, so that `down` knows the first one even after a crash
            f"[ -e {layout.HOSTNAME_BEFORE} ] || cat /proc/sys/kernel/hostname >{layout.HOSTNAME_BEFORE}",
            # a container may share this file, for reading only, with others
            f"if [ -w /etc/hosts ]; then\n{unmark_hosts()}\n{entry} >>/etc/hosts\nfi",
            write_file("/etc/hostname", name),
            f"{command('printf', '%s', name)} >/proc/sys/kernel/hostname",
        )
    )
    cause = f"hostname is {facts.hostname}, not {name}"
    return (Change(fragment=Fragment("set hostname", body), cause=cause),)


def unmark_hosts() -> str:
    """Take our line out of /etc/hosts, in place: in a container it may be a mount, which nothing can be renamed to."""
    kept = f"{layout.DIRECTORY}/hosts.kept"
    return f"""\
if grep -q ' {MARK}$' /etc/hosts; then
  grep -v ' {MARK}$' /etc/hosts >{kept} || true
  cat {kept} >/etc/hosts; rm -f {kept}
fi"""


def restore() -> str:
    """Give the host back the name that it had before us, where it had another."""
    return f"""\
if [ -s {layout.HOSTNAME_BEFORE} ]; then
  if [ -w /etc/hosts ]; then
{unmark_hosts()}
  fi
  cat {layout.HOSTNAME_BEFORE} >/etc/hostname
  cat {layout.HOSTNAME_BEFORE} >/proc/sys/kernel/hostname
fi"""
