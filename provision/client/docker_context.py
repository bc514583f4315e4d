"""The docker context of a cluster on this machine: `docker --context lab node ls`.

The docker SDK's ContextAPI is not used: it loses a context's description (by which we know our own), writes
to the current folder where there is no config.json yet, and rewrites config.json in place. The store's layout
is the docker CLI's own: `contexts/meta/<sha256 of the name>/meta.json` under DOCKER_CONFIG.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError
from provision.state.files import locked_folder, write_atomic

#: what the docker CLI accepts, of at least two characters
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")


class DockerContextError(ProvisionError):
    """The context cannot be written or removed. The cluster itself works without it."""


def docker_config_folder(environ: Mapping[str, str]) -> Path:
    """Where the docker CLI keeps its files: `$DOCKER_CONFIG`, or `~/.docker`."""
    configured = environ.get("DOCKER_CONFIG")
    if configured:
        return Path(configured)
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".docker"


def write_context(cluster: str, manager: str, *, config: Path) -> bool:
    """Have the context `cluster` point at `ssh://<manager>`, known to the ssh config; returns whether changed.

    `config` is docker's folder. Raises DockerContextError when a context of that name is not ours, or when it
    cannot be written; the user's is left as it is.
    """
    if cluster == "default" or not _NAME.fullmatch(cluster):
        raise DockerContextError(
            f"docker does not allow a context named {cluster!r}",
            hint=f"use the cluster with: provision docker -c {cluster} …",
        )
    wanted = {
        "Name": cluster,
        "Metadata": {"Description": _description(cluster)},
        "Endpoints": {"docker": {"Host": f"ssh://{manager}", "SkipTLSVerify": False}},
    }
    path = _meta(config, cluster)
    try:
        config.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked_folder(config):
            present = _load(path)
            if present is not None and not _is_ours(present, cluster):
                raise _foreign(cluster)
            if present == wanted:
                return False
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_atomic(path, json.dumps(wanted).encode(), mode=0o644)
    except OSError as error:
        raise DockerContextError(f"cannot write the docker context {cluster!r}", detail=str(error)) from error
    return True


def remove_context(cluster: str, *, config: Path) -> bool:
    """Remove the cluster's context; returns whether changed.

    Where it was the current one, docker's default is from now on. What is not there, or is not ours, is left
    alone. Folders that this empties go too.
    """
    path = _meta(config, cluster)
    try:
        if not path.exists():
            return False
        with locked_folder(config):
            present = _load(path)
            if present is None or not _is_ours(present, cluster):
                return False
            # first, so that docker never has a current context that is gone
            _forget_current(config / "config.json", cluster)
            shutil.rmtree(path.parent)
            shutil.rmtree(config / "contexts" / "tls" / path.parent.name, ignore_errors=True)
            _prune(config)
    except OSError as error:
        raise DockerContextError(f"cannot remove the docker context {cluster!r}", detail=str(error)) from error
    return True


def _description(cluster: str) -> str:
    return f"provision cluster {cluster}"


def _meta(config: Path, name: str) -> Path:
    return config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"


def _load(path: Path) -> Any:
    """What the file says; None when there is none; text that is no JSON counts as somebody else's."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def _is_ours(meta: Any, cluster: str) -> bool:
    metadata = meta.get("Metadata") if isinstance(meta, dict) else None
    return isinstance(metadata, dict) and metadata.get("Description") == _description(cluster)


def _foreign(cluster: str) -> DockerContextError:
    return DockerContextError(
        f"there is a docker context {cluster!r} that provision did not make; it is left as it is",
        hint=f"remove it (docker context rm {cluster}) and run again, or use: provision docker -c {cluster}",
    )


def _forget_current(path: Path, cluster: str) -> None:
    # through a symlink, whose target is what is to be replaced
    real = path.resolve()
    try:
        content = json.loads(real.read_bytes())
    except (FileNotFoundError, ValueError):
        return  # docker cannot read it either, so nothing is current
    if not isinstance(content, dict) or content.get("currentContext") != cluster:
        return
    del content["currentContext"]
    # a tab is docker's own indentation
    text = json.dumps(content, indent="\t", ensure_ascii=False)
    write_atomic(real, text.encode(), mode=stat.S_IMODE(real.stat().st_mode))


def _prune(config: Path) -> None:
    for folder in (config / "contexts" / "meta", config / "contexts" / "tls", config / "contexts", config):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
