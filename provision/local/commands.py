"""Run the system's programs: exact arguments, no shell, a deadline, errors of ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from provision.errors import DeadlineError, DriverError

#: Debian keeps ip, nft and mount helpers where an ordinary user's PATH does not look.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The Debian package of each program that is run here and not part of every system.
PACKAGES: Mapping[str, str] = {
    "ip": "iproute2",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "qemu-img": "qemu-utils",
    "setpriv": "util-linux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs programs while locks are held.

    `held` are descriptors of the locks: each child inherits them, so after a SIGKILL of this process a lock stays
    taken until the last program that worked under it has ended, and nobody cleans up beside it.
    """

    held: tuple[int, ...] = ()

    def run(self, *argv: str, stdin: str = "", seconds: float = 60, environ: Mapping[str, str] | None = None) -> str:
        """The program's standard output. Raises DriverError if it fails or is missing, DeadlineError if it hangs."""
        done = self.attempt(*argv, stdin=stdin, seconds=seconds, environ=environ)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise DriverError(
                f"{argv[0]!r} failed with status {done.returncode}",
                detail="\n".join([f"    {' '.join(argv)}", *(f"    {line}" for line in said[-12:])]),
            )
        return done.stdout

    def attempt(
        self, *argv: str, stdin: str = "", seconds: float = 60, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Like `run`, but a failure is the caller's to judge by the return code."""
        try:
            return subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
                pass_fds=self.held,
                env={**os.environ, **(environ or {}), "PATH": SEARCH_PATH, "LC_ALL": "C"},
            )
        except FileNotFoundError as exc:
            raise DriverError(
                f"the program {argv[0]!r} is not here", hint=f"apt-get install {PACKAGES.get(argv[0], argv[0])}"
            ) from exc
        except subprocess.TimeoutExpired as exc:
            last = (exc.stderr or exc.stdout or b"").decode(errors="replace").strip().splitlines()
            raise DeadlineError(f"{' '.join(argv[:3])!r}", seconds, last[-1] if last else "no output") from exc
