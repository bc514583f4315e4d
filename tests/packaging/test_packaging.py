"""What is handed to users: the sdist is whole, and the wheel that comes of it works where no source tree is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: import package -> its folder in the source tree
PACKAGES = {
    "provision": ROOT / "provision",
    "provision_libvirt": ROOT / "drivers" / "provision_libvirt",
    "provision_nspawn": ROOT / "drivers" / "provision_nspawn",
    "provision_ssh": ROOT / "drivers" / "provision_ssh",
}


def run(*argv: str | Path, cwd: Path) -> str:
    """A program's stdout, with nothing of this process's import path; a failure shows all that it said."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{argv}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of this tree."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the unpacked sdist, as pip does it: what the sdist lacks is missing here too."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel in it; its dependencies are borrowed from this one.

    A path file shows this environment's packages, but what their own path files name (the source tree) stays hidden.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    run(*pip, "--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", wheel, cwd=folder)
    borrowed = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (packages / "borrowed.pth").write_text("".join(f"{path}\n" for path in borrowed))
    return folder / "bin"


def sources(folder: Path) -> set[str]:
    """Every file of a package in the source tree, relative to it."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in paths}


def test_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for package, folder in PACKAGES.items():
        missing = {f"{package}/{name}" for name in sources(folder)} - inside
        assert not missing, f"in the tree, but not in the wheel: {sorted(missing)}"


def test_wheel_holds_nothing_but_its_packages(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_are_told_that_the_package_is_typed(package: str, wheel: Path) -> None:
    assert f"{package}/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_sdist_has_the_examples_and_no_built_archive(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"inventories/lab.yml", "inventories/ssh.yml", "inventories/stacks/hello.yml", "README.md"} <= names
    assert not [name for name in names if name.endswith((".tar", ".pyc"))]


def test_installed_command_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import provision; print(provision.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    said = run(installed / "provision", "--help", cwd=tmp_path)
    assert {"up", "plan", "down", "add-worker"} <= set(said.split())


def test_installed_wheel_brings_all_drivers(installed: Path, tmp_path: Path) -> None:
    rows = [line.split() for line in run(installed / "provision", "drivers", cwd=tmp_path).splitlines()]
    assert [row[0] for row in rows[1:]] == ["libvirt", "nspawn", "ssh"]


@pytest.mark.parametrize("driver", ["nspawn", "ssh"])
def test_installed_wheel_writes_an_inventory_that_it_takes(driver: str, installed: Path, tmp_path: Path) -> None:
    run(installed / "provision", "init", "--name", "shop", "--driver", driver, cwd=tmp_path)
    assert "cluster 'shop', 5 machines" in run(installed / "provision", "validate", cwd=tmp_path)


def test_installed_wheel_knows_its_images(installed: Path, tmp_path: Path) -> None:
    """The recipes are a data file beside the code."""
    code = "from provision.images.recipes import recipe_names; print(*recipe_names())"
    assert run(installed / "python", "-c", code, cwd=tmp_path).split() == ["debian-12", "debian-13"]


def test_installed_wheel_has_the_cloud_init_templates(installed: Path, tmp_path: Path) -> None:
    """They stand at the top of the source tree, and lie in the package in a wheel."""
    code = (
        "from provision.cloudinit.seed import Identity, Nic, render\n"
        "seed = render(Identity(name='lab-worker-1', instance_id='i-1', nics=(Nic(mac='52:54:00:00:00:01'),)))\n"
        "print(all((seed.user_data, seed.meta_data, seed.network_config)))"
    )
    assert run(installed / "python", "-c", code, cwd=tmp_path).split() == ["True"]
