"""One of something is said as one, wherever it is counted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from airboss.cli import eval_report, probe_report
from airboss.console.findings import system_findings
from airboss.evaluations.run import Progress
from airboss.evaluations.work import note
from tests.console.site import NOW
from tests.support.seed_records import seed_status


def test_what_an_evaluation_and_a_probe_cost() -> None:
    """In the notes under a report, and while it runs."""
    side = {"answers": 1, "errors": 1, "cost_usd": "0", "cost_unknown": 1}
    report: dict[str, Any] = {
        "a": None,
        "b": side,
        "comparisons": [
            {"metric": {"name": "m"}, "items": 1, "unscored_a": 1, "unscored_b": 0, "causes": {"why": 1}}
        ],
        "position_bias": {"judge": {"consistent": 0, "items": 1}},
    }
    said = eval_report.notes(report, 1)
    assert said[0].startswith("B: 1 answer, 1 error, ")
    assert said[0].endswith(", 1 answer of unknown price")
    assert said[1] == "m: of 1 item 1 unscored for A and 0 for B: 1 x why"
    assert said[2] == "judge: the same vote in both orders for 0 of 1 item"
    state = Progress(done=1, total=1, failed=1, paid=1, reused=0, cost_usd=Decimal(0))
    assert note(state) == "1 asked, 0 from before, 1 item without an answer"
    probe: dict[str, Any] = {"calls": 1, "errors": 0, "cost_unknown": 1, "tests": 1, "first_error": None}
    probe |= {"logprobs": None, "findings": []}
    found = probe_report.notes({"questions": {"age": 1}, "alpha": 0.05, "left_out": {}}, probe)
    assert found[0] == "questions: 1 about age; 1 call, 0 without an answer"
    assert found[1].startswith("1 test corrected together")


def test_what_is_wrong() -> None:
    """On the console's first page."""
    status = seed_status(NOW)
    journal = msgspec.structs.replace(status.journal, corrupt_frames=1)
    retention = msgspec.structs.replace(status.retention, disk_full=True, dropped=1)
    found = list(system_findings(msgspec.structs.replace(status, journal=journal, retention=retention)))
    assert found[0].title == "1 piece of the journal could not become a record."
    assert "1 record has lost theirs" in found[1].detail
