"""Which host key is believed: what is known against what is offered."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from provision.errors import HostKeyError
from provision.hosts.trust import Trust, fingerprint
from provision.hosts.users_known_hosts import lookup


def key(seed: str, kind: str = "ssh-ed25519") -> str:
    parts = (kind.encode(), hashlib.sha256(seed.encode()).digest())
    body = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{kind} {base64.b64encode(body).decode()}"


RIGHT, WRONG = key("right"), key("wrong")
UNKNOWN, CHANGED = "its SSH host key is not known", "its SSH host key has changed"


def judged(offered: str, **known: object) -> tuple[str, list[str]]:
    """`ok` or the error's text, and the keys that were pinned."""
    pins: list[str] = []
    trust = Trust(machine="web1", pin=pins.append, pinned_in="/state/known_hosts", **known)  # type: ignore[arg-type]
    try:
        trust.check(offered)
    except HostKeyError as refused:
        return str(refused), pins
    return "ok", pins


@pytest.mark.parametrize(
    ("known", "verdict", "pinned"),
    [
        ({}, UNKNOWN, False),
        ({"accept_new": True}, "ok", True),
        ({"stated": (RIGHT,)}, "ok", True),
        ({"stated": (WRONG,)}, CHANGED, False),
        ({"stated": (fingerprint(RIGHT),)}, "ok", True),
        ({"stated": (fingerprint(WRONG),)}, CHANGED, False),
        ({"stated": (WRONG, RIGHT)}, "ok", True),
        ({"stated": (f"{RIGHT} root@web1",)}, "ok", True),
        ({"pinned": (RIGHT,)}, "ok", False),
        ({"pinned": (WRONG,)}, CHANGED, False),
        ({"users": (RIGHT,)}, "ok", True),
        ({"users": (WRONG,)}, CHANGED, False),
        # what is stated wins over what was seen, and that over the user's own file
        ({"stated": (RIGHT,), "pinned": (WRONG,)}, "ok", True),
        ({"stated": (WRONG,), "pinned": (RIGHT,)}, CHANGED, False),
        ({"pinned": (RIGHT,), "users": (WRONG,)}, "ok", False),
        ({"pinned": (WRONG,), "users": (RIGHT,)}, CHANGED, False),
        ({"stated": (RIGHT,), "pinned": (RIGHT,)}, "ok", False),
        # accepting new keys never accepts a changed one
        ({"stated": (WRONG,), "accept_new": True}, CHANGED, False),
        ({"pinned": (WRONG,), "accept_new": True}, CHANGED, False),
        ({"users": (WRONG,), "accept_new": True}, CHANGED, False),
        ({"pinned": (key("right", "ssh-rsa"),)}, CHANGED, False),
    ],
)
def test_a_key_is_judged_by_what_is_known(known: dict[str, object], verdict: str, pinned: bool) -> None:
    said, pins = judged(f"{RIGHT} a comment", **known)
    assert (verdict in said) is True, said
    assert pins == ([RIGHT] if pinned else [])


def test_an_unknown_key_is_told_with_its_fingerprint_and_what_to_do() -> None:
    said, _ = judged(RIGHT)
    assert said.startswith("web1: its SSH host key is not known\nit offers ssh-ed25519 SHA256:")
    assert f"host_key: {fingerprint(RIGHT)}" in said
    assert "--accept-new-host-keys" in said


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        ({"stated": (WRONG,)}, "correct `host_key:` in the inventory"),
        ({"pinned": (WRONG,)}, "ssh-keygen -f /state/known_hosts -R web1"),
        ({"users": (WRONG,)}, "~/.ssh/known_hosts"),
    ],
)
def test_a_changed_key_is_told_with_both_fingerprints_and_where_the_old_one_stands(
    known: dict[str, object], hint: str
) -> None:
    said, _ = judged(RIGHT, **known)
    assert f"it offers ssh-ed25519 {fingerprint(RIGHT)}" in said
    assert f"known is {fingerprint(WRONG)}" in said
    assert hint in said


def test_a_fingerprint_is_the_one_that_ssh_keygen_prints() -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl github.com"
    assert fingerprint(line) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


@pytest.mark.parametrize(
    ("known", "types"),
    [
        ({}, ()),
        ({"stated": ("SHA256:abc",)}, ()),
        (
            {"pinned": (key("a", "ssh-rsa"), RIGHT), "users": (key("a", "ecdsa-sha2-nistp256"),)},
            ("ssh-rsa", "ssh-ed25519"),
        ),
        ({"users": (RIGHT, WRONG)}, ("ssh-ed25519",)),
    ],
)
def test_a_server_is_asked_for_a_key_of_a_known_type(known: dict[str, object], types: tuple[str, ...]) -> None:
    assert Trust(machine="web1", **known).key_types() == types  # type: ignore[arg-type]


# --- the user's known_hosts ---


def found(tmp_path: Path, text: str, name: str, port: int = 22) -> tuple[str, ...]:
    file = tmp_path / f"known_hosts_{hashlib.sha256(text.encode()).hexdigest()}"
    file.write_text(text)
    return lookup((str(tmp_path / "missing"), str(file)), name, port)


HASHED = "|1|{}|{}".format(
    base64.b64encode(b"0123456789abcdefghij").decode(),
    base64.b64encode(hmac.digest(b"0123456789abcdefghij", b"web1", "sha1")).decode(),
)


@pytest.mark.parametrize(
    ("hosts", "name", "port", "known"),
    [
        ("web1", "web1", 22, True),
        ("web1,10.0.0.1", "10.0.0.1", 22, True),
        ("web1", "WEB1", 22, True),
        ("web1", "web2", 22, False),
        ("web1", "web1", 2222, False),
        ("[web1]:2222", "web1", 2222, True),
        ("[web1]:2222", "web1", 22, False),
        ("[fd00::1]:2222", "fd00::1", 2222, True),
        ("web*", "web1", 22, True),
        ("web?", "web12", 22, False),
        ("*,!web1", "web1", 22, False),
        ("*,!web1", "web2", 22, True),
        (HASHED, "web1", 22, True),
        (HASHED, "web2", 22, False),
        ("|1|nonsense", "web1", 22, False),
        ("@revoked web1", "web1", 22, False),
        ("@cert-authority *", "web1", 22, False),
        ("# web1", "web1", 22, False),
    ],
)
def test_a_host_is_found_as_ssh_finds_it(tmp_path: Path, hosts: str, name: str, port: int, known: bool) -> None:
    assert found(tmp_path, f"{hosts} {RIGHT} comment\n", name, port) == ((RIGHT,) if known else ())


def test_what_paramiko_hashes_is_found(tmp_path: Path) -> None:
    from paramiko import HostKeys

    assert found(tmp_path, f"{HostKeys.hash_host('web1')} {RIGHT}\n", "web1") == (RIGHT,)


def test_all_keys_of_a_host_count_once_whatever_their_type(tmp_path: Path) -> None:
    rsa = key("r", "ssh-rsa")
    text = f"web1 {RIGHT}\nweb1 {WRONG}\nweb* {RIGHT}\nweb1 {rsa}\n"
    assert found(tmp_path, text, "web1") == (RIGHT, WRONG, rsa)


@pytest.mark.parametrize(
    "line",
    ["", "nonsense", "web1", "web1 ssh-ed25519", "web1 ssh-ed25519 %%%", "web1 ssh-rsa " + RIGHT.split()[1], "\xff"],
)
def test_a_line_that_is_no_key_hides_no_other(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, f"{line}\nweb1 {RIGHT}\n", "web1") == (RIGHT,)
