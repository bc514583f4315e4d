"""What a template and its clones run inside, as root's shell, through the guest agent. Pure.

A template comes to rest before it is saved: Docker and sshd have run and are stopped, and whatever they would share
with the clones' is removed. A clone is given who it is, then starts them.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable
from ipaddress import ip_interface

from provision.cloudinit.seed import Identity, Nic

#: what the template stopped and the clone starts, a unit a word; in memory, so it is saved too
_UNITS = "/run/provision-warm"

#: waits until it has booted, and fails where that failed or a clone could not be made of it
READY = """\
status=0
cloud-init status --wait >/dev/null 2>/tmp/provision-warm || status=$?
case $status in
0|2) ;;
*) cloud-init status --long || true; cat /tmp/provision-warm; exit 1 ;;
esac
systemctl is-active --quiet systemd-networkd || {
    echo 'systemd-networkd does not run, and a clone would get no network'
    exit 1
}
if command -v dockerd >/dev/null; then
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        docker info >/dev/null 2>&1 && break
        [ $attempt -lt 10 ] || { docker info; exit 1; }
        sleep 2
    done
fi
"""

#: the last thing before it is saved
REST = f"""\
# its hook would start for each network card that is plugged in
systemctl stop cloud-init-hotplugd.socket 2>/dev/null || true
units=
for unit in ssh.socket ssh.service sshd.service docker.socket docker.service; do
    if systemctl is-active --quiet "$unit"; then units="$units $unit"; fi
done
printf '%s\\n' "$units" >{_UNITS}
# docker read its programs and libraries a moment ago; what else was read while booting need not be saved
sync
echo 3 >/proc/sys/vm/drop_caches
if command -v dockerd >/dev/null; then systemctl restart docker.service; docker info >/dev/null; fi
systemctl stop $units
rm -f /etc/ssh/ssh_host_* /var/lib/docker/engine-id /etc/docker/key.json /var/lib/systemd/random-seed
rm -rf /root/.ssh
fstrim / 2>/dev/null || true
# memory that was freed still holds what it held; zeros take no room in what is saved
free=$(sed -n 's/^MemFree: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo)
mkdir -p /run/provision-zero
mount -t tmpfs -o size=100% none /run/provision-zero
if [ "$free" -gt 65536 ]; then
    dd if=/dev/zero of=/run/provision-zero/zero bs=1M count=$((free / 1024 - 48)) 2>/dev/null || true
fi
umount /run/provision-zero
rmdir /run/provision-zero
sync
"""

#: sshd, and docker by its socket: who asks that before docker is up is kept waiting, not turned away
_START = f"""\
read -r units <{_UNITS}
now=
for unit in $units; do
    case "$unit $units" in 'docker.service '*docker.socket*) ;; *) now="$now $unit" ;; esac
done
[ -z "$now" ] || systemctl start $now
[ -z "$units" ] || systemctl --no-block start $units"""


def become(identity: Identity, *, now: float, machine_id: str, randomness: bytes) -> str:
    """What makes a clone the machine of this identity.

    `now` is seconds since 1970, `randomness` is mixed into the kernel's, which all clones would share otherwise: keys
    that two of them make in the same moment must differ.
    """
    assert identity.host_key is not None
    fqdn = f"{identity.name}.{identity.domain}" if identity.domain else identity.name
    return "\n".join(
        (
            f"date -s @{now:.3f} >/dev/null",
            *_reseed(randomness),
            f"printf '%s\\n' {shlex.quote(identity.name)} >/etc/hostname",
            f"printf '%s' {shlex.quote(identity.name)} >/proc/sys/kernel/hostname",
            f"printf '%s\\n' {shlex.quote(machine_id)} >/etc/machine-id",
            *_hosts(identity, fqdn),
            *_network(identity),
            *_secret_file("/etc/ssh/ssh_host_ed25519_key", identity.host_key.private.rstrip("\n") + "\n"),
            *_file("/etc/ssh/ssh_host_ed25519_key.pub", identity.host_key.public.strip() + "\n"),
            *_authorized_keys(identity),
            _START,
            "systemctl --no-block restart systemd-journald.service",
        )
    )


def _reseed(randomness: bytes) -> tuple[str, ...]:
    """RNDRESEEDCRNG (linux/random.h) has the kernel use what was mixed in at once, not within a minute."""
    text = base64.b64encode(randomness).decode()
    python = "import fcntl; fcntl.ioctl(open('/dev/urandom', 'wb'), 0x5207)"
    perl = 'open(my $f, ">", "/dev/urandom") && defined(ioctl($f, 0x5207, 0)) || exit 1'
    return (
        f"printf '%s' {text} | base64 -d >/dev/urandom",
        f"perl -e {shlex.quote(perl)} 2>/dev/null || python3 -c {shlex.quote(python)}",
    )


def _hosts(identity: Identity, fqdn: str) -> tuple[str, ...]:
    names = f"{fqdn} {identity.name}" if fqdn != identity.name else identity.name
    lines = [f"127.0.1.1 {names}", *(f"{address} {known}" for address, known in identity.hosts.items())]
    return (
        "sed -i '/^127\\.0\\.1\\.1[[:space:]]/d' /etc/hosts",
        f"printf '%s\\n' {_quoted(lines)} >>/etc/hosts",
    )


def _network(identity: Identity) -> tuple[str, ...]:
    """In memory: at the next boot cloud-init writes the same from the seed."""
    lines = ["mkdir -p /run/systemd/network"]
    for number, nic in enumerate(identity.nics):
        text = network_file(nic, identity.domain)
        lines += _file(f"/run/systemd/network/05-provision-{number}.network", text)
    return (*lines, "networkctl reload")


def network_file(nic: Nic, domain: str | None) -> str:
    """systemd-networkd's configuration of a network card, told by its MAC."""
    lines = ["[Match]", f"MACAddress={nic.mac}", "[Link]", f"RequiredForOnline={'no' if nic.optional else 'yes'}"]
    lines.append("[Network]")
    lines += [f"Address={ip_interface(address)}" for address in nic.addresses] or ["DHCP=ipv4"]
    if nic.gateway:
        lines.append(f"Gateway={nic.gateway}")
    lines += [f"DNS={server}" for server in nic.nameservers]
    if domain and nic.nameservers:
        lines.append(f"Domains={domain}")
    if not nic.addresses:
        lines += ["[DHCPv4]", "ClientIdentifier=mac"]
    return "".join(f"{line}\n" for line in lines)


def _authorized_keys(identity: Identity) -> tuple[str, ...]:
    user = shlex.quote(identity.user)
    keys = list(dict.fromkeys(key.strip() for key in identity.authorized_keys if key.strip()))
    return (
        f"home=$(getent passwd {user} | cut -d: -f6)",
        f"group=$(id -g {user})",
        'mkdir -p "$home/.ssh"',
        f"printf '%s\\n' {_quoted(keys)} >\"$home/.ssh/authorized_keys\"",
        'chmod 0700 "$home/.ssh"',
        'chmod 0600 "$home/.ssh/authorized_keys"',
        f'chown -R {user}:"$group" "$home/.ssh"',
    )


def _file(path: str, text: str) -> tuple[str, ...]:
    return (f"printf '%s' {shlex.quote(text)} >{path}",)


def _secret_file(path: str, text: str) -> tuple[str, ...]:
    """printf is the shell's own: what it prints is in no list of processes."""
    return (f"(umask 077; printf '%s' {shlex.quote(text)} >{path})",)


def _quoted(words: Iterable[str]) -> str:
    return " ".join(shlex.quote(word) for word in words) or "''"
