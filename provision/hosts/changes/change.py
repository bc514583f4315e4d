"""One change that is due on a host."""

from __future__ import annotations

from dataclasses import dataclass

from provision.hosts.fragments import Fragment


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to run and why. `disrupts`: the engine's containers stop meanwhile, so members take turns."""

    fragment: Fragment
    cause: str
    disrupts: bool = False
