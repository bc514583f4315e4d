"""The lines of known_hosts against the plain rules that they keep, in changes by chance."""

from __future__ import annotations

import random

import pytest

from provision.state.host_lines import HostLines, Rewriting


def pinned(lines: list[str], names: set[str], new: list[str]) -> list[str]:
    """Each line loses the names that are given away; one that has lost its machine's, the first, goes."""
    kept = []
    for line in lines:
        hosts, key = line.split(" ", 1)
        left = [host for host in hosts.split(",") if host not in names]
        if left and left[0] == hosts.split(",")[0]:
            kept.append(f"{','.join(left)} {key}")
    return [*kept, *new]


@pytest.mark.parametrize("seed", range(20))
def test_changes_by_chance_keep_the_rules(seed: int) -> None:
    chance = random.Random(seed)
    lines = ["# mine", "@cert-authority *.example.com ssh-ed25519 key"]
    changing = Rewriting(HostLines(lines))
    for _ in range(60):
        name, address = f"m{chance.randrange(6)}", f"10.0.0.{chance.randrange(6)}"
        if chance.random() < 0.2:
            after = [line for line in lines if name not in line.split()[0].split(",")]
            changed = changing.drop(name)
        else:
            new = [f"{name},{address} ssh-ed25519 key{number}" for number in range(chance.randint(1, 2))]
            after = pinned(lines, {name, address}, new)
            changed = changing.pin({name, address}, new)
        assert changed is (sorted(after) != sorted(lines))
        lines = after
        assert sorted(changing.lines) == sorted(lines)
    known = HostLines(lines)
    for name in [f"m{number}" for number in range(6)] + [f"10.0.0.{number}" for number in range(6)]:
        expected = [line.split(" ", 1)[1] for line in lines if name in line.split()[0].split(",")]
        assert list(known.keys_of(name)) == expected
