"""The distribution's packages: Docker Engine and nftables."""

from __future__ import annotations

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, command

#: Debian 13 and Ubuntu split the client off; `ca-certificates` is what a pull from a registry needs
_ENGINE = ("docker.io", "ca-certificates", "iptables")


def changes(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Install what is missing, in one run of apt; remember what was installed, so that `--purge` can take it back."""
    wanted: list[str] = []
    causes: list[str] = []
    if desired.install and not facts.engine.installed:
        wanted += _ENGINE
        causes.append("docker not found")
    if desired.firewall and not facts.firewall.available:
        wanted.append("nftables")
        causes.append("nft not found")
    if not wanted:
        return ()
    return (Change(fragment=Fragment("install packages", _install(wanted)), cause=", ".join(causes)),)


#: a command that prints the name of every installed package
_LIST = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p'"


def _install(wanted: list[str]) -> str:
    apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends")
    return "\n".join(
        (
            "export DEBIAN_FRONTEND=noninteractive",
            # a first boot may still be installing; it holds the lock for longer than apt would wait
            "if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || true; fi",
            command("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update"),
            f"wanted={command(' '.join(wanted))}",
            # Debian 13 has the client in a package of its own, which docker.io merely recommends
            'case " $wanted " in *" docker.io "*) if apt-cache show docker-cli >/dev/null 2>&1; then'
            ' wanted="$wanted docker-cli"; fi;; esac',
            "missing=",
            "for package in $wanted; do",
            "  dpkg-query -W -f '${Status}' \"$package\" 2>/dev/null | grep -q ' installed$' ||"
            ' missing="$missing $package"',
            "done",
            f"mkdir -p {layout.DIRECTORY}",
            f"[ -e {layout.PACKAGES_BEFORE} ] || {_LIST} >{layout.PACKAGES_BEFORE}",
            f"printf '%s\\n' $missing >>{layout.INSTALLED}",
            f"{command(*apt, 'install')} $wanted",
        )
    )
