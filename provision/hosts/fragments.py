"""Small pieces of shell, quoted in this one place, and the script that they are composed into.

The script runs as root, once, and reports by a line protocol: `@<mark> start <n>`, the fragment's own output, an empty
line (the output may lack its last newline), `@<mark> end <n> <status>`. The first fragment that fails ends the script.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fragment:
    """A named piece of POSIX shell that is safe to run twice. `body` runs under `set -eu` in a subshell."""

    name: str
    body: str


def command(*words: str) -> str:
    """One command line, every word quoted."""
    return shlex.join(words)


def write_file(path: str, content: str, *, mode: str = "0644") -> str:
    """Shell that replaces a file in one rename, so that a reader never sees half of it. Missing folders are made.

    It starts no command but `mv`, where the folder is there: each costs the host a millisecond. `mode` has no x bits.
    """
    if not content.endswith("\n"):
        content += "\n"
    folder = shlex.quote(path.rpartition("/")[0])
    target, temporary = shlex.quote(path), shlex.quote(path + ".provision")
    mask = 0o666 & ~int(mode, 8)
    return (
        f"[ -d {folder} ] || mkdir -p {folder}\n"
        # one that was left there could have another mode, or be a link
        f"[ ! -e {temporary} ] && [ ! -L {temporary} ] || rm -f {temporary}\n"
        f"(umask {mask:03o}; printf '%s' {shlex.quote(content)} >{temporary})\n"
        f"mv -f {temporary} {target}"
    )


def compose(fragments: Iterable[Fragment], *, mark: str) -> str:
    """The whole script. A function holds it, so that no command in it can read the rest of it from stdin."""
    parts = [_guarded(number, fragment, mark) for number, fragment in enumerate(fragments)]
    return "\n".join(
        (
            "LC_ALL=C; PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin; export LC_ALL PATH",
            "umask 022",
            "provision_apply() {",
            *parts,
            f"echo '@{mark} whole'",
            "}",
            "provision_apply </dev/null 2>&1",
            "exit 0",
            "",
        )
    )


def _guarded(number: int, fragment: Fragment, mark: str) -> str:
    # `set -e` is off inside a subshell whose status is tested with `if` or `||`: hence the plain call and `$?`.
    return (
        f"echo '@{mark} start {number}'\n"
        f"(set -eu\n{fragment.body}\n)\n"
        f"status=$?\n"
        f"printf '\\n@{mark} end {number} %s\\n' $status\n"
        f"[ $status -eq 0 ] || exit 0"
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fragment did: `status` None means that it began and never ended (the connection broke)."""

    name: str
    status: int | None
    output: str


def outcomes(output: str, fragments: Sequence[Fragment], *, mark: str) -> tuple[Outcome, ...]:
    """The outcomes of the fragments that began, in order."""
    found: list[Outcome] = []
    lines: list[str] = []
    number = -1
    for line in output.splitlines():
        words = line.split()
        if words[:2] == [f"@{mark}", "start"]:
            number, lines = int(words[2]), []
        elif words[:2] == [f"@{mark}", "end"]:
            found.append(Outcome(fragments[number].name, int(words[3]), "\n".join(lines).removesuffix("\n")))
            number = -1
        elif words[:1] != [f"@{mark}"]:
            lines.append(line)
    if number >= 0:
        found.append(Outcome(fragments[number].name, None, "\n".join(lines)))
    return tuple(found)
