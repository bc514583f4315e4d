"""A run that is killed at a moment of nobody's choosing: `down` leaves nothing of it."""

from __future__ import annotations

import random
import signal
import time

import pytest
from vm_support import VmLab, vm_inventory

#: seconds after which a run is killed, at random: while it claims, uploads and makes, while machines boot
MOMENTS = ((0.4, 1.5), (1.5, 4.0), (4.0, 9.0), (12.0, 35.0))


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[0]}-{moment[1]}s")
def test_killed_up_then_down_leaves_nothing(
    lab: VmLab, alone: VmLab, request: pytest.FixtureRequest, moment: tuple[float, float]
) -> None:
    request.addfinalizer(lambda: lab.remove("half"))
    seconds = random.uniform(*moment)
    path = alone.write("half.yml", vm_inventory("half"))
    with alone.start("up", path) as running:
        time.sleep(seconds)
        running.send(signal.SIGKILL)
        running.end()
    there = lab.libvirtd.leftovers()

    alone.run("down", path, "--yes").ok()

    assert lab.libvirtd.leftovers() == [], f"killed after {seconds:.2f} s, when there was {there}"
    assert not alone.states.exists()


def test_killed_twice_while_it_creates_leaves_nothing_after_down(
    lab: VmLab, alone: VmLab, request: pytest.FixtureRequest
) -> None:
    """The moment is the worst: in the middle of `create`, of which the state knows the intent only."""
    request.addfinalizer(lambda: lab.remove("half"))
    path = alone.write("half.yml", vm_inventory("half"))
    for _ in range(2):
        with alone.start("up", path) as running:
            running.until("create machine")
            time.sleep(random.uniform(0.0, 1.0))
            running.send(signal.SIGKILL)
            running.end()
    assert lab.libvirtd.leftovers()
    alone.run("down", path, "--yes").ok()
    assert lab.libvirtd.leftovers() == []
    assert not alone.states.exists()
