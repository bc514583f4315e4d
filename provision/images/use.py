"""Who stands on an image: a capability of drivers whose machines go on reading it after they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class UsesImages(Protocol):
    """Capability: machines need their image in the store as long as they exist."""

    def images_in_use(self) -> Mapping[str, Sequence[str]]:
        """The machines that stand on each image, by its digest."""
        ...
