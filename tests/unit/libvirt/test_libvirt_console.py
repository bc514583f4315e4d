"""Where a machine's console is logged, and reading it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.errors import DriverError
from provision_libvirt import console
from provision_libvirt.connection import open_connection

libvirt = pytest.importorskip("libvirt")

LOGGED = "<domain><devices><serial type='pty'><log file='{}' append='on'/></serial></devices></domain>"


class Domain:
    """As much of a domain as has a console."""

    def __init__(self, xml: str) -> None:
        self.xml = xml

    def name(self) -> str:
        return "lab-worker-1"

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return self.xml


class Here:
    """A connection to this machine's hypervisor that has these pools."""

    def __init__(self, *pools: Any) -> None:
        self.pools = pools

    def getURI(self) -> str:  # noqa: N802
        return "qemu:///system"

    def listAllStoragePools(self, _flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.pools


@pytest.mark.parametrize(
    ("device", "path"),
    [
        ("<serial type='pty'><log file='/a/b.log' append='on'/></serial>", "/a/b.log"),
        ("<serial type='file'><source path='/a/c.log'/></serial>", "/a/c.log"),
        ("<serial type='pty'/>", None),
        ("", None),
    ],
)
def test_log_is_found_in_the_definition(device: str, path: str | None) -> None:
    found = console.log_file(f"<domain><devices>{device}</devices></domain>")
    assert found == (Path(path) if path else None)


def test_terminal_s_line_ends_become_plain() -> None:
    assert console.as_text(b"one\r\ntwo\r\r\n\xff\0") == "one\ntwo\n\n�"


def test_log_of_this_machine_is_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"login:\r\n")
    assert console.read(Here(), Domain(LOGGED.format(tmp_path / "log"))) == "login:\n"  # type: ignore[arg-type]


def test_machine_that_printed_nothing_yet_has_an_empty_console(tmp_path: Path) -> None:
    assert console.read(Here(), Domain(LOGGED.format(tmp_path / "log"))) == ""  # type: ignore[arg-type]


def test_machine_without_a_log_has_an_empty_console() -> None:
    domain: Any = Domain("<domain><devices><serial type='pty'/></devices></domain>")
    assert console.read(open_connection("test:///default"), domain) == ""


class TestUnreadable:
    """The log is root's, and its reader is not."""

    @pytest.fixture(autouse=True)
    def _not_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_path: Path) -> bytes:
            raise PermissionError

        monkeypatch.setattr(Path, "read_bytes", refuse)

    def test_outside_any_pool_it_says_why_and_what_else_to_do(self) -> None:
        with pytest.raises(DriverError, match="lab-worker-1: cannot read its console from /var/log/x") as caught:
            console.read(Here(), Domain(LOGGED.format("/var/log/x")))  # type: ignore[arg-type]
        assert caught.value.hint == "virsh -c qemu:///system console lab-worker-1"

    def test_in_a_pool_it_comes_through_libvirt(self, pool: Any) -> None:
        text = console.read(Here(pool), Domain(LOGGED.format("/default-pool/none")))  # type: ignore[arg-type]
        assert text == ""  # the pretended hypervisor stores nothing; that there is no such volume is known


@pytest.fixture
def pool() -> Iterator[Any]:
    connection = open_connection("test:///default")
    yield connection.storagePoolLookupByName("default-pool")
    connection.close()
