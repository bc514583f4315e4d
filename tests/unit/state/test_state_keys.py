"""Keys and known_hosts, judged by the system's own ssh-keygen."""

from __future__ import annotations

import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from provision.state.errors import StateError
from provision.state.keys import ensure_cluster_key, new_host_key
from provision.state.known_hosts import KnownHosts
from provision.state.paths import ClusterPaths

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is missing")


def keygen(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ssh-keygen", *words], capture_output=True, text=True, check=False)


@needs_ssh
def test_openssh_reads_the_cluster_key(paths: ClusterPaths) -> None:
    path, line = ensure_cluster_key(paths)
    read = keygen("-y", "-f", str(path))
    assert read.returncode == 0, read.stderr
    assert line == f"{' '.join(read.stdout.split()[:2])} provision:lab"
    assert paths.public_key.read_text() == f"{line}\n"


def test_the_cluster_key_is_private_and_never_overwritten(paths: ClusterPaths) -> None:
    path, line = ensure_cluster_key(paths)
    before = path.read_bytes()
    path.chmod(0o644)
    assert ensure_cluster_key(paths) == (path, line)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lost_public_half_is_made_again(paths: ClusterPaths) -> None:
    _, line = ensure_cluster_key(paths)
    paths.public_key.unlink()
    assert ensure_cluster_key(paths)[1] == line
    assert paths.public_key.read_text() == f"{line}\n"


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"])
def test_a_damaged_key_is_an_error_and_is_left_alone(paths: ClusterPaths, content: bytes) -> None:
    paths.private_key.write_bytes(content)
    with pytest.raises(StateError, match="cannot read the cluster's key"):
        ensure_cluster_key(paths)
    assert paths.private_key.read_bytes() == content


def test_racing_threads_get_one_key(paths: ClusterPaths) -> None:
    lines: list[str] = []
    threads = [threading.Thread(target=lambda: lines.append(ensure_cluster_key(paths)[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines) == 8
    assert len(set(lines)) == 1


@needs_ssh
def test_openssh_reads_a_host_key(tmp_path: Path) -> None:
    pair = new_host_key()
    path = tmp_path / "ssh_host_ed25519_key"
    path.write_text(pair.private)
    path.chmod(0o600)
    assert keygen("-y", "-f", str(path)).stdout.strip() == pair.public
    assert pair.private not in repr(pair)


@needs_ssh
@pytest.mark.parametrize(
    ("address", "port", "query"),
    [
        ("10.9.0.4", 22, "10.9.0.4"),
        ("10.9.0.4", None, "10.9.0.4"),
        ("10.9.0.4", 2222, "[10.9.0.4]:2222"),
        ("fd00::4", 22, "fd00::4"),
        ("fd00::4", 2222, "[fd00::4]:2222"),
    ],
)
def test_ssh_keygen_finds_a_pinned_key(paths: ClusterPaths, address: str, port: int | None, query: str) -> None:
    key = new_host_key().public
    KnownHosts(paths.known_hosts).pin("lab-worker-1", address=address, port=port, keys=[f"{key} a comment"])
    for name in ("lab-worker-1", query):
        found = keygen("-F", name, "-f", str(paths.known_hosts))
        assert key in found.stdout, f"{name}: {found.stdout}{found.stderr}"


def test_pin_replaces_what_was_known(paths: ClusterPaths) -> None:
    known = KnownHosts(paths.known_hosts)
    old, new, other = (new_host_key().public for _ in range(3))
    assert known.pin("a", address="10.0.0.1", port=22, keys=[old])
    assert known.pin("b", address="10.0.0.2", port=22, keys=[other])
    assert known.pin("a", address="10.0.0.1", port=22, keys=[new])
    assert (known.lookup("a"), known.lookup("b"), known.lookup("10.0.0.1")) == ((new,), (other,), (new,))


def test_pinning_the_same_again_changes_nothing(paths: ClusterPaths) -> None:
    known = KnownHosts(paths.known_hosts)
    keys = [new_host_key().public, new_host_key().public]
    known.pin("a", address="10.0.0.1", port=22, keys=keys)
    before = paths.known_hosts.stat().st_mtime_ns
    assert not known.pin("a", address="10.0.0.1", port=22, keys=reversed(keys))
    assert paths.known_hosts.stat().st_mtime_ns == before


def test_an_address_goes_with_its_new_machine(paths: ClusterPaths) -> None:
    known = KnownHosts(paths.known_hosts)
    old, new = new_host_key().public, new_host_key().public
    known.pin("a", address="10.0.0.1", port=22, keys=[old])
    known.pin("b", address="10.0.0.1", port=22, keys=[new])
    assert (known.lookup("10.0.0.1"), known.lookup("a"), known.lookup("b")) == ((new,), (old,), (new,))


def test_forget_takes_the_address_too(paths: ClusterPaths) -> None:
    known = KnownHosts(paths.known_hosts)
    known.pin("a", address="10.0.0.1", port=22, keys=[new_host_key().public])
    assert known.forget("a")
    assert not known.forget("a")
    assert known.lookup("10.0.0.1") == ()


def test_what_the_user_added_stays(paths: ClusterPaths) -> None:
    key = new_host_key().public
    paths.known_hosts.write_text(f"# mine\n@cert-authority *.example.com {key}\n")
    known = KnownHosts(paths.known_hosts)
    known.pin("a", address="10.0.0.1", port=22, keys=[key])
    known.forget("a")
    assert sorted(paths.known_hosts.read_text().splitlines()) == [
        "# mine",
        f"@cert-authority *.example.com {key}",
    ]


def test_threads_lose_no_entry(paths: ClusterPaths) -> None:
    known = KnownHosts(paths.known_hosts)
    key = new_host_key().public
    threads = [
        threading.Thread(target=lambda n=n: known.pin(f"m{n}", address=f"10.0.0.{n}", port=22, keys=[key]))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(known.lookup(f"m{n}") == (key,) for n in range(20))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "SHA256:abc",
        "ssh-ed25519",
        "ssh-ed25519 not!base64",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "ssh-ed25519 AA==",
    ],
)
def test_what_is_no_key_is_refused(paths: ClusterPaths, line: str) -> None:
    with pytest.raises(StateError, match="is not a public host key of a"):
        KnownHosts(paths.known_hosts).pin("a", address=None, port=None, keys=[line])
    assert not paths.known_hosts.exists()


def test_a_key_of_two_lines_is_refused(paths: ClusterPaths) -> None:
    key = new_host_key().public
    with pytest.raises(StateError, match="is not a public host key"):
        KnownHosts(paths.known_hosts).pin("a", address=None, port=None, keys=[f"{key} x\n* {key}"])


@pytest.mark.parametrize("name", ["a b", "*", "a,b", "!a", ""])
def test_a_name_that_is_a_pattern_is_refused(paths: ClusterPaths, name: str) -> None:
    with pytest.raises(StateError, match="cannot be a host's name"):
        KnownHosts(paths.known_hosts).pin(name, address=None, port=None, keys=[new_host_key().public])
