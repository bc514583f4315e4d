"""The contract suite: what every driver must do, as tests that its author runs against the real provider.

    import pytest
    from provision.testing import DriverContract, Harness, create_and_kill

    class MyHarness(Harness):
        driver = MyDriver({"region": "test"})
        def specs(self, cluster, count): ...        # small, cheap machines; `host_key` set where the driver can
        def leftovers(self): ...                    # what exists at the provider that the tests have made
        def crash(self, spec, seconds):
            create_and_kill("my_package:MyDriver", {"region": "test"}, spec, seconds=seconds)

    class TestMyDriver(DriverContract):
        @pytest.fixture
        def harness(self):
            return MyHarness()

Each test makes machines of clusters whose names begin with `pvtest`, and removes them again, also when it fails. A test
that does not apply (no power switch, no way to crash) says so and is skipped. For readable failures, call
`pytest.register_assert_rewrite("provision.testing")` before the import. This module itself needs no pytest.
"""

from __future__ import annotations

import abc
import contextlib
import importlib
import json
import os
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from provision.driver import Console, Driver, HostKeyPair, Machine, MachineSpec, MachineState, Power, Role


class Harness(abc.ABC):
    """What the suite needs to know about a driver and the place where it is tried."""

    #: the driver under test
    driver: Driver
    #: seconds after which `crash` is tried: spread over the length of a create
    crash_after: Sequence[float] = ()

    @abc.abstractmethod
    def specs(self, cluster: str, count: int) -> Sequence[MachineSpec]:
        """That many small machines of the cluster, each with a `host_key` where the driver can set one."""

    @abc.abstractmethod
    def leftovers(self) -> Sequence[str]:
        """What creates have made at the provider and is still there, one line each; empty when clean."""

    def fresh(self) -> Driver:
        """Another driver instance, with no memory of what the first has done; by default made from no settings."""
        return type(self.driver)({})  # type: ignore[call-arg]

    def host_key(self, machine: Machine) -> str | None:  # noqa: ARG002
        """The host key that the machine's sshd shows (`ssh-ed25519 AAAA…`), waited for; None if it cannot be asked."""
        return None

    def crash(self, spec: MachineSpec, seconds: float) -> None:  # noqa: ARG002
        """Create the machine in another process, and kill that with SIGKILL after so many seconds."""
        raise unittest.SkipTest("does not apply: the harness has no way to crash")


