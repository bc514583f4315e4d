"""A shell script as an expert writes it: OpenSSH with kept connections, all hosts at once, three stages.

What it does stands in work.sh (here) and settle.sh (on each host).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.site import Contender, Site

_WORK = Path(__file__).with_name("work.sh")

#: The path of a socket may have about 100 letters, which those of a site's folder would use up: it is relative to it.
_CONFIG = """\
Host *
    User root
    IdentityFile "{key}"
    IdentitiesOnly yes
    UserKnownHostsFile "{known_hosts}"
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    UpdateHostKeys no
    BatchMode yes
    ConnectTimeout 30
    PreferredAuthentications publickey
    GSSAPIAuthentication no
    KexAlgorithms curve25519-sha256
    ControlMaster auto
    ControlPath sockets/%n
    ControlPersist 60
"""


class Script:
    """The hand-written script. Each host gets one connection and at most two calls over it."""

    name = "script"

    def versions(self) -> str:
        """OpenSSH's and bash's own words."""
        ssh = subprocess.run(("ssh", "-V"), capture_output=True, text=True, check=True).stderr.split(",")[0]
        words = ("bash", "-c", 'echo "$BASH_VERSION"')
        bash = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        return f"{ssh.replace('_', ' ')}, bash {bash}"

    def prepare(self, site: Site) -> None:
        """Its hosts, its files, and the configuration of ssh."""
        folder = _folder(site)
        (folder / "sockets").mkdir(parents=True, exist_ok=True)
        lines = [
            f"{target.name} {target.address} {'manager' if number < site.managers else 'worker'}\n"
            for number, target in enumerate(site.targets)
        ]
        (folder / "hosts").write_text("".join(lines))
        (folder / "daemon.json").write_text(json.dumps(dict(site.daemon), indent=2) + "\n")
        (folder / "table.nft").write_text(site.nftables)
        ways = "".join(f"Host {target.name}\n    HostName {target.address}\n" for target in site.targets)
        (folder / "ssh_config").write_text(_CONFIG.format(key=site.key, known_hosts=site.known_hosts) + ways)

    def argv(self, site: Site) -> tuple[str, ...]:
        """Bash, and where its files are."""
        return ("bash", str(_WORK), str(_folder(site)))

    def environ(self, site: Site) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's
        """None."""
        return {}

    def forget(self, site: Site) -> None:
        """End the connections that are kept for a minute, and remove what the script wrote."""
        folder = _folder(site)
        for socket in (folder / "sockets").glob("*"):
            argv = ("ssh", "-F", "ssh_config", "-O", "exit", socket.name)
            subprocess.run(argv, cwd=folder, capture_output=True, check=False)
        shutil.rmtree(folder / "out", ignore_errors=True)


def _folder(site: Site) -> Path:
    return site.folder / "script"


if TYPE_CHECKING:
    _conforms: type[Contender] = Script
