"""The schemas of the cloud-init packages of Debian 12 and 13. `python tests/unit/cloudinit/cloud_init_schemas.py` (as
`make test-packages` does) has apt download the packages and keeps their schemas in .cache/cloud-init/<suite>/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from provision.images.apt_sources import host_sources, image_sources

FOLDER = Path(__file__).parents[3] / ".cache" / "cloud-init"
SUITES = ("bookworm", "trixie")
CONFIG, NETWORK = "schema-cloud-config-v1.json", "schema-network-config-v2.json"

_INSIDE = "cloudinit/config/schemas/"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def is_there(suite: str) -> bool:
    """Whether a suite's schemas were fetched."""
    return (FOLDER / suite / CONFIG).is_file()


@cache
def load(suite: str, name: str) -> dict[str, Any]:
    """A schema of a suite's cloud-init."""
    schema: dict[str, Any] = json.loads((FOLDER / suite / name).read_text("utf-8"))
    return schema


def fetch(suite: str) -> None:
    """Download the suite's package with an apt of its own, from the mirror that this machine's apt uses."""
    sources = image_sources(suite, mirror=os.environ.get("PROVISION_DEBIAN_MIRROR"), host=host_sources())
    if not sources:
        sys.exit("this machine's apt has no Debian mirror; name one in PROVISION_DEBIAN_MIRROR")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "lists").mkdir()
        (folder / "cache").mkdir()
        (folder / "sources.list").write_text("\n".join(sources) + "\n", encoding="utf-8")
        _apt(folder, "update")
        _apt(folder, "download", "cloud-init")
        (package,) = folder.glob("*.deb")
        _unpack(package, FOLDER / suite)


def _apt(folder: Path, *words: str) -> None:
    options = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
        **({"Dir::Etc::Trusted": _KEYRING} if _KEYRING.is_file() else {}),
    }
    arguments = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    subprocess.run(["apt-get", "-q", *arguments, *words], cwd=folder, check=True, timeout=300)


def _unpack(package: Path, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    content = package.with_suffix(".tar")
    with content.open("wb") as file:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=file, check=True, timeout=60)
    with tarfile.open(content) as archive:
        for member in archive:
            if _INSIDE in member.name and member.name.endswith(".json"):
                found = archive.extractfile(member)
                assert found is not None
                (into / Path(member.name).name).write_bytes(found.read())


if __name__ == "__main__":
    for wanted in SUITES:
        if not is_there(wanted):
            fetch(wanted)
