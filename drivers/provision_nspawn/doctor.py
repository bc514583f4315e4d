"""What is missing on this machine, each with the command that mends it; and what a plan's machines ask too much."""

from __future__ import annotations

import difflib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from provision.driver import Finding, MachineSpec
from provision.errors import ProvisionError
from provision.images.recipes import recipe, recipe_names
from provision.images.tree import source_place
from provision.local.commands import PACKAGES, SEARCH_PATH, Commands
from provision_nspawn.boot import systemd_rules
from provision_nspawn.cgroups import hierarchies
from provision_nspawn.kernel import low_limits
from provision_nspawn.layout import Layout
from provision_nspawn.network import networks_in_use
from provision_nspawn.options import NspawnOptions, parse_bind
from provision_nspawn.records import clusters, read_cluster
from provision_nspawn.requests import DEFAULT_IMAGE, CreateRequest
from provision_nspawn.subnets import choose_subnet

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: systemd, sshd and dockerd of an idle machine take some 100 MB; below this it never boots.
_LEAST_MEMORY = 128 * 1024**2


_PROGRAMS = ("ip", "nft", "systemd-nspawn", "unshare", "setpriv", "nsenter")
#: what only the building of an image needs
_BUILDERS = ("mmdebstrap",)


def check_host(layout: Layout, *, search_path: str = SEARCH_PATH, builds: bool = True) -> tuple[Finding, ...]:
    """What keeps any machine from being made here; programs are looked for in `search_path`.

    `builds` False: every image that is needed is cached, so nothing that builds one has to be here.
    """
    return tuple(_host_findings(layout, search_path, builds=builds))


def builds_image(layout: Layout, specs: Sequence[MachineSpec]) -> bool:
    """Whether making these machines builds an image first."""
    return any(True for _ in _image_findings(layout, specs))


def check_specs(layout: Layout, specs: Sequence[MachineSpec]) -> tuple[Finding, ...]:
    """What keeps these machines from being made, and what making them does besides; each thing once."""
    found = [*_limit_findings(), *_image_findings(layout, specs), *_subnet_findings(layout, specs)]
    for spec in specs:
        found += _spec_findings(spec)
    return tuple(dict.fromkeys(found))


def _host_findings(layout: Layout, search_path: str, *, builds: bool) -> Iterator[Finding]:
    if platform.system() != "Linux":
        yield Finding(summary="driver nspawn needs Linux", fix="use another driver, or work in a Linux VM")
        return
    needed = [*_PROGRAMS, *(_BUILDERS if builds else ())]
    missing = [name for name in needed if shutil.which(name, path=search_path) is None]
    for name in missing:
        yield Finding(summary=f"the program {name!r} is missing", fix=f"apt-get install {PACKAGES[name]}")
    if builds and not _KEYRING.exists():
        yield Finding(
            summary="Debian's archive keys are missing, so no image can be verified",
            fix="apt-get install debian-archive-keyring",
        )
    if "\toverlay" not in Path("/proc/filesystems").read_text() and not _module_exists("overlay"):
        yield Finding(summary="this kernel has no overlayfs", fix="modprobe overlay, or boot a kernel that has it")
    if os.geteuid() != 0:
        yield from _sudo_findings(search_path)
    existing = next(path for path in (layout.data, *layout.data.parents) if path.exists())
    if shutil.disk_usage(existing).free < 2 * 1024**3:
        yield Finding(
            summary=f"{existing} has less than 2 GiB free, and an image takes half a GiB",
            fix="free some, or set PROVISION_DATA_DIR",
            fatal=False,
        )


def _sudo_findings(search_path: str) -> Iterator[Finding]:
    sudo = shutil.which("sudo", path=search_path)
    if sudo is None:
        yield Finding(summary="not root, and there is no sudo", fix="run as root, or as root: apt-get install sudo")
        return
    done = subprocess.run((sudo, "-n", "true"), capture_output=True, check=False, timeout=20)
    if done.returncode != 0:
        yield Finding(
            summary="not root, and sudo asks for a password",
            fix="run `sudo -v` first, or allow your user NOPASSWD in /etc/sudoers.d",
        )


def _module_exists(name: str) -> bool:
    folder = Path("/lib/modules") / platform.release()
    return folder.is_dir() and any(folder.rglob(f"{name}.ko*"))


def _limit_findings() -> Iterator[Finding]:
    for limit in low_limits():
        yield Finding(
            summary=f"will raise {limit}",
            fix=f"sysctl -w {limit.name}={limit.want}",
            fatal=False,
        )


def _image_findings(layout: Layout, specs: Sequence[MachineSpec]) -> Iterator[Finding]:
    for spec in specs:
        try:
            request = CreateRequest.of(spec)
            made_of = recipe(request.image, docker=request.docker, mirror=request.mirror)
        except (ValueError, ProvisionError):
            continue  # said of the spec itself
        if not layout.image(made_of.digest).is_dir():
            place = source_place(made_of)
            bare = "" if made_of.docker else " without Docker"
            yield Finding(
                summary=f"will build image {made_of.name}{bare} from {place} first, which takes a minute or so",
                fix=f"provision image build {made_of.name} --tree{' --bare' if bare else ''}",
                fatal=False,
            )


def _subnet_findings(layout: Layout, specs: Sequence[MachineSpec]) -> Iterator[Finding]:
    asked = {}
    for spec in specs:
        subnet = dict(spec.options).get("subnet")
        if isinstance(subnet, str) and read_cluster(layout, spec.cluster) is None:
            asked[spec.cluster] = subnet
    for cluster, subnet in asked.items():
        others = [record.network for name in clusters(layout) if (record := read_cluster(layout, name))]
        try:
            choose_subnet(cluster, taken=(*networks_in_use(Commands()), *others), asked=subnet)
        except ProvisionError as error:
            yield Finding(summary=error.summary, fix=error.hint)
        except ValueError:
            continue  # said of the spec itself


def _spec_findings(spec: MachineSpec) -> Iterator[Finding]:
    try:
        options = NspawnOptions.model_validate(dict(spec.options))
    except ValueError as error:
        yield Finding(summary=f"{spec.name}: the options of driver nspawn are not valid: {error}")
        return
    image = spec.image or DEFAULT_IMAGE
    if image not in recipe_names():
        close = difflib.get_close_matches(image, recipe_names(), n=1)
        yield Finding(
            summary=f"nspawn has no image {image!r}",
            fix=f"image: {close[0]}" if close else f"image: one of {', '.join(recipe_names())}",
        )
    for entry in options.bind:
        host = parse_bind(entry)[0]
        if not Path(host).exists():
            yield Finding(summary=f"bind: {host} does not exist here", fix=f"create it, or take out {entry!r}")
    if spec.user_data is not None:
        yield Finding(
            summary="driver nspawn runs no cloud-init, so `user_data` cannot be obeyed",
            fix="leave it out, or use a driver of real VMs",
        )
    if spec.disk is not None:
        yield Finding(
            summary="driver nspawn does not limit disks: `disk` has no effect", fix="leave it out", fatal=False
        )
    if spec.memory is not None and spec.memory < _LEAST_MEMORY:
        yield Finding(summary=f"{spec.memory // 1024**2} MiB of memory are too few to boot", fix="memory: 512MiB")
    for controller, value in (("memory", spec.memory), ("cpu", spec.cpus)):
        if value is not None and not systemd_rules() and not hierarchies().can_limit(controller):
            yield Finding(
                summary=f"this kernel offers no {controller} control group: the limit will not hold", fatal=False
            )
