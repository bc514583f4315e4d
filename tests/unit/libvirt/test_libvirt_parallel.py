"""Many at once: all ends are waited for, and what hangs is given up in time."""

from __future__ import annotations

import threading

import pytest

from provision.errors import DeadlineError, DriverError
from provision_libvirt.parallel import at_once


def test_all_run_at_the_same_time() -> None:
    together = threading.Barrier(3)
    assert set(at_once("meeting", dict.fromkeys("abc", lambda: together.wait(10)), seconds=20)) == set("abc")


def test_the_others_are_waited_for_when_one_fails() -> None:
    ended = threading.Event()

    def fails() -> None:
        raise DriverError("a: no space left", hint="make some")

    def ends() -> None:
        ended.wait(0.05)
        ended.set()

    with pytest.raises(DriverError, match="a: no space left"):
        at_once("saving", {"a": fails, "b": ends}, seconds=20)
    assert ended.is_set()


def test_several_failures_are_one_error_that_names_each() -> None:
    def fails(name: str) -> None:
        raise DriverError(f"{name}: no space left", hint="make some")

    with pytest.raises(DriverError, match="saving failed on a, b") as caught:
        at_once("saving", {"b": lambda: fails("b"), "a": lambda: fails("a")}, seconds=20)
    assert "a: no space left" in caught.value.detail
    assert caught.value.hint == "make some"


def test_what_hangs_is_named() -> None:
    hangs = threading.Event()
    try:
        with pytest.raises(DeadlineError, match="pausing: slow took more than"):
            at_once("pausing", {"slow": lambda: hangs.wait(30), "quick": lambda: True}, seconds=0.05)
    finally:
        hangs.set()
