"""Inventories as text, against two drivers that are no entry points: one makes machines, one adopts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from provision.errors import InventoryError, Problem, UsageError
from provision.inventory.cluster import Cluster
from provision.inventory.load import loads
from provision_ssh import SshDriver


class Disk(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["ssd", "hdd"] = "ssd"


class FakeOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    region: str = "here"
    zones: int | None = Field(default=None, description="How many zones.")
    storage: Disk = Disk()
    folder: str = ""

    @field_validator("folder")
    @classmethod
    def _absolute(cls, value: str, info: Any) -> str:
        return str(info.context["folder"] / value) if value else value


class FakeDriver:
    """Enough of a driver for an inventory to be checked against."""

    name: ClassVar[str] = "fake"
    parallel: ClassVar[int] = 4
    adopts: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = FakeOptions


def fake_driver_class(name: str) -> Any:
    try:
        return {"fake": FakeDriver, "ssh": SshDriver}[name]
    except KeyError:
        raise UsageError(f"there is no driver {name!r}", hint="did you mean 'fake'?") from None


@pytest.fixture
def driver_class() -> Callable[[str], Any]:
    return fake_driver_class


@pytest.fixture
def load_text(tmp_path: Path) -> Callable[..., Cluster]:
    """`load_text(text, VAR=value)`; the inventory is tmp_path/inventory.yml, the home is tmp_path/home."""

    def load(text: str, **environ: str) -> Cluster:
        environ.setdefault("HOME", str(tmp_path / "home"))
        return loads(text, tmp_path / "inventory.yml", environ=environ, driver_class=fake_driver_class)

    return load


@pytest.fixture
def problems_of(load_text: Callable[..., Cluster]) -> Callable[..., tuple[Problem, ...]]:
    """Everything that loading the text complains about."""

    def problems(text: str, **environ: str) -> tuple[Problem, ...]:
        with pytest.raises(InventoryError) as caught:
            load_text(text, **environ)
        return caught.value.problems

    return problems
