from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_engine import FakeEngine, running_engine

from provision.swarm.engine import Engine, connect_engine


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture
def engine(fake: FakeEngine) -> Iterator[Engine]:
    with connect_engine("lab-manager-1", fake.open_channel, "1.41") as engine:
        yield engine