class DriverContract:
    """Derive from it, and give it a fixture `harness`."""

    def test_options_forbid_unknown_keys(self, harness: Harness) -> None:
        """A typing error in an inventory is found before anything is made."""
        options = harness.driver.Options
        try:
            options.model_validate({"no_such_option_of_any_driver": 1})
        except ValueError as error:
            assert "no_such_option_of_any_driver" in str(error), str(error)
        else:
            raise AssertionError(f"{options.__name__} takes an unknown key; set extra='forbid'")

    def test_options_are_described(self, harness: Harness) -> None:
        """Descriptions are the documentation that editors show."""
        missing = [name for name, field in harness.driver.Options.model_fields.items() if not field.description]
        assert not missing, f"options without a description: {missing}"

    def test_driver_says_how_many_calls_it_takes(self, harness: Harness) -> None:
        """`parallel` bounds the creates that run at once."""
        assert harness.driver.parallel >= 1

    def test_check_has_nothing_fatal_and_changes_nothing(self, harness: Harness) -> None:
        """Good specs are fine, and asking has no effect."""
        specs = harness.specs("pvtest-check", 2)
        before = harness.leftovers()
        fatal = [finding for finding in harness.driver.check(specs) if finding.fatal]
        assert not fatal, f"check refuses the harness's own specs: {fatal}"
        assert harness.leftovers() == before
        assert not harness.driver.discover("pvtest-check")

    def test_discover_of_an_unknown_cluster_is_empty(self, harness: Harness) -> None:
        """Not an error: it is the state before the first `up`."""
        assert not harness.driver.discover("pvtest-nobody")

    def test_created_machine_is_discovered_by_another_instance(self, harness: Harness) -> None:
        """The provider is the truth, not the driver's memory; and the mark names cluster, group and number."""
        _needs_own_machines(harness)
        with _made(harness, harness.specs("pvtest-one", 1)) as (created,):
            (found,) = harness.fresh().discover("pvtest-one")
            spec = harness.specs("pvtest-one", 1)[0]
            assert (found.cluster, found.name, found.group, found.number) == (
                *(spec.cluster, spec.name),
                *(spec.group, spec.number),
            )
            assert found.driver == harness.driver.name
            assert found.address == created.address
            assert found.provider_id == created.provider_id
            assert found.state in (MachineState.RUNNING, MachineState.STARTING), found

    def test_adopted_machine_is_left_alone(self, harness: Harness) -> None:
        """A driver that adopts finds nothing by itself, and its destroy leaves the host as it is."""
        if not harness.driver.adopts:
            raise unittest.SkipTest("does not apply: the driver makes its machines")
        (spec,) = harness.specs("pvtest-adopt", 1)
        machine = harness.driver.create(spec)
        harness.driver.destroy(machine)
        assert harness.driver.create(spec) == machine
        assert not harness.driver.discover("pvtest-adopt")

    def test_create_twice_is_the_same_machine(self, harness: Harness) -> None:
        """A second create, after a crash of the first command or not, makes no second machine."""
        specs = harness.specs("pvtest-twice", 1)
        with _made(harness, specs) as (first,):
            second = harness.driver.create(specs[0])
            assert (second.provider_id, second.address) == (first.provider_id, first.address)
            assert second.host_keys == first.host_keys
            if not harness.driver.adopts:
                assert len(harness.driver.discover("pvtest-twice")) == 1

    def test_parallel_creates_do_not_collide(self, harness: Harness) -> None:
        """As many at once as the driver says it takes, four at most: all different, all found."""
        specs = harness.specs("pvtest-many", min(4, max(2, harness.driver.parallel)))
        with _made(harness, specs) as machines:
            for what in ("name", "address", "provider_id"):
                values = {getattr(machine, what) for machine in machines}
                assert len(values) == len(specs) or values == {""}, f"{what} is not unique: {values}"
            if not harness.driver.adopts:
                found = {machine.name for machine in harness.driver.discover("pvtest-many")}
                assert found == {spec.name for spec in specs}

    def test_host_key_is_the_one_that_was_given(self, harness: Harness) -> None:
        """A driver that takes a host key vouches for it, and the machine shows it; the private half stays secret."""
        specs = harness.specs("pvtest-key", 1)
        key = specs[0].host_key
        if key is None or harness.driver.adopts:
            raise unittest.SkipTest("does not apply: the driver does not choose host keys")
        with _made(harness, specs) as (machine,):
            wanted = " ".join(key.public.split()[:2])
            assert [" ".join(each.split()[:2]) for each in machine.host_keys] == [wanted]
            secret = key.private.splitlines()[1]
            assert secret not in repr(machine)
            shown = harness.host_key(machine)
            assert shown is None or " ".join(shown.split()[:2]) == wanted

    def test_destroy_removes_everything(self, harness: Harness) -> None:
        """What is not discovered any more is really gone, and so is what the cluster shared."""
        _needs_own_machines(harness)
        with _made(harness, harness.specs("pvtest-gone", 2)) as machines:
            for machine in machines:
                harness.driver.destroy(machine)
            assert not harness.driver.discover("pvtest-gone")
            left = harness.leftovers()
            assert not left, f"left behind: {left}"

    def test_destroy_twice_is_fine(self, harness: Harness) -> None:
        """Already gone is success."""
        with _made(harness, harness.specs("pvtest-again", 1)) as (machine,):
            harness.driver.destroy(machine)
            harness.driver.destroy(machine)

    def test_destroying_one_leaves_the_others(self, harness: Harness) -> None:
        """Also what they share with it."""
        _needs_own_machines(harness)
        with _made(harness, harness.specs("pvtest-rest", 2)) as (first, second):
            harness.driver.destroy(first)
            (left,) = harness.driver.discover("pvtest-rest")
            assert (left.name, left.address) == (second.name, second.address)
            assert left.state in (MachineState.RUNNING, MachineState.STARTING), left

    def test_clusters_do_not_see_each_other(self, harness: Harness) -> None:
        """Not even where one's name begins with the other's."""
        _needs_own_machines(harness)
        mine, theirs = harness.specs("pvtest-a", 1), harness.specs("pvtest-a-b", 1)
        with _made(harness, mine), _made(harness, theirs) as (other,):
            assert [machine.name for machine in harness.driver.discover("pvtest-a")] == [mine[0].name]
            harness.driver.destroy(other)
            assert [machine.name for machine in harness.driver.discover("pvtest-a")] == [mine[0].name]

    def test_crash_during_create_leaves_no_orphan(self, harness: Harness) -> None:
        """Killed at any moment: what is there is discovered, and destroying that leaves nothing."""
        for seconds in _crashes(harness):
            (spec,) = harness.specs("pvtest-crash", 1)
            harness.crash(spec, seconds)
            for machine in harness.driver.discover("pvtest-crash"):
                assert machine.name == spec.name, machine
                harness.driver.destroy(machine)
            left = harness.leftovers()
            assert not left, f"killed after {seconds} s, left behind: {left}"

    def test_create_after_a_crash_completes_the_machine(self, harness: Harness) -> None:
        """Killed at any moment: the same create again gives one machine that is whole."""
        for seconds in _crashes(harness):
            specs = harness.specs("pvtest-carry", 1)
            harness.crash(specs[0], seconds)
            with _made(harness, specs) as (machine,):
                assert machine.state in (MachineState.RUNNING, MachineState.STARTING), (seconds, machine)
                assert len(harness.driver.discover("pvtest-carry")) == 1

    def test_power_switch(self, harness: Harness) -> None:
        """Stop, start and kill do what they say, twice too, and the machine stays the same one."""
        driver = harness.driver
        if not isinstance(driver, Power):
            raise unittest.SkipTest("does not apply: the driver has no power switch")

        def state() -> MachineState:
            (found,) = driver.discover("pvtest-power")
            return found.state

        with _made(harness, harness.specs("pvtest-power", 1)) as (machine,):
            _twice(lambda: driver.stop(machine))
            assert state() is MachineState.STOPPED
            for _ in range(2):
                started = driver.start(machine)
                assert (started.name, started.provider_id) == (machine.name, machine.provider_id)
                assert started.host_keys == machine.host_keys
            assert state() in (MachineState.RUNNING, MachineState.STARTING)
            _twice(lambda: driver.kill(machine))
            assert state() is MachineState.STOPPED

    def test_console_is_text(self, harness: Harness) -> None:
        """Also right after the machine was made, when it may have printed nothing."""
        driver = harness.driver
        if not isinstance(driver, Console):
            raise unittest.SkipTest("does not apply: the driver has no console")
        with _made(harness, harness.specs("pvtest-console", 1)) as (machine,):
            assert isinstance(driver.console(machine), str)


