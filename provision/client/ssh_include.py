"""One line of ours at the top of the user's own ssh config, put there and taken away without a trace."""

from __future__ import annotations

import os
import pwd
import re
import stat
from pathlib import Path

from provision.client.ssh_config import quote
from provision.errors import ProvisionError
from provision.state.files import locked_folder, write_atomic

#: says that the file was ours from the start, so it goes with the line
_MADE = b"# this file was made by provision\n"
#: a line of ours, of any state folder
_INCLUDE = re.compile(rb'Include "?/.*/provision/\*/ssh_config"?\n')


def ssh_home() -> Path:
    """The home that OpenSSH uses: the password database's, whatever HOME says.

    Raises ProvisionError without one.
    """
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        raise ProvisionError(
            f"user id {os.getuid()} has no entry in the password database, and OpenSSH needs one",
            hint="use the cluster's ssh_config with: ssh -F FILE",
        ) from error


def include(root: Path, *, home: Path | None = None) -> bool:
    """Have the user's `~/.ssh/config` include every cluster's ssh_config; returns whether changed.

    The line goes to the very top, since within a `Host` block it would count for that host only. The file
    keeps its mode, its owner and its symlink; where there is none it is made, 0600. Raises ProvisionError
    when it cannot be.
    """
    line = _line(root)
    folder = (home or ssh_home()) / ".ssh"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked_folder(folder):
            path = _real(folder / "config")
            before = _read(path)
            if before is not None and _is_effective(before, line):
                return False
            # one that stands too low to work moves to the top
            rest = _MADE if before is None else _without(before, line)
            _write(path, line + rest)
    except OSError as error:
        raise _failed(folder, error) from error
    return True


def included(root: Path, *, home: Path | None = None) -> bool:
    """Whether the user's ssh config includes the clusters' ones, so that plain `ssh MACHINE` works."""
    try:
        text = _read(_real((home or ssh_home()) / ".ssh" / "config"))
    except (OSError, ProvisionError):
        return False
    return text is not None and _is_effective(text, _line(root))


def exclude(root: Path, *, home: Path | None = None) -> bool:
    """Take the line away, unless a cluster under `root` still has an ssh_config; returns whether changed.

    Every other byte stays as it was. A file that `include` made goes when nothing else was added to it.
    """
    line = _line(root)
    folder = (home or ssh_home()) / ".ssh"
    try:
        if not folder.is_dir():
            return False
        with locked_folder(folder):
            if any(root.glob("*/ssh_config")):
                return False
            path = _real(folder / "config")
            before = _read(path)
            if before is None or line not in before.splitlines(keepends=True):
                return False
            rest = _without(before, line)
            if rest == _MADE:
                path.unlink()
            else:
                _write(path, rest if _holds_only_includes(rest) else rest.replace(_MADE, b"", 1))
    except OSError as error:
        raise _failed(folder, error) from error
    return True


def _holds_only_includes(text: bytes) -> bool:
    """Whether all that is left are lines of ours for other state folders: the file then still goes with the last."""
    return all(line == _MADE or _INCLUDE.fullmatch(line) for line in text.splitlines(keepends=True))


def _line(root: Path) -> bytes:
    # Include takes a pattern, and unlike other paths it is not %-expanded, in no version before 9.9
    if any(char in str(root) for char in "*?[]%"):
        raise ProvisionError(
            f"the state folder {str(root)!r} cannot be included by an ssh config",
            hint="set XDG_STATE_HOME to a path without * ? [ ] %",
        )
    return f"Include {quote(root / '*' / 'ssh_config')}\n".encode()


def _is_effective(text: bytes, line: bytes) -> bool:
    for present in text.splitlines(keepends=True):
        if present == line:
            return True
        if re.match(rb"\s*(host|match)[\s=]", present, re.IGNORECASE):
            return False
    return False


def _without(text: bytes, line: bytes) -> bytes:
    return b"".join(present for present in text.splitlines(keepends=True) if present != line)


def _real(path: Path) -> Path:
    # dotfiles are often symlinks; what they point to is replaced, not they
    return path.resolve()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, text: bytes) -> None:
    try:
        old = path.stat()
    except FileNotFoundError:
        write_atomic(path, text, mode=0o600)
        return
    write_atomic(path, text, mode=stat.S_IMODE(old.st_mode))
    if (old.st_uid, old.st_gid) != (path.stat().st_uid, path.stat().st_gid):
        os.chown(path, old.st_uid, old.st_gid)


def _failed(folder: Path, error: OSError) -> ProvisionError:
    return ProvisionError(
        f"cannot change {folder / 'config'}",
        detail=str(error),
        hint="provision ssh, exec and docker work without it; plain ssh and docker --context do not",
    )
