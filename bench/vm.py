"""Virtual machines from nothing to their first answer: virt-lightning and provision in turn, in one libvirtd."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.contenders.provision_vm import ProvisionVm
from bench.contenders.virt_lightning import VirtLightning
from bench.fleet import quiet
from bench.results import measured_now
from bench.rounds import turns
from bench.vm_place import vm_place
from bench.vm_site import VmContender, VmSite, first_answers
from provision_libvirt.connection import open_connection
from provision_libvirt.testing import URI

#: seconds until all machines must have answered, and until a command must have ended afterwards
_LIMIT, _END = 1800.0, 600.0


@dataclass(slots=True, kw_only=True)
class VmTable:
    """Seconds by contender, a value a round, in the order of the rounds.

    `template` are those of the first warm run, which made what the later ones are cloned from; `busy` turns began
    although the machine had not come to rest in time.
    """

    machines: int
    template: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    busy: int = 0
    measured: str = ""


def vm(machines: int, rounds: int, *, say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure; the value is a VmTable, and there are the versions of what ran.

    Raises RuntimeError when a contender fails, or leaves something behind that would be there in the next turn.
    """
    theirs, cold, warm = VirtLightning(), ProvisionVm("cold"), ProvisionVm("warm")
    contenders: Sequence[VmContender] = (theirs, cold, warm)
    table = VmTable(machines=machines)
    # now: this makes an environment, for which there is no way to an index from inside
    versions = {theirs.name: theirs.versions(os.environ), "provision": cold.versions(os.environ)}
    with vm_place(machines) as site, theirs.installed(site):
        versions |= _hypervisor(site)
        for contender in contenders:
            contender.prepare(site)
        table.template = _taken(site, warm)
        say(f"{machines} machines, the first warm run: {table.template:.2f}")
        for number in range(rounds):
            for contender in (contenders[index] for index in turns(len(contenders), number)):
                table.busy += not quiet()
                taken = _taken(site, contender)
                table.seconds.setdefault(contender.name, []).append(taken)
                say(f"{machines} machines, round {number + 1}: {contender.name} {taken:.2f}")
    table.measured = measured_now()
    return asdict(table), versions


def _taken(site: VmSite, contender: VmContender) -> float:
    """Seconds from the start of its command until every machine has answered; nothing is left afterwards."""
    with (site.folder / "said").open("w+b") as said:
        began = time.monotonic()
        process = subprocess.Popen(
            contender.argv(site), env=dict(site.environ), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )

        def words() -> str:
            said.seek(0)
            return said.read().decode(errors="replace")[-3000:]

        def going() -> None:
            if process.poll() not in (None, 0):
                raise RuntimeError(f"{contender.name} failed ({process.returncode}):\n{words()}")

        try:
            taken = first_answers(site, contender, going=going, seconds=_LIMIT) - began
            if contender.interrupted is not None:
                process.send_signal(signal.SIGINT)
            if process.wait(_END) not in (0, contender.interrupted):
                going()
        finally:
            process.kill()
            process.wait()
    contender.forget(site)
    if left := site.libvirtd.leftovers():
        raise RuntimeError(f"{contender.name} left behind: {left}")
    return taken


def _hypervisor(site: VmSite) -> dict[str, str]:
    connection = open_connection(URI)
    try:
        libvirt, qemu = connection.getLibVersion(), connection.getVersion()
    finally:
        connection.close()
    image = f"{site.image.name} ({site.image.digest})"
    return {"hypervisor": f"libvirt {_dotted(libvirt)}, QEMU {_dotted(qemu)}, emulation", "disk image": image}


def _dotted(number: int) -> str:
    """As libvirt counts: a million, a thousand, one."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
