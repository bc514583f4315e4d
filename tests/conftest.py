"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

Require = Callable[[object, str], None]


@pytest.fixture(scope="session")
def require() -> Require:
    """`require(condition, why)`: skips where this machine lacks something; with CI=true that is a failure."""

    def check(condition: object, why: str) -> None:
        if condition:
            return
        if os.environ.get("CI") == "true":
            pytest.fail(f"nothing may be skipped here: {why}", pytrace=False)
        pytest.skip(why)

    return check
