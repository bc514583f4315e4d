"""pyinfra from PyPI, in an environment of its own; what it does stands in pyinfra_files/."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environments import environment

if TYPE_CHECKING:
    from bench.site import Contender, Site

_FILES = Path(__file__).with_name("pyinfra_files")


class Pyinfra:
    """`pyinfra inventory.py deploy.py --yes`, all hosts at once, without the run before that only looks for changes."""

    name = "pyinfra"

    def versions(self) -> str:
        """pyinfra's own words."""
        argv = (str(environment("pyinfra") / "pyinfra"), "--version")
        said = subprocess.run(argv, capture_output=True, text=True, check=True)
        return (said.stdout or said.stderr).strip().replace(": v", " ")

    def prepare(self, site: Site) -> None:
        """Its inventory: a host's name is the one it shall have, what all hosts share is the data of group `all`."""
        folder = _folder(site)
        (folder / "group_data").mkdir(parents=True, exist_ok=True)
        environment("pyinfra")
        hosts = [
            (
                target.name,
                {"ssh_hostname": target.address, "role": "manager" if number < site.managers else "worker"},
            )
            for number, target in enumerate(site.targets)
        ]
        shared = {
            "ssh_user": "root",
            "ssh_key": str(site.key),
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
            "ssh_config_file": "/dev/null",
            "ssh_known_hosts_file": str(site.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            "leader": site.targets[0].name,
            "daemon": json.dumps(dict(site.daemon), indent=2) + "\n",
            "table": site.nftables,
        }
        (folder / "inventory.py").write_text(f"members = {hosts!r}\n")
        data = "".join(f"{key} = {value!r}\n" for key, value in shared.items())
        (folder / "group_data" / "all.py").write_text(data)
        for path in _FILES.glob("*.py"):
            shutil.copy(path, folder)

    def argv(self, site: Site) -> tuple[str, ...]:
        """All hosts in one batch; the first failure ends it with an exit code."""
        folder = _folder(site)
        many = ("--parallel", str(len(site.targets)), "--fail-percent", "0")
        return (
            str(environment("pyinfra") / "pyinfra"),
            *("--yes", *many, "--chdir", str(folder)),
            *(str(folder / "inventory.py"), "deploy.py"),
        )

    def environ(self, site: Site) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's
        """None."""
        return {}

    def forget(self, site: Site) -> None:
        """Nothing is kept but compiled Python."""
        shutil.rmtree(_folder(site) / "__pycache__", ignore_errors=True)


def _folder(site: Site) -> Path:
    return site.folder / "pyinfra"


if TYPE_CHECKING:
    _conforms: type[Contender] = Pyinfra
