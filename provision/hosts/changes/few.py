"""How a cause names machines: some of them, and how many more."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 3


def few(names: Sequence[str]) -> str:
    """`a, b, c and 2 more`: a thousand hosts that each name a thousand others would be read by nobody."""
    return ", ".join(names) if len(names) <= _MOST else f"{', '.join(names[:_MOST])} and {len(names) - _MOST} more"
