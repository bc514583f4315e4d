"""Disks that `provision image build` makes: what is on them, and that a BIOS and UEFI start them.

`make test-images` has built them; where it has not, the first test builds, which takes minutes and needs a mirror.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.images.build import build_disk
from provision.images.gpt import SECTOR
from provision.images.places import SYSTEM_DATA
from provision.images.recipes import Kind, recipe
from provision.images.store import DiskImage, Store

FIRMWARE = Path("/usr/share/OVMF")
#: the kernel's first line, and one that needs the root file system
FIRST, ROOT = "Linux version", "systemd[1]: Detected virtualization"
#: seconds for a machine without KVM on a busy machine to come as far
PATIENCE = 240.0


@pytest.fixture(scope="module", params=["debian-12", "debian-13"])
def disk(request: pytest.FixtureRequest, require: Callable[[object, str], None]) -> DiskImage:
    """A disk of each recipe, as the store has it."""
    require(os.geteuid() == 0, "the images for tests are root's")
    require(shutil.which("qemu-img"), "qemu-utils is not installed")
    return build_disk(recipe(request.param, kind=Kind.DISK), Store(SYSTEM_DATA))


@pytest.fixture(scope="module")
def raw(disk: DiskImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a plain file."""
    path = tmp_path_factory.mktemp("raw") / "disk.raw"
    subprocess.run(("qemu-img", "convert", "-O", "raw", disk.path, path), check=True)
    return path


@pytest.fixture(scope="module")
def partitions(raw: Path) -> Iterator[dict[int, tuple[int, int]]]:
    """Start and size in sectors of each partition that this kernel finds."""
    with loop_device(raw) as name:
        yield {
            int((folder / "partition").read_text()): (
                int((folder / "start").read_text()),
                int((folder / "size").read_text()),
            )
            for folder in Path("/sys/block", name).glob(f"{name}p*")
        }


@contextlib.contextmanager
def loop_device(path: Path) -> Iterator[str]:
    argv = ("losetup", "--find", "--show", "--partscan", "--read-only", path)
    device = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield Path(device).name
    finally:
        subprocess.run(("losetup", "--detach", device), check=True)


class Root:
    """The root file system, read without mounting it."""

    def __init__(self, raw: Path, start: int) -> None:
        self._image = f"{raw}?offset={start * SECTOR}"

    def read(self, path: str) -> str:
        """A file's text."""
        return self._ask(f"cat {path}")

    def names(self, path: str) -> set[str]:
        """What a folder holds."""
        lines = self._ask(f"ls -p {path}").splitlines()
        return {line.split("/")[5] for line in lines if line} - {".", ".."}

    def _ask(self, request: str) -> str:
        argv = ("debugfs", "-R", request, self._image)
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def root(raw: Path, partitions: dict[int, tuple[int, int]]) -> Root:
    return Root(raw, partitions[1][0])


def test_kernel_finds_the_partitions_with_the_root_last(partitions: dict[int, tuple[int, int]], raw: Path) -> None:
    assert partitions.keys() == {1, 14, 15}
    assert max(partitions, key=lambda number: partitions[number][0]) == 1
    start, size = partitions[1]
    assert (start + size) * SECTOR <= raw.stat().st_size


def test_root_file_system_is_whole(raw: Path, partitions: dict[int, tuple[int, int]], tmp_path: Path) -> None:
    copy = tmp_path / "root.ext4"
    start, size = partitions[1]
    dd = ("dd", f"if={raw}", f"of={copy}", "bs=1M", f"skip={start // 2048}", f"count={size // 2048}", "conv=sparse")
    subprocess.run(dd, check=True, capture_output=True)
    done = subprocess.run(("e2fsck", "-f", "-n", copy), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_disk_has_no_identity_of_its_own(root: Root) -> None:
    assert root.read("/etc/machine-id") == ""
    assert not {name for name in root.names("/etc/ssh") if name.startswith("ssh_host_")}
    assert "hostname" not in root.names("/etc")


def test_kernel_has_what_a_swarm_needs(root: Root) -> None:
    (release,) = root.names("/usr/lib/modules")
    known = root.read(f"/usr/lib/modules/{release}/modules.dep")
    for module in ("ip_vs", "ip_vs_rr", "vxlan", "br_netfilter", "overlay", "esp4", "xt_bpf", "isofs", "nft_compat"):
        assert f"/{module}.ko" in known, module


def test_disk_is_no_larger_than_it_must_be(disk: DiskImage) -> None:
    assert disk.path.stat().st_size < 1.6 * 1024**3
    assert disk.virtual_size < 3 * 1024**3
    assert disk.kernel and disk.kernel.stat().st_size > 0
    assert disk.initrd and disk.initrd.stat().st_size < 40 * 1024**2


def test_bios_starts_grub_and_the_kernel(disk: DiskImage, require: Callable[[object, str], None]) -> None:
    require(shutil.which("qemu-system-x86_64"), "qemu-system-x86 is not installed")
    text = console_until(disk, ROOT)
    assert FIRST in text


def test_uefi_starts_grub_and_the_kernel(
    disk: DiskImage, require: Callable[[object, str], None], tmp_path: Path
) -> None:
    require(shutil.which("qemu-system-x86_64"), "qemu-system-x86 is not installed")
    require((FIRMWARE / "OVMF_CODE_4M.fd").exists(), "ovmf is not installed")
    variables = shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", tmp_path)
    text = console_until(
        disk,
        FIRST,
        *("-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
    )
    assert "EFI" in text


def console_until(disk: DiskImage, wanted: str, *more: str) -> str:
    """Start a machine from the disk, which stays as it is, until its serial console says so; all that it said."""
    argv = (
        *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "768", "-display", "none"),
        *("-nic", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"),
        *("-drive", f"if=virtio,format={disk.format},file={disk.path},snapshot=on", *more),
    )
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as machine:
        assert machine.stdout
        try:
            return _read_until(machine.stdout.fileno(), wanted)
        finally:
            machine.kill()


def _read_until(descriptor: int, wanted: str) -> str:
    text = ""
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while wanted not in text:
            assert selector.select(max(0.0, deadline - time.monotonic())), f"the console never said {wanted!r}:\n{text}"
            read = os.read(descriptor, 65536)
            assert read, f"the machine ended before its console said {wanted!r}:\n{text}"
            text += read.decode(errors="replace")
    return text
