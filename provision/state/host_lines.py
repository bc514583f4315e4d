"""The lines of a known_hosts file, found by what they name: a thousand hosts ask for their own and change it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property


class HostLines:
    """What a file says. It does not change; `Rewriting` makes another one of it."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = tuple(lines)

    def keys_of(self, name: str) -> tuple[str, ...]:
        """The keys of a name, each `type base64`, in the order of the lines."""
        return tuple(self._keys.get(name, ()))

    @cached_property
    def _keys(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self.lines:
            words = line.split()
            if len(words) > 2:
                for name in dict.fromkeys(words[0].split(",")):
                    found.setdefault(name, []).append(f"{words[1]} {words[2]}")
        return found


class Rewriting:
    """Lines that change, name by name, without a look at those that do not name it."""

    def __init__(self, before: HostLines) -> None:
        self._lines = dict(enumerate(before.lines))
        self._next = len(self._lines)
        self._named: dict[str, set[int]] = {}
        for number, line in self._lines.items():
            self._enter(number, line)

    @property
    def lines(self) -> list[str]:
        """All lines as they are now."""
        return list(self._lines.values())

    def pin(self, names: Collection[str], lines: Collection[str]) -> bool:
        """Make `lines` the only ones that name any of `names`; returns whether anything changed.

        Another line loses these names; it goes where the name of its machine, the first, is among them.
        """
        touched = {number for name in names for number in self._named.pop(name, ()) if number in self._lines}
        before = [self._lines[number] for number in touched]
        kept = []
        for number in touched:
            line = _without(self._lines[number], names)
            if line:
                self._lines[number] = line
                kept.append(line)
            else:
                del self._lines[number]
        for line in lines:
            self._lines[self._next] = line
            self._enter(self._next, line)
            self._next += 1
        return sorted(before) != sorted([*kept, *lines])

    def drop(self, name: str) -> bool:
        """Remove every line that names it; returns whether there was one."""
        gone = [number for number in self._named.pop(name, ()) if number in self._lines]
        for number in gone:
            del self._lines[number]
        return bool(gone)

    def _enter(self, number: int, line: str) -> None:
        for name in line.split(maxsplit=1)[0].split(","):
            self._named.setdefault(name, set()).add(number)


def _without(line: str, names: Collection[str]) -> str:
    hosts, _, rest = line.partition(" ")
    kept = [host for host in hosts.split(",") if host not in names]
    is_machine = kept and hosts.split(",")[0] == kept[0]
    return f"{','.join(kept)} {rest}" if is_machine else ""
