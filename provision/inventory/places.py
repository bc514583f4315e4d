"""Where an inventory's relative paths and `~` lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """`folder` is the inventory's, absolute; `home` the user's, None where the environment names none."""

    folder: Path
    home: Path | None

    @classmethod
    def of(cls, inventory: Path, environ: Mapping[str, str]) -> Places:
        """The places of an inventory file, `~` being what `HOME` says."""
        home = environ.get("HOME")
        return cls(folder=inventory.absolute().parent, home=Path(home) if home else None)

    def path(self, text: str) -> Path:
        """The absolute path that the text means; nothing is looked up on disk but what `..` needs no disk for."""
        if self.home and (text == "~" or text.startswith("~/")):
            return self.home / text[2:]
        # Lexical, so that `../stacks` reads well in messages and a symlinked folder stays what the user called it.
        parts: list[str] = []
        for part in (self.folder / text).parts:
            if part == ".." and len(parts) > 1:
                parts.pop()
            elif part != "..":
                parts.append(part)
        return Path(*parts)
