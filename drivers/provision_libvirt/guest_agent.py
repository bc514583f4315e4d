"""Commands to a guest without its network: through the guest agent, on a channel of its own that libvirt keeps."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from provision.errors import DeadlineError, DriverError

if TYPE_CHECKING:
    import libvirt

#: seconds that the agent has for one answer; a script's end is asked for
_ANSWER_SECONDS = 20
_PAUSE = 0.05
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class GuestAgent:
    """The agent of one running domain. libvirt's errors become DriverError."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        self._domain = domain
        self._name = str(domain.name())

    def wait(self, *, seconds: float) -> None:
        """Until it answers. Raises DeadlineError with the last cause, DriverError where the machine does not run."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._ask("guest-ping")
            except DriverError as not_yet:
                if not self._runs():
                    raise DriverError(f"{self._name} stopped while it was waited for") from not_yet
                if time.monotonic() >= deadline:
                    raise DeadlineError(
                        f"{self._name}: waiting for its guest agent",
                        seconds,
                        not_yet.summary,
                        hint="the image needs qemu-guest-agent, enabled",
                    ) from not_yet
                time.sleep(_PAUSE)
            else:
                return

    def run(self, script: str, *, what: str, seconds: float) -> str:
        """Have root's shell run it; returns what it printed. The script goes over the channel, not into arguments.

        Raises DriverError with what it said where it fails, DeadlineError where it does not end in time.
        """
        arguments = {
            "path": "/bin/sh",
            "input-data": base64.b64encode(wrapped(script).encode()).decode(),
            "capture-output": True,
        }
        deadline = time.monotonic() + seconds
        started = self._ask("guest-exec", arguments)
        while not (status := self._ask("guest-exec-status", {"pid": started["pid"]}))["exited"]:
            if time.monotonic() >= deadline:
                raise DeadlineError(f"{self._name}: {what}", seconds, "its script has not ended")
            time.sleep(_PAUSE)
        if status.get("exitcode") != 0:
            raise DriverError(
                f"{self._name}: {what} failed with status {status.get('exitcode', 'unknown')}",
                detail=_last_lines(_text(status, "err-data") or _text(status, "out-data")),
            )
        return _text(status, "out-data")

    def _ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        import libvirt
        import libvirt_qemu

        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            answer = libvirt_qemu.qemuAgentCommand(self._domain, json.dumps(request), _ANSWER_SECONDS, 0)
        except libvirt.libvirtError as exc:
            message = exc.get_error_message() or str(exc)
            hint = "the image's guest agent forbids it" if "has been disabled" in message else ""
            raise DriverError(f"{self._name}: {command}: {message}", hint=hint) from exc
        return json.loads(answer)["return"]

    def _runs(self) -> bool:
        import libvirt

        try:
            return bool(self._domain.isActive())
        except libvirt.libvirtError:
            return False


def wrapped(script: str) -> str:
    """So that no command in it reads the rest of the script, which the shell has from its standard input."""
    return f"PATH={_PATH}\nexport PATH\nall() {{\nset -eu\n{script}\n}}\nall </dev/null\n"


def _text(status: dict[str, Any], key: str) -> str:
    return base64.b64decode(status.get(key, "")).decode(errors="replace")


def _last_lines(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-8:])
