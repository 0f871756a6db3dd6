"""Recorded calls scored by `airboss scoring run`: a kill repeats no kept judgement, and leaves no hole."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from airboss.evaluations.record_scoring import CHUNK
from airboss.testing import FakeProvider, ScriptStep
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

GRADER = """
[models.grader]
provider = "fake"
model = "grader"

[deployments.grader]
model = "grader"
"""
GRADED = 'ok;text={"reasoning": "", "grade": 4}'
CALLS = 40


def test_a_kill_repeats_no_kept_judgement(provider: FakeProvider, tmp_path: Path) -> None:
    """The controller goes on where it was: at most the calls under way are judged twice, and each has one
    score. Asked again, nothing is; another meaning of the name is refused."""
    provider.script(
        ScriptStep(behaviour=GRADED, calls=CHUNK + 4, model="grader"),
        ScriptStep(behaviour="silence", forever=True, model="grader"),
    )
    with Airboss(tmp_path / "a", fake(provider.url, GRADER)) as airboss:
        for number in range(CALLS):
            assert airboss.chat(f"number {number}", model="support", user=f"u{number}").status_code == 200
        airboss.settled()
        order = ("scoring", "run", "--scorer", "llm_judge:grader", "--scorer", "length")
        job = airboss.verb(*order, "--detach").strip()
        before = provider.stats().requests

        def judged() -> int:
            return len(airboss.records("--score", "llm_judge", "--limit", "100"))

        until(lambda: judged() == CHUNK)  # one chunk is kept; in the next one a judge says nothing
        killed = airboss.pid("controller")
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        until(lambda: provider.stats().in_flight == 0)
        provider.script(ScriptStep(behaviour=GRADED, forever=True, model="grader"))
        airboss.leases_run_out()
        found = json.loads(airboss.verb("scoring", "show", job, "--wait", "--json"))
        graded, length = found["report"]["comparisons"]
        assert (graded["mean_b"]["estimate"], graded["units"], graded["unscored_b"]) == (0.75, CALLS, 0)
        assert (length["items"], found["report"]["kept"], found["left_out"]) == (CALLS, 0, {})
        asked = provider.stats().requests - before
        assert asked <= CALLS + CHUNK, "a judgement that was kept was made again"
        assert judged() == CALLS

        again = json.loads(airboss.verb(*order, "--json"))
        assert (again["report"]["kept"], again["means"]["llm_judge"]) == (2 * CALLS, 0.75)
        assert provider.stats().requests - before == asked
        other = ("scoring", "run", "--scorer", "length=contains:number", "--data-dir", str(airboss.data))
        refused = run_airboss(*other, cwd=airboss.root)
        assert (refused.returncode, "had other settings in scoring-" in refused.stderr) == (2, True)
        assert "length" in airboss.verb("scoring", "list")
        assert "valid" in airboss.verb("audit", "verify")
