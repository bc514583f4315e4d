"""A place where the command `provision` makes virtual machines, and a way to look into them without its help.

`VmLab` is the lab's `Lab` (tests/lab/lab_support.py) with machines of driver libvirt. A machine is looked into through
its guest agent, so that what a test asserts is the machine's own word, whatever becomes of SSH.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
from lab_support import Guest, Lab, Ran

from provision.driver import Machine
from provision_libvirt import LibvirtDriver
from provision_libvirt.connection import open_connection
from provision_libvirt.testing import URI, OwnLibvirtd

#: what an inventory of this suite says of its machines, unless a test wants it otherwise
SMALL = "image: debian-12\ncpus: 1\nmemory: 768MiB\ndisk: 8GiB"


@dataclass(frozen=True, slots=True)
class VmGuest(Guest):
    """A virtual machine, looked into through its guest agent."""

    def run(self, script: str, *, seconds: float = 60.0) -> Ran:
        """Run a shell script in it as root, without SSH and without a network."""
        deadline = time.monotonic() + seconds
        # the agent's channel is one for all, and a machine that still boots has none
        begun = self._agent("guest-exec", deadline, path="/bin/sh", arg=["-c", script], **{"capture-output": True})
        while True:
            told = self._agent("guest-exec-status", deadline, pid=begun["pid"])
            if told["exited"]:
                break
            assert time.monotonic() < deadline, f"{self.name}: {script!r} took more than {seconds} s"
            time.sleep(0.1)
        out, err = (base64.b64decode(told.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data"))
        return Ran((f"{self.name}:", script), told.get("exitcode", 255), out, err)

    def _agent(self, command: str, deadline: float, **arguments: Any) -> Any:
        words = json.dumps({"execute": command, "arguments": arguments})
        while True:
            try:
                with domain(self.name) as found:
                    return json.loads(libvirt_qemu.qemuAgentCommand(found, words, 20, 0))["return"]
            except libvirt.libvirtError as not_yet:
                assert time.monotonic() < deadline, f"{self.name}: the guest agent does not answer: {not_yet}"
                time.sleep(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmLab(Lab):
    """One user's place beside a libvirtd of its own."""

    libvirtd: OwnLibvirtd

    def guests(self, cluster: str) -> dict[str, Guest]:
        """The machines that the hypervisor has of a cluster, by name."""
        return {machine.name: VmGuest(machine, self.layout) for machine in self.machines(cluster)}

    def machines(self, cluster: str) -> tuple[Machine, ...]:
        """The same, as the driver sees them."""
        return tuple(LibvirtDriver({}).discover(cluster))

    def remove(self, cluster: str) -> None:
        """Make sure that nothing of a cluster is left, whatever a test did to it or to the product."""
        if self.states.joinpath(cluster, "state.json").exists():
            self.run("down", "-c", cluster, "--yes")
        driver = LibvirtDriver({})
        for machine in driver.discover(cluster):
            driver.destroy(machine)


@contextmanager
def domain(name: str) -> Iterator[libvirt.virDomain]:
    """A machine as libvirt has it, on a connection of its own."""
    connection = open_connection(URI)
    try:
        yield connection.lookupByName(name)
    finally:
        connection.close()


def vm_inventory(
    name: str, *, workers: int = 1, options: str = "", manager: str = "", worker: str = "", rest: str = ""
) -> str:
    """An inventory's text: one manager and so many workers, small. `options` are further lines of the driver's."""
    # where nothing helps a processor to pretend to be another, and others want it too, a boot takes minutes
    text = f"name: {name}\ndriver: libvirt\nssh: {{connect_timeout: 8m}}\n"
    text += f"drivers:\n  libvirt:\n    ephemeral: true\n{_indented(options, 4)}"
    text += f"machines:\n  manager:\n    role: manager\n    count: 1\n{_indented(SMALL, 4)}{_indented(manager, 4)}"
    if workers:
        text += f"  worker:\n    role: worker\n    count: {workers}\n{_indented(SMALL, 4)}{_indented(worker, 4)}"
    return text + rest


def _indented(text: str, width: int) -> str:
    return "".join(f"{' ' * width}{line}\n" for line in text.strip("\n").splitlines())


@contextmanager
def home_in_passwd(home: Path, folder: Path) -> Iterator[None]:
    """OpenSSH takes the home from the password database, whatever HOME says; in our mounts that says the lab's."""
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines() if line]
    for user in users:
        if user[2] == "0":
            user[5] = str(home)
    changed = folder / "passwd"
    changed.write_text("".join(f"{':'.join(user)}\n" for user in users))
    changed.chmod(0o644)
    subprocess.run(("mount", "--bind", changed, "/etc/passwd"), check=True)
    try:
        yield
    finally:
        # the process keeps these mounts when it leaves the network
        subprocess.run(("umount", "/etc/passwd"), check=True)
