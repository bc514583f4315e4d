"""SSH keys that provision makes itself: the cluster's own, and hosts' before they boot."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from provision.driver import HostKeyPair
from provision.state.errors import StateError
from provision.state.files import sync_folder, write_atomic
from provision.state.paths import ClusterPaths


def ensure_cluster_key(paths: ClusterPaths) -> tuple[Path, str]:
    """The path of the cluster's private key and its public line `ssh-ed25519 AAAA… provision:<cluster>`.

    Made at the first call (ed25519, OpenSSH's format, no passphrase, 0600) and never overwritten: machines
    know the key. The public file is made anew when it is missing. Raises StateError when it cannot be
    written, or is there but unreadable.
    """
    paths.make()
    try:
        if not paths.private_key.exists():
            _publish(paths.private_key, _private_text(Ed25519PrivateKey.generate()))
        line = f"{_public_of(paths.private_key)} provision:{paths.cluster}"
        text = f"{line}\n".encode()
        if not paths.public_key.exists() or paths.public_key.read_bytes() != text:
            write_atomic(paths.public_key, text)
    except OSError as error:
        raise StateError(f"cannot write the cluster's key {paths.private_key}", detail=str(error)) from error
    return paths.private_key, line


def new_host_key() -> HostKeyPair:
    """A fresh ed25519 host key: OpenSSH private key text ending in a newline, and `ssh-ed25519 AAAA…`."""
    key = Ed25519PrivateKey.generate()
    return HostKeyPair(private=_private_text(key).decode(), public=_public_text(key))


def _publish(path: Path, data: bytes) -> None:
    # a hard link, unlike a rename, fails where another process was first, and its key is then the one to use
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _public_of(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)  # ssh refuses to use a key that others may read
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateError(
            f"cannot read the cluster's key {path}",
            detail=str(error),
            hint="put the key back from a copy; the machines admit no other",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StateError(f"the cluster's key {path} is no ed25519 key")
    return _public_text(key)


def _private_text(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _public_text(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