def create_and_kill(
    driver: str,
    settings: Mapping[str, Any],
    spec: MachineSpec,
    *,
    seconds: float,
    environ: Mapping[str, str] | None = None,
) -> None:
    """For `Harness.crash`: create in a Python of its own and kill it with SIGKILL, counted from the call of create.

    `driver` is `package.module:Class`. Does nothing else to the process: what it has started is left to itself.
    """
    task = {"driver": driver, "settings": dict(settings), "spec": asdict(spec)}
    with subprocess.Popen(
        (sys.executable, "-m", "provision.testing"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environ or {})},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task))
        process.stdin.close()
        ready = process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
    if not ready:
        raise AssertionError(f"the process that was to create {spec.name} did not get as far as the call")


@contextlib.contextmanager
def _made(harness: Harness, specs: Sequence[MachineSpec]) -> Iterator[tuple[Machine, ...]]:
    """The machines of these specs, made at once as a run does it, and removed with whatever else the cluster has."""
    try:
        with ThreadPoolExecutor(max(1, min(harness.driver.parallel, len(specs)))) as pool:
            machines = tuple(pool.map(harness.driver.create, specs))
        yield machines
    finally:
        for cluster in {spec.cluster for spec in specs}:
            for machine in harness.driver.discover(cluster):
                harness.driver.destroy(machine)


def _needs_own_machines(harness: Harness) -> None:
    if harness.driver.adopts:
        raise unittest.SkipTest("does not apply: the driver adopts machines")


def _crashes(harness: Harness) -> Sequence[float]:
    if not harness.crash_after:
        raise unittest.SkipTest("does not apply: the harness has no way to crash")
    return harness.crash_after


def _twice(act: Callable[[], None]) -> None:
    act()
    act()


def _main() -> None:
    """The process that `create_and_kill` kills: says when it is about to create, and creates."""
    task = json.load(sys.stdin)
    module, _, name = task["driver"].partition(":")
    driver: Driver = getattr(importlib.import_module(module), name)(task["settings"])
    content = task["spec"]
    key = content["host_key"]
    spec = MachineSpec(
        **{
            **content,
            "role": Role(content["role"]),
            "authorized_keys": tuple(content["authorized_keys"]),
            "host_key": HostKeyPair(**key) if key else None,
            "host": None,
        }
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    driver.create(spec)


if __name__ == "__main__":
    _main()
