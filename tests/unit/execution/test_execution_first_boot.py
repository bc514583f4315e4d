"""Waiting for the first boot of a machine: on a host that answers from a table, and takes no other command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from builders_of_plans import facts, machine, managers, wanted, workers

from provision.driver import Machine
from provision.errors import DeadlineError, DriverError, ProvisionError, UnreachableError
from provision.execution import first_boot, machines
from provision.execution.scheduler import Outcome
from provision.execution.world import World
from provision.hosts.connect import LoginRefusedError
from provision.hosts.host import Host, Result
from provision.inventory.cluster import SshSettings
from provision.planning.actions import Reach
from provision.state.known_hosts import KnownHosts
from provision.state.paths import ClusterPaths
from provision.state.redact import Redactor
from provision.state.store import Store

TARGET = wanted(managers(1), workers(1))
WORKER = TARGET.spec("lab-worker-1")

WAIT = "cloud-init status --format json --wait"
LOOK = "cloud-init status --format json"
BROKEN = "('scripts_user', RuntimeError('Runparts: 1 failures (runcmd)'))"


def said(status: str = "done", **more: Any) -> Result:
    text = json.dumps({"status": status, "detail": "DataSourceNoCloud", "errors": [], **more})
    return Result(1 if status == "error" else 0, text, "")


class FakeHost:
    """Answers commands from a table; notes in which order it was asked for what."""

    machine = "lab-worker-1"
    alive = True

    def __init__(self, **answers: Result | Exception) -> None:
        self.answers = {WAIT: answers.get("wait"), LOOK: answers.get("look")}
        self.asked: list[str] = []

    def run(self, argv: tuple[str, ...], *, seconds: float) -> Result:
        command = " ".join(argv)
        self.asked.append(command)
        answer = self.answers[command]
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None, f"unexpected: {command}"
        return answer

    def probe(self, *, images: bool = False) -> object:
        self.asked.append("probe")
        return facts(self.machine)

    def close(self) -> None:
        self.alive = False


def finish(host: FakeHost, *, fatal: bool = True, console: str = "", **more: Any) -> str:
    return first_boot.finish(cast("Host", host), fatal=fatal, say=lambda _: None, console=lambda: console, **more)


# --- finish ---


def test_a_good_end_needs_no_note() -> None:
    assert finish(FakeHost(wait=said())) == ""


def test_degraded_is_a_note_with_its_reasons() -> None:
    result = said(extended_status="degraded done", recoverable_errors={"WARNING": ["no swap", "no ntp"]})
    assert finish(FakeHost(wait=replace(result, status=2))) == (
        "cloud-init is degraded: warning: no swap; warning: no ntp"
    )


def test_disabled_is_a_note() -> None:
    assert finish(FakeHost(wait=said("disabled", detail="no datasource"))) == "cloud-init is disabled: no datasource"


def test_an_error_names_the_module_and_shows_the_end_of_the_console() -> None:
    console = "\n".join(f"line {number}" for number in range(40)) + "\n\n"
    with pytest.raises(ProvisionError) as caught:
        finish(FakeHost(wait=said("error", errors=[BROKEN])), console=console)
    error = caught.value
    assert error.summary == "lab-worker-1: cloud-init failed in module 'scripts_user'"
    assert error.detail.startswith(
        "scripts_user: RuntimeError('Runparts: 1 failures (runcmd)')\nlast on its console:\n"
    )
    assert "    line 39" in error.detail
    assert "    line 24\n" not in error.detail
    assert "provision ssh lab-worker-1 sudo cat /var/log/cloud-init-output.log" in error.hint


def test_what_systemd_repeats_while_it_waits_is_left_out_of_the_console() -> None:
    waiting = "\r\x1b[K[ \x1b[0;31m*\x1b[0m] (1 of 2) Job docker.service/start running (4min 1s / no limit)\r\n" * 30
    assert first_boot.tail(f"[FAILED] Failed to start ssh\r\n{waiting}") == (
        "\nlast on its console:\n    [FAILED] Failed to start ssh"
    )


def test_an_error_of_long_ago_is_a_note() -> None:
    host = FakeHost(wait=said("error", errors=[BROKEN]))
    assert finish(host, fatal=False) == (
        "cloud-init failed at first boot: scripts_user: RuntimeError('Runparts: 1 failures (runcmd)')"
    )


def test_who_waits_too_long_is_told_where_it_hangs() -> None:
    late = DeadlineError("lab-worker-1: 'cloud-init'", 5, "no output")
    host = FakeHost(wait=late, look=said("running", stage="modules-final"))
    with pytest.raises(DeadlineError) as caught:
        finish(host, seconds=5)
    assert caught.value.summary == "lab-worker-1: cloud-init took more than 5 s"
    assert caught.value.detail == "last: running in stage modules-final"


def test_who_waits_too_long_for_a_host_that_says_nothing_more_is_told_so() -> None:
    late = DeadlineError("lab-worker-1: 'cloud-init'", 5, "no output")
    with pytest.raises(DeadlineError) as caught:
        finish(FakeHost(wait=late, look=UnreachableError("it broke")), seconds=5)
    assert caught.value.detail == "last: no output"


def test_a_host_without_cloud_init_is_said_to_be_one() -> None:
    with pytest.raises(ProvisionError) as caught:
        finish(FakeHost(wait=Result(127, "", "sh: 1: cloud-init: not found\n")))
    assert "does not say how its first boot went" in caught.value.summary
    assert caught.value.detail == "no status in the answer, status 127: sh: 1: cloud-init: not found"


# --- reach ---


class FakeConnector:
    """Opens one host, or nothing."""

    def __init__(self, host: FakeHost | Exception) -> None:
        self.host = host

    def connect(self, *_: object, **__: object) -> FakeHost:
        if isinstance(self.host, Exception):
            raise self.host
        return self.host


class TalkingDriver:
    name, parallel, adopts = "nspawn", 1, False

    def __init__(self, text: str | Exception) -> None:
        self.text = text

    def console(self, _machine: Machine) -> str:
        if isinstance(self.text, Exception):
            raise self.text
        return self.text


Reached = Callable[..., Outcome]


@pytest.fixture
def reached(tmp_path: Path) -> Reached:
    """Reach the worker on a host, or fail to."""

    def reach(
        host: FakeHost | Exception, *, boots: bool = True, kind: str | None = "cloud-init", console: Any = ""
    ) -> Outcome:
        world = World(
            cluster="lab",
            drivers=cast("Any", {WORKER.driver: TalkingDriver(console)}),
            store=Store(ClusterPaths(tmp_path, "lab")),
            known_hosts=KnownHosts(tmp_path / "known_hosts"),
            connector=cast("Any", FakeConnector(host)),
            ssh=SshSettings(),
            redactor=Redactor(),
        )
        world.machines[WORKER.name] = machine(WORKER, first_boot=kind)
        return machines.reach(world, TARGET, Reach(WORKER.name, boots=boots), lambda _: None)

    return reach


def test_the_first_boot_is_over_before_the_host_is_probed(reached: Reached) -> None:
    host = FakeHost(wait=said())
    assert reached(host) == Outcome(changed=False)
    assert host.asked == [WAIT, "probe"]


def test_what_is_worth_a_note_is_noted(reached: Reached) -> None:
    assert reached(FakeHost(wait=said("disabled", detail="by a file"))).note == "cloud-init is disabled: by a file"


def test_a_machine_that_is_not_set_up_by_cloud_init_is_not_waited_for(reached: Reached) -> None:
    host = FakeHost()
    assert reached(host, kind=None) == Outcome(changed=False)
    assert host.asked == ["probe"]


def test_a_first_boot_that_failed_ends_the_step_and_the_connection(reached: Reached) -> None:
    host = FakeHost(wait=said("error", errors=[BROKEN]))
    with pytest.raises(ProvisionError, match=r"(?s)cloud-init failed.*hung up"):
        reached(host, console="hung up\n")
    assert host.asked == [WAIT]
    assert not host.alive


def test_one_that_a_later_run_meets_is_waited_for_but_not_held_against_it(reached: Reached) -> None:
    host = FakeHost(wait=said("error", errors=[BROKEN]))
    assert reached(host, boots=False).note.startswith("cloud-init failed at first boot")
    assert host.asked == [WAIT, "probe"]


@pytest.mark.parametrize("kind", [UnreachableError, LoginRefusedError])
def test_a_machine_that_boots_and_stays_silent_has_its_console_shown(
    reached: Reached, kind: type[ProvisionError]
) -> None:
    with pytest.raises(kind) as caught:
        reached(kind("no answer", detail="last: timed out"), console="Kernel panic - not syncing\n")
    assert caught.value.detail == "last: timed out\nlast on its console:\n    Kernel panic - not syncing"


def test_a_console_that_cannot_be_read_hides_nothing(reached: Reached) -> None:
    with pytest.raises(UnreachableError) as caught:
        reached(UnreachableError("no answer", detail="last: timed out"), console=DriverError("no such file"))
    assert caught.value.detail == "last: timed out"


def test_one_that_ran_before_has_no_console_shown(reached: Reached) -> None:
    with pytest.raises(UnreachableError) as caught:
        reached(UnreachableError("no answer"), boots=False, console="old lines")
    assert caught.value.detail == ""
