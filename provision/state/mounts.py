"""Whether a folder is on a file system that other hosts write too."""

from __future__ import annotations

import re
from pathlib import Path

_SHARED = re.compile(r"nfs\d?|cifs|smb\d?|9p|ceph|glusterfs|lustre|gpfs|afs|ocfs2|gfs2|beegfs|virtiofs|fuse\..+|fuse")


def is_shared(path: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether the nearest mount above `path` is of a kind that several hosts may use.

    False where nobody can say.
    """
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    real = path.resolve()
    # of several mounts on one point the last is on top
    kinds = {point: kind for point, kind in map(_mount, lines) if real.is_relative_to(point)}
    if not kinds:
        return False
    nearest = max(kinds, key=lambda point: len(point.parts))
    return bool(_SHARED.fullmatch(kinds[nearest]))


def _mount(line: str) -> tuple[Path, str]:
    # see proc(5): fields before " - " end in optional ones, after it the type comes first; blanks are \040
    before, _, after = line.partition(" - ")
    point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), before.split(" ")[4])
    return Path(point), after.split(" ")[0]
