"""`provision up` over the ssh driver, of the checkout that the benchmark runs from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.client.ssh_include import exclude

if TYPE_CHECKING:
    from bench.site import Contender, Site

_PROVISION = str(Path(sys.executable).with_name("provision"))


class Provision:
    """One `up` of an inventory that lists the hosts; state, home and docker folder are in the site's folder.

    OpenSSH's own `~/.ssh/config` is the exception: `up` puts one line there, and `forget` takes it out again.
    """

    name = "provision"

    def versions(self) -> str:
        """Its own words."""
        said = subprocess.run((_PROVISION, "version"), capture_output=True, text=True, check=True)
        return said.stdout.splitlines()[0].strip()

    def prepare(self, site: Site) -> None:
        """The inventory. It is YAML, of which JSON is a part."""
        folder = _folder(site)
        (folder / "home").mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = _host_keys(site)
        hosts = [
            {"name": target.name, "address": target.address, "host_key": keys[target.address]}
            for target in site.targets
        ]
        machines = {"manager": _group("manager", hosts[: site.managers])}
        if hosts[site.managers :]:
            machines["worker"] = _group("worker", hosts[site.managers :])
        inventory = {
            "name": "bench",
            "driver": "ssh",
            "machines": machines,
            "ssh": {"user": "root", "identity_file": str(site.key), "authorized_keys": []},
            "engine": {"install": "none", "daemon": dict(site.daemon)},
        }
        _inventory(site).write_text(json.dumps(inventory, indent=2) + "\n")

    def argv(self, site: Site) -> tuple[str, ...]:
        """The same for the first run and for those that find nothing to do."""
        return (_PROVISION, "up", str(_inventory(site)), "--yes", "--progress", "plain")

    def environ(self, site: Site) -> Mapping[str, str]:
        """Where it may write."""
        folder = _folder(site)
        return {
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "DOCKER_CONFIG": str(folder / "docker"),
        }

    def forget(self, site: Site) -> None:
        """As if it had never run here; what it left on the hosts is not its to forget."""
        folder = _folder(site)
        for name in ("state", "docker", "home"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "home").mkdir(parents=True, mode=0o700)
        exclude(folder / "state" / "provision")


def _group(role: str, hosts: list[dict[str, str]]) -> dict[str, Any]:
    return {"role": role, "hostname": "set", "hosts": hosts}


def _host_keys(site: Site) -> dict[str, str]:
    """Each address's first key line of the site's known_hosts."""
    found: dict[str, str] = {}
    for line in site.known_hosts.read_text().splitlines():
        address, key = line.split(maxsplit=1)
        found.setdefault(address, key)
    return found


def _folder(site: Site) -> Path:
    return site.folder / "provision"


def _inventory(site: Site) -> Path:
    return _folder(site) / "inventory.yml"


if TYPE_CHECKING:
    _conforms: type[Contender] = Provision
