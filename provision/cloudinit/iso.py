"""The NoCloud seed as an ISO 9660 image in memory: a disk that cloud-init finds by its label."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.cloudinit.seed import Seed

_LABEL = "cidata"


def nocloud_iso(seed: Seed) -> bytes:
    """The image's content; it holds the machine's private host key. Attach it read-only.

    Joliet and Rock Ridge both have the files' real names. Its size is a multiple of 2048 bytes.
    """
    import pycdlib

    files = {"user-data": seed.user_data, "meta-data": seed.meta_data, "network-config": seed.network_config}
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=_LABEL)
    try:
        for number, (name, text) in enumerate(files.items()):
            if text is None:
                continue
            content = text.encode()
            image.add_fp(
                io.BytesIO(content),
                len(content),
                iso_path=f"/FILE{number}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
            )
        whole = io.BytesIO()
        image.write_fp(whole)
        return whole.getvalue()
    finally:
        image.close()
