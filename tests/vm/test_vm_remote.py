"""A hypervisor that is reached by SSH: what it takes to trust it, and that disks, names and logs go the same way.

It is this machine, behind an SSH server of the test's own; its machines have an empty disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from vm_support import VmLab, domain

from provision.driver import MachineSpec, MachineState, Role
from provision.errors import DriverError
from provision.state.keys import new_host_key
from provision_libvirt import LibvirtDriver

PORT = 2222
URI = f"qemu+ssh://root@127.0.0.1:{PORT}/system"

#: Its commands run here, beside the hypervisor. OpenSSH's server may not be installed where the tests run.
SERVER = """
import asyncio, asyncssh, sys

async def run(process):
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(process.command, stdin=pipe, stdout=pipe, stderr=pipe)
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    process.exit(await child.wait())

async def main():
    folder = sys.argv[1]
    server = await asyncssh.listen(
        "127.0.0.1", int(sys.argv[2]), server_host_keys=[f"{folder}/host"], process_factory=run, encoding=None,
        authorized_client_keys=f"{folder}/id_ed25519.pub")
    print("listens", flush=True)
    await server.wait_closed()

asyncio.run(main())
"""


@pytest.fixture
def server(lab: VmLab) -> Iterator[str]:
    """The line that known_hosts needs; the user (whose home is the lab's) has a key that the server takes."""
    folder = lab.home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("id_ed25519", "host"):
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name), check=True)
    process = subprocess.Popen(
        (sys.executable, "-c", SERVER, folder, str(PORT)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield f"[127.0.0.1]:{PORT} {(folder / 'host.pub').read_text().strip()}\n"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def test_remote_hypervisor_whose_key_is_known(lab: VmLab, server: str, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="Host key verification failed") as caught:
        LibvirtDriver({"uri": URI}).discover("pvtest-far")
    assert f"ssh -p {PORT} root@127.0.0.1" in caught.value.hint

    (lab.home / ".ssh" / "known_hosts").write_text(server)
    driver = LibvirtDriver({"uri": URI})
    disk = tmp_path / "empty.qcow2"
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"), check=True)
    with disk.open("ab") as stream:
        stream.write(os.urandom(8 * 2**20))  # more than libvirt sends at once
    machine = driver.create(
        MachineSpec(
            cluster="pvtest-far",
            name="pvtest-far-node-1",
            group="node",
            number=1,
            role=Role.WORKER,
            driver="libvirt",
            image=str(disk),
            memory=256 * 2**20,
            host_key=new_host_key(),
            options={"uri": URI, "accel": "qemu", "ephemeral": True},
        )
    )
    try:
        assert machine.state is MachineState.RUNNING
        assert machine.jump == f"root@127.0.0.1:{PORT}"
        with domain(machine.name) as found:  # its log is a file of the pool, which comes through the connection
            console = Path(found.XMLDesc(0).partition("<log file='")[2].partition("'")[0])
        console.write_text("hello\n")
        assert driver.console(machine) == "hello\n"
        base = next(console.parent.glob("provision-*.qcow2"))
        assert base.read_bytes() == disk.read_bytes()
    finally:
        for found in driver.discover("pvtest-far"):
            driver.destroy(found)
    deadline = time.monotonic() + 20
    while left := lab.libvirtd.leftovers():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
