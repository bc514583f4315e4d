"""Ansible from PyPI, in an environment of its own; what it does stands in ansible_files/site.yml."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environments import environment

if TYPE_CHECKING:
    from bench.site import Contender, Site

_PLAYBOOK = Path(__file__).parent / "ansible_files" / "site.yml"

_CONFIG = """\
[defaults]
forks = {forks}
internal_poll_interval = 0.01
host_key_checking = True
interpreter_python = /usr/bin/python3
retry_files_enabled = False
nocows = True
home = {folder}/home
local_tmp = {folder}/home/tmp

[ssh_connection]
pipelining = True
transfer_method = piped
usetty = False
control_path_dir = {folder}/cp
ssh_args = -F none -o ControlMaster=auto -o ControlPersist=60 -o StrictHostKeyChecking=yes \
-o UserKnownHostsFile={known_hosts} -o GlobalKnownHostsFile=none -o UpdateHostKeys=no -o IdentitiesOnly=yes \
-o PreferredAuthentications=publickey
"""


class Ansible:
    """`ansible-playbook` with pipelining, kept connections, one fork a host, no facts."""

    name = "ansible"

    def versions(self) -> str:
        """ansible-core's own words."""
        argv = (_playbook(), "--version")
        words = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return words.splitlines()[0].replace("ansible-playbook [core ", "ansible-core ").rstrip("]")

    def prepare(self, site: Site) -> None:
        """Its configuration, its inventory, its files."""
        folder = _folder(site)
        (folder / "files").mkdir(parents=True, exist_ok=True)
        groups: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
        for number, target in enumerate(site.targets):
            role = "manager" if number < site.managers else "worker"
            hosts = groups.setdefault(role, {"hosts": {}})["hosts"]
            hosts[target.name] = {"ansible_host": target.address, "role": role}
        shared = {"ansible_user": "root", "ansible_ssh_private_key_file": str(site.key)}
        inventory = {"all": {"children": groups, "vars": shared}}
        (folder / "inventory.json").write_text(json.dumps(inventory, indent=2) + "\n")
        config = _CONFIG.format(forks=len(site.targets), folder=folder, known_hosts=site.known_hosts)
        (folder / "ansible.cfg").write_text(config)
        (folder / "files" / "table.nft").write_text(site.nftables)
        (folder / "files" / "daemon.json").write_text(json.dumps(dict(site.daemon), indent=2) + "\n")
        shutil.copy(_PLAYBOOK, folder)

    def argv(self, site: Site) -> tuple[str, ...]:
        """One playbook."""
        folder = _folder(site)
        return (_playbook(), "-i", str(folder / "inventory.json"), str(folder / "site.yml"))

    def environ(self, site: Site) -> Mapping[str, str]:
        """Its configuration, and its own programs first in PATH."""
        path = f"{environment('ansible')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"ANSIBLE_CONFIG": str(_folder(site) / "ansible.cfg"), "PATH": path}

    def forget(self, site: Site) -> None:
        """End the connections that are kept for a minute, and remove what Ansible keeps for itself."""
        folder = _folder(site)
        for socket in (folder / "cp").glob("*"):
            argv = ("ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any")
            subprocess.run(argv, capture_output=True, check=False)
        shutil.rmtree(folder / "home", ignore_errors=True)


def _playbook() -> str:
    return str(environment("ansible") / "ansible-playbook")


def _folder(site: Site) -> Path:
    return site.folder / "ansible"


if TYPE_CHECKING:
    _conforms: type[Contender] = Ansible
