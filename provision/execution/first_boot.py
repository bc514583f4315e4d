"""Waiting until cloud-init is done with a machine that boots for the first time, and saying what went wrong."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from provision.cloudinit.status import State, Status, parse
from provision.driver import Console, Driver, Machine
from provision.errors import DeadlineError, ProvisionError
from provision.hosts.host import Host

#: seconds that cloud-init may take: the user's own part of it may install packages over slow lines
FIRST_BOOT_SECONDS = 1200.0
#: `Machine.first_boot` of those that are waited for here
CLOUD_INIT = "cloud-init"

_STATUS = ("cloud-init", "status", "--format", "json")
_ASK_SECONDS = 60.0
_CONSOLE_LINES = 15
#: what systemd says twice a second while it waits
_WAITING = re.compile(r"[Jj]ob \S+ running \(|[Jj]ob is running for ")


def finish(
    host: Host,
    *,
    fatal: bool,
    say: Callable[[str], None],
    console: Callable[[], str] = lambda: "",
    seconds: float = FIRST_BOOT_SECONDS,
) -> str:
    """Wait for cloud-init's end on the open connection. Returns what is worth a note, often nothing.

    Raises ProvisionError when it failed, with the module that did and the end of the console; not `fatal`, that is a
    note too. Raises DeadlineError after `seconds`, with the stage that it hangs in.
    """
    say("waiting for cloud-init")
    try:
        status = _ask(host, (*_STATUS, "--wait"), seconds)
    except DeadlineError as late:
        raise DeadlineError(
            f"{host.machine}: cloud-init", seconds, _stage(host, late), hint=_hint(host.machine)
        ) from late
    if status.state is not State.ERROR:
        return note(status)
    errors = status.errors or (status.detail,)
    if not fatal:
        return f"cloud-init failed at first boot: {'; '.join(errors)}"
    raise ProvisionError(
        f"{host.machine}: cloud-init failed" + (f" in {status.failed}" if status.failed else ""),
        detail="\n".join([*errors, *status.warnings]) + tail(console()),
        hint=_hint(host.machine),
    )


def note(status: Status) -> str:
    """What a user should know of a first boot that did not fail, in one line."""
    if status.state is State.DISABLED:
        return f"cloud-init is disabled: {status.detail}"
    if status.state is State.DEGRADED:
        return f"cloud-init is degraded: {'; '.join(status.warnings) or status.detail}"
    return ""


def console_of(driver: Driver, machine: Machine) -> str:
    """What the machine printed on its console, empty where its driver has none or cannot tell."""
    if not isinstance(driver, Console):
        return ""
    try:
        return driver.console(machine)
    except ProvisionError:
        return ""  # an error is being told already, and this was only to explain it


def tail(console: str) -> str:
    """The console's last lines, to be put below an error's detail."""
    said = (line.rstrip() for line in console.splitlines() if line.strip() and not _WAITING.search(line))
    lines = list(deque(said, maxlen=_CONSOLE_LINES))
    return "\nlast on its console:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""


def _ask(host: Host, argv: tuple[str, ...], seconds: float) -> Status:
    result = host.run(argv, seconds=seconds)
    try:
        return parse(result.stdout)
    except ValueError as odd:
        said = (result.stderr or result.stdout).strip()[-400:]
        raise ProvisionError(
            f"{host.machine}: cloud-init does not say how its first boot went",
            detail=f"{odd}, status {result.status}: {said or 'no output'}",
            hint="does its image have cloud-init? `provision image build` makes one that has",
        ) from odd


def _stage(host: Host, late: DeadlineError) -> str:
    try:
        return _ask(host, _STATUS, _ASK_SECONDS).detail or late.detail
    except ProvisionError:
        return late.detail.removeprefix("last: ")


def _hint(machine: str) -> str:
    return (
        f"its log: provision ssh {machine} sudo cat /var/log/cloud-init-output.log\n"
        f"      mend `user_data` and make the machine anew: provision rm {machine}, then provision up;\n"
        "      or mend the machine by hand: provision up carries on with it"
    )
