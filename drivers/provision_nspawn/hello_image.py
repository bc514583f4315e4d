"""A Docker image without a registry: Debian's busybox-static in an archive that `docker load` takes.

`python -m provision_nspawn.hello_image OUT.tar` writes it; the bytes depend on nothing but busybox's own.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import platform
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from provision.errors import ProvisionError
from provision_nspawn.layout import Layout
from provision_nspawn.privileged import call
from provision_nspawn.requests import DEFAULT_IMAGE

TAG = "provision/hello:1"

_APPLETS = (
    *("[", "ash", "cat", "date", "df", "echo", "env", "false", "free", "grep", "head", "hostname", "httpd", "id", "ip"),
    *(
        "kill",
        "ls",
        "mkdir",
        "mount",
        "nc",
        "nslookup",
        "ping",
        "ps",
        "rm",
        "sed",
        "sh",
        "sleep",
        "tail",
        "test",
        "top",
    ),
    *("touch", "true", "uname", "vi", "wget", "xargs"),
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_EPOCH = "1970-01-01T00:00:00Z"


def hello_archive(busybox: bytes, *, machine: str) -> bytes:
    """The archive: one layer with busybox, its applets, /etc/passwd, /www and a /tmp for everybody; serves on 8080.

    `machine` is the kernel's name of the architecture, such as x86_64.
    """
    layer = _layer(busybox)
    config = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": _EPOCH,
        "config": {
            "Env": ["PATH=/bin"],
            "Cmd": ["httpd", "-f", "-p", "8080", "-h", "/www"],
            "ExposedPorts": {"8080/tcp": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": _EPOCH, "created_by": "provision_nspawn.hello_image"}],
    }
    text = json.dumps(config, sort_keys=True).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [TAG], "Layers": ["layer.tar"]}]
    files = {name: text, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path, content in files.items():
                _add(archive, path, content, mode=0o644)
        return out.getvalue()


def busybox_of(layout: Layout, image: str = DEFAULT_IMAGE) -> bytes:
    """The busybox of a lab image, which is built if it is not there; any user may ask who may use sudo."""
    answer = call("busybox", {"data": str(layout.data), "name": image, "docker": True, "mirror": None})
    return base64.b64decode(answer["busybox"])


def _layer(busybox: bytes) -> bytes:
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as layer:
            for folder, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("www", 0o755)):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, mode
                layer.addfile(entry)
            _add(layer, "bin/busybox", busybox, mode=0o755)
            for applet in _APPLETS:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                layer.addfile(link)
            _add(
                layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", mode=0o644
            )
            _add(layer, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644)
        return out.getvalue()


def _add(archive: tarfile.TarFile, path: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the hello image's archive."""
    parser = argparse.ArgumentParser(prog="python -m provision_nspawn.hello_image", description=main.__doc__)
    parser.add_argument("out", type=Path, help="the archive to write, such as inventories/stacks/hello.tar")
    out: Path = parser.parse_args(argv).out
    try:
        busybox = busybox_of(Layout.from_environ(os.environ))
        half = out.with_name(f".{out.name}.new")
        half.write_bytes(hello_archive(busybox, machine=platform.machine()))
        half.rename(out)
    except ProvisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {out} cannot be written: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
