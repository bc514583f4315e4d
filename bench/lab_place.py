"""A user's place for a lab: a home, state and machines of its own, in namespaces that end with the block."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.growth import own_home
from provision.images.recipes import recipe
from provision_nspawn import NspawnDriver
from provision_nspawn.image import build_image
from provision_nspawn.layout import DEFAULT_DATA, Layout
from provision_nspawn.testing import leftovers, own_namespaces

_INVENTORIES = Path(__file__).parent.parent / "inventories"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPlace:
    """`lab` is the repository's lab.yml, with its stack's `archive` beside it; `environ` is what a command gets."""

    lab: Path
    archive: Path
    layout: Layout
    environ: Mapping[str, str] = field(repr=False)

    def destroy(self, *clusters: str) -> None:
        """Every machine of these clusters, whoever made it."""
        driver = NspawnDriver({})
        machines = [machine for cluster in clusters for machine in driver.discover(cluster)]
        with ThreadPoolExecutor(driver.parallel) as pool:
            list(pool.map(driver.destroy, machines))


@contextmanager
def lab_place(*clusters: str) -> Iterator[LabPlace]:
    """Root only, on the main thread. The machines of these clusters are gone at the end; the image is cached.

    Raises RuntimeError when something is left behind.
    """
    build_image(recipe("debian-12"), Layout(DEFAULT_DATA))  # now: inside there is no way to a mirror
    # on the disk that the images are on: an overlay does not stack on every /tmp
    data = Path(tempfile.mkdtemp(prefix="bench-lab-", dir=DEFAULT_DATA))
    try:
        (data / "images").symlink_to(DEFAULT_DATA / "images")
        os.environ["PROVISION_DATA_DIR"] = str(data)
        layout = Layout(data)
        stacks = data / "inventories" / "stacks"
        shutil.copytree(_INVENTORIES / "stacks", stacks, ignore=shutil.ignore_patterns("*.tar"))
        lab = Path(shutil.copy(_INVENTORIES / "lab.yml", data / "inventories"))
        archive = stacks / "hello.tar"
        subprocess.run((sys.executable, "-m", "provision_nspawn.hello_image", str(archive)), check=True)
        with own_namespaces(), own_home(data):
            place = LabPlace(lab=lab, archive=archive, layout=layout, environ=_environ(data))
            try:
                yield place
            finally:
                place.destroy(*clusters)
                left = leftovers(layout)
        if left:
            raise RuntimeError(f"left behind: {left}")
    finally:
        del os.environ["PROVISION_DATA_DIR"]
        shutil.rmtree(data, ignore_errors=True)


def _environ(data: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(data / "home"),
        "XDG_STATE_HOME": str(data / "state"),
        "DOCKER_CONFIG": str(data / "docker"),
        "PROVISION_DATA_DIR": str(data),
    }
