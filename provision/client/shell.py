"""Lines that set variables in a user's shell, to be evaluated there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from provision.errors import UsageError

_POSIX = ("sh", "bash", "zsh", "dash", "ksh", "ash")
_SHELLS = (*_POSIX, "fish", "csh", "tcsh", "powershell", "pwsh")


def export_lines(shell: str, values: Mapping[str, str]) -> str:
    """One line a variable, in the words of that shell. Raises UsageError for a shell that is not known."""
    return "".join(f"{_export(shell, name, value)}\n" for name, value in values.items())


def unset_lines(shell: str, names: Iterable[str]) -> str:
    """One line a variable that takes it back."""
    return "".join(f"{_unset(shell, name)}\n" for name in names)


def _export(shell: str, name: str, value: str) -> str:
    if shell in _POSIX:
        return f"export {name}={shlex.quote(value)}"
    if shell == "fish":
        return f"set -gx {name} {shlex.quote(value)};"
    if shell in ("csh", "tcsh"):
        return f"setenv {name} {shlex.quote(value)};"
    if shell in ("powershell", "pwsh"):
        return f"$Env:{name} = '{value.replace(chr(39), chr(39) * 2)}'"
    raise _unknown(shell)


def _unset(shell: str, name: str) -> str:
    if shell in _POSIX:
        return f"unset {name}"
    if shell == "fish":
        return f"set -e {name};"
    if shell in ("csh", "tcsh"):
        return f"unsetenv {name};"
    if shell in ("powershell", "pwsh"):
        return f"Remove-Item Env:\\{name} -ErrorAction SilentlyContinue"
    raise _unknown(shell)


def _unknown(shell: str) -> UsageError:
    return UsageError(f"shell {shell!r} is not known", hint=f"--shell {' | '.join(_SHELLS)}")
