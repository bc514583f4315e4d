"""Plans as text: each scenario's plan, with its details and what each step waits for, is a file in golden/.

PROVISION_GOLDEN=write rewrites the files; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scenarios_of_plans import SCENARIOS

from provision.errors import PlanError
from provision.planning.plan import Plan

GOLDEN = Path(__file__).with_name("golden")


def shown(plan: Plan) -> str:
    """The plan as users read it, then its graph: needs with `<-`, mere order with `..`."""
    lines = [plan.text(details=True), *(f"notice: {notice}" for notice in plan.notices), ""]
    for step in plan:
        waits = [f"<- {other}" for other in sorted(step.needs)] + [
            f".. {other}" for other in sorted(step.after - step.needs)
        ]
        lines += [step.id + (" (looks)" if step.looks else ""), *(f"    {wait}" for wait in waits)]
    return "\n".join(lines).rstrip() + "\n"


def outcome(name: str) -> str:
    try:
        return shown(SCENARIOS[name]())
    except PlanError as refused:
        return f"refused\n\n{refused}\n"


@pytest.mark.parametrize("name", SCENARIOS)
def test_plan_is_the_golden_one(name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    text = outcome(name)
    if os.environ.get("PROVISION_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_every_golden_text_belongs_to_a_scenario() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(SCENARIOS)
