"""What `cloud-init status --format json` answers, in the words of Debian 12's and Debian 13's release."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provision.cloudinit.status import State, parse


def old(**changes: Any) -> str:
    """22.4: everything is there twice, and no word of warnings."""
    said = {
        "boot_status_code": "enabled-by-generator",
        "datasource": "nocloud",
        "detail": "DataSourceNoCloud [seed=/dev/vdb][dsmode=net]",
        "errors": [],
        "last_update": "Sun, 01 Nov 2026 10:00:00 +0000",
        "status": "done",
        **changes,
    }
    return json.dumps({**said, "_schema_version": "1", "schemas": {"1": said}}, indent=2)


def new(**changes: Any) -> str:
    """25: an extended status, and the stages."""
    stage: dict[str, Any] = {"errors": [], "recoverable_errors": {}, "start": 1.0, "finished": 2.0}
    return json.dumps(
        {
            "boot_status_code": "enabled-by-generator",
            "datasource": "nocloud",
            "detail": "DataSourceNoCloud [seed=/dev/vdb]",
            "errors": [],
            "extended_status": "done",
            "init": stage,
            "init-local": stage,
            "last_update": "Sun, 01 Nov 2026 10:00:00 +0000",
            "modules-config": stage,
            "modules-final": stage,
            "recoverable_errors": {},
            "stage": None,
            "status": "done",
            **changes,
        },
        indent=2,
    )


@pytest.mark.parametrize("answer", [old(), new()])
def test_done(answer: str) -> None:
    status = parse(answer)
    assert status.state is State.DONE
    assert (status.errors, status.warnings, status.failed) == ((), (), "")
    assert status.detail.startswith("DataSourceNoCloud")


SCRIPT = "('scripts_user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))"


@pytest.mark.parametrize(
    "answer",
    [
        old(status="error", errors=[SCRIPT], detail=SCRIPT),
        new(
            status="error",
            extended_status="error - done",
            errors=[SCRIPT],
            recoverable_errors={"WARNING": ["Running module scripts_user (<module…>) failed"]},
        ),
    ],
)
def test_a_module_that_failed_is_named(answer: str) -> None:
    status = parse(answer)
    assert status.state is State.ERROR
    assert status.failed == "module 'scripts_user'"
    assert status.errors == ("scripts_user: RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands')",)


def test_several_modules() -> None:
    errors = [SCRIPT, "('package-update-upgrade-install', ProcessExecutionError('…',))", SCRIPT]
    assert parse(old(status="error", errors=errors)).failed == "module 'scripts_user', 'package-update-upgrade-install'"


def test_a_stage_that_failed_is_named() -> None:
    status = parse(new(status="error", errors=["no route"], init={"errors": ["no route"]}))
    assert (status.failed, status.errors) == ("stage 'init'", ("no route",))


def test_what_failed_may_be_nobody_s() -> None:
    status = parse(new(status="error", extended_status="error - done", detail="Failed due to systemd unit failure"))
    assert (status.state, status.failed, status.detail) == (State.ERROR, "", "Failed due to systemd unit failure")


def test_degraded_has_its_reasons_once() -> None:
    warned = {"WARNING": ["no such file", "no such file"], "DEPRECATED": ["old key"]}
    status = parse(new(extended_status="degraded done", recoverable_errors=warned))
    assert status.state is State.DEGRADED
    assert status.warnings == ("warning: no such file", "deprecated: old key")


def test_degraded_in_the_words_of_23_4() -> None:
    assert parse(old(status="done", extended_status="degraded done")).state is State.DEGRADED


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        (old(status="running", detail="Running in stage: init"), State.RUNNING, "Running in stage: init"),
        (new(status="running", stage="modules-final"), State.RUNNING, "running in stage modules-final"),
        (new(status="running", extended_status="degraded running"), State.RUNNING, "DataSourceNoCloud [seed=/dev/vdb]"),
        (old(status="not run"), State.NOT_STARTED, "DataSourceNoCloud [seed=/dev/vdb][dsmode=net]"),
        (new(status="not started"), State.NOT_STARTED, "DataSourceNoCloud [seed=/dev/vdb]"),
        (old(status="disabled", detail="by a file"), State.DISABLED, "by a file"),
    ],
)
def test_other_states(answer: str, state: State, detail: str) -> None:
    status = parse(answer)
    assert (status.state, status.detail) == (state, detail)


def test_what_stands_before_the_answer_is_skipped() -> None:
    assert parse("perl: warning: no locale\n" + new()).state is State.DONE


@pytest.mark.parametrize("answer", ["", "no", "{}", "[1]", '{"status": 1', '{"status": "on holiday"}'])
def test_no_answer_is_no_status(answer: str) -> None:
    with pytest.raises(ValueError):  # whatever it says
        parse(answer)
