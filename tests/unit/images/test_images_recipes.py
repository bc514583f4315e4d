"""What a recipe asks for, and what its hash depends on."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from provision.errors import DriverError
from provision.images.recipes import Kind, recipe, recipe_names


def test_digest_changes_with_what_is_asked_for_only(tmp_path: Path) -> None:
    archive = tmp_path / "hello.tar"
    archive.write_bytes(b"images")
    plain = recipe("debian-12")
    assert plain.digest == recipe("debian-12").digest
    others = [
        recipe("debian-13"),
        recipe("debian-12", docker=False),
        recipe("debian-12", mirror="http://m.example"),
        recipe("debian-12", kind=Kind.DISK),
        recipe("debian-12", kind=Kind.DISK, archives=[archive]),
    ]
    assert len({plain.digest, *(other.digest for other in others)}) == 6
    assert recipe_names() == ("debian-12", "debian-13")


def test_archive_counts_by_its_content_and_name_not_by_where_it_lies(tmp_path: Path) -> None:
    digests = []
    for folder, content in (("a", b"images"), ("b", b"images"), ("c", b"others")):
        archive = tmp_path / folder / "hello.tar.gz"
        archive.parent.mkdir()
        archive.write_bytes(content)
        digests.append(recipe("debian-12", kind=Kind.DISK, archives=[archive]).digest)
    assert digests[0] == digests[1] != digests[2]


def test_image_is_named_after_what_makes_it_special(tmp_path: Path) -> None:
    archive = tmp_path / "My Shop.tar.gz"
    archive.write_bytes(b"images")
    assert recipe("debian-12").image_name == "debian-12"
    assert recipe("debian-12", docker=False, kind=Kind.DISK).image_name == "debian-12-bare"
    assert recipe("debian-13", kind=Kind.DISK, archives=[archive]).image_name == "debian-13-my-shop"


def test_unknown_image_names_a_close_one() -> None:
    with pytest.raises(DriverError, match="no image 'debian12'") as caught:
        recipe("debian12")
    assert "did you mean 'debian-12'?" in caught.value.hint


@pytest.mark.parametrize("shared", ["common", "tree", "disk"])
def test_what_recipes_share_is_none(shared: str) -> None:
    with pytest.raises(DriverError, match="no image"):
        recipe(shared)


def test_docker_command_is_a_package_of_its_own_in_trixie() -> None:
    assert "docker-cli" in recipe("debian-13").packages
    assert not {"docker.io", "docker-cli", "iptables"} & set(recipe("debian-13", docker=False).packages)


def test_only_a_disk_has_a_kernel_and_cloud_init() -> None:
    tree, disk = recipe("debian-12"), recipe("debian-12", kind=Kind.DISK)
    kernels = [package for package in disk.packages if package.startswith("linux-image-cloud")]
    assert len(kernels) == 1
    assert {"cloud-init", "qemu-guest-agent"} <= set(disk.packages) - set(tree.packages)
    assert "/etc/cloud/cloud-init.disabled" in {file.path for file in tree.files}
    assert "/etc/cloud/cloud-init.disabled" not in {file.path for file in disk.files}
    assert "systemd-networkd.service" in tree.masks
    assert "systemd-networkd.service" not in disk.masks


def test_disk_needs_a_kernel_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(DriverError, match="no disk can be built on riscv64"):
        recipe("debian-12", kind=Kind.DISK)
    assert recipe("debian-12").packages


def test_container_images_want_an_engine_that_loads_them(tmp_path: Path) -> None:
    archive = tmp_path / "hello.tar"
    archive.write_bytes(b"images")
    for options in ({"kind": Kind.TREE}, {"kind": Kind.DISK, "docker": False}):
        with pytest.raises(DriverError, match="only a disk with Docker"):
            recipe("debian-12", archives=[archive], **options)  # type: ignore[arg-type]
    units = recipe("debian-12", kind=Kind.DISK, archives=[archive]).units
    assert "provision-images.service" in units
    assert "provision-images.service" not in recipe("debian-12", kind=Kind.DISK).units


def test_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"no\.tar cannot be read: No such file"):
        recipe("debian-12", kind=Kind.DISK, archives=[tmp_path / "no.tar"])
