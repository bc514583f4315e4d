"""The registry of drivers, against packages that are made for the test."""

from __future__ import annotations

import subprocess
import sys

import pytest

from provision import drivers
from provision.errors import DriverError, UsageError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`package(name, entry_points, **modules)` makes an installed distribution."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, points: str, extras: str = "", **modules: str) -> None:
        info = tmp_path / f"{name}-1.5.dist-info"
        info.mkdir()
        provides = "".join(f"Provides-Extra: {extra}\n" for extra in extras.split())
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n{provides}")
        (info / "entry_points.txt").write_text(f"[provision.drivers]\n{points}\n")
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(text)

    return make


def test_a_third_partys_driver_is_listed_and_loaded(package):
    package("acme-cloud", "acme = acme_a:Acme", acme_a="class Acme:\n    def __init__(self, s): self.s = s\n")
    assert drivers.available()["acme"] == "acme-cloud 1.5"
    assert drivers.load("acme").__name__ == "Acme"
    assert drivers.make("acme", {"a": 1}).s == {"a": 1}


def test_an_unknown_driver_has_a_hint(package):
    package("acme-cloud", "acme = acme_b:Acme")
    with pytest.raises(UsageError) as caught:
        drivers.load("acne")
    assert (caught.value.summary, caught.value.hint) == ("there is no driver 'acne'", "did you mean 'acme'?")


def test_a_missing_extra_says_what_to_install(package):
    package("acme-cloud", "acme = acme_c:Acme", extras="acme", acme_c="import no_such_sdk\n")
    with pytest.raises(DriverError) as caught:
        drivers.load("acme")
    assert "'no_such_sdk' cannot be imported" in caught.value.summary
    assert caught.value.hint == "pip install 'acme-cloud[acme]'"


def test_a_name_of_two_packages_is_refused(package):
    package("acme-cloud", "acme = acme_d:Acme")
    package("other", "acme = other_d:Acme")
    with pytest.raises(DriverError, match="provided more than once") as caught:
        drivers.load("acme")
    assert "acme-cloud 1.5" in caught.value.detail
    assert "other 1.5" in caught.value.detail


def test_a_class_that_is_not_there_is_the_packages_mistake(package):
    package("acme-cloud", "acme = acme_e:Acme", acme_e="")
    with pytest.raises(DriverError, match="'acme_e:Acme' does not exist"):
        drivers.load("acme")


def test_listing_imports_neither_drivers_nor_pydantic():
    code = "import sys, provision.drivers, provision.inventory; provision.drivers.available(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "yaml", "provision_ssh"} & set(loaded)
