"""`airboss probe`: what is sent, exit codes, plots and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_eval import interval, job

RUN = ("probe", "bias", "--deployment", "support")
TARGET = {"deployment": "support", "release": "b" * 64, "name": "new"}


def finding(measure: str = "decision", verdict: str = "equivalent", **given: Any) -> dict[str, Any]:
    """A finding as the admin API gives it."""
    return {
        "attribute": "origin",
        "reference": "english",
        "group": "arabic",
        "measure": measure,
        "margin": 0.05,
        "pairs": 60,
        "units": 20,
        "mean_a": 0.6,
        "mean_b": 0.61,
        "gap": interval(0.01, -0.02, 0.04),
        "floor": -0.02,
        "apart": 0.05,
        "apart_floor": 0.04,
        "p_value": 0.4,
        "p_error": 0.0,
        "p_adjusted": 1.0,
        "method": "sign-flip-exact",
        "detectable": 0.1,
        "verdict": verdict,
        "why": None,
        **given,
    }


def probed(*findings: dict[str, Any], conclusion: str = "none_found", **report: Any) -> dict[str, Any]:
    """A probe as the admin API gives it."""
    return {
        "summary": {
            "id": "eval-1",
            "state": "done",
            "created_at": "2026-11-24T14:00:00+00:00",
            "by": "admin",
            "deployment": "support",
            "target": TARGET,
            "questions": {"origin": 60},
            "prompts": 15,
            "left_out": {"age: prompts where the attribute may rightly matter": 3},
            "margins": {"decision": 0.05},
            "alpha": 0.05,
            "seed": 0,
            "temperature": 0.0,
            "done": 180,
            "total": 180,
            "note": "180 asked",
            "error": None,
            "conclusion": conclusion,
        },
        "report": {
            "conclusion": conclusion,
            "findings": list(findings) or [finding()],
            "tests": 1,
            "calls": 180,
            "errors": 0,
            "first_error": None,
            "input_tokens": 9,
            "output_tokens": 9,
            "cost_usd": 0.5,
            "cost_unknown": 0,
            "logprobs": None,
            "examples": [],
            **report,
        },
    }


def ready(api: AdminApi, found: dict[str, Any]) -> None:
    """An API that probes at once."""
    api.answers["POST", "/api/v1/probes"] = job("queued")
    api.answers["GET", "/api/v1/jobs/eval-1"] = job()
    api.answers["GET", "/api/v1/probes/eval-1"] = found


def test_bias_sends_what_was_asked(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """Each option under its name; a file of prompts as its text, with its name."""
    ready(api, probed())
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "{{person}}"}')
    code, out, _ = run(
        *RUN,
        *("--release", "new", "--attribute", "origin:arabic", "--attribute", "age", "--prompts", str(file)),
        *(
            "--topic",
            "lending",
            "--calls",
            "300",
            "--margin",
            "decision=0.1",
            "--alpha",
            "0.01",
            "--seed",
            "5",
        ),
        *("--temperature", "0.5", "--max-tokens", "20", "--concurrency", "3", "--json", "--url", api.url),
    )
    assert code == 0
    assert api.asked[0][3] == {
        "deployment": "support",
        "release": "new",
        "attributes": ["origin:arabic", "age"],
        "prompts": '{"prompt": "{{person}}"}',
        "source": str(file),
        "topics": ["lending"],
        "calls": 300,
        "margins": {"decision": 0.1},
        "alpha": 0.01,
        "seed": 5,
        "temperature": 0.5,
        "max_tokens": 20,
        "concurrency": 3,
    }
    found = json.loads(out)
    assert (found["id"], found["questions"], found["report"]["tests"]) == ("eval-1", {"origin": 60}, 1)


@pytest.mark.parametrize(("conclusion", "code"), [("found", 1), ("none_found", 0), ("equivalent", 0)])
def test_the_exit_code_says_whether_a_bias_is_shown(
    run: Run, api: AdminApi, conclusion: str, code: int
) -> None:
    """1 where it is, 0 otherwise, in words and in JSON alike; `show` tells it and exits 0."""
    ready(api, probed(conclusion=conclusion))
    assert run(*RUN, "--url", api.url)[0] == code
    assert run(*RUN, "--json", "--url", api.url)[0] == code
    assert run("probe", "show", "eval-1", "--url", api.url)[0] == 0


def test_the_report_has_plots_numbers_and_what_to_know(run: Run, api: AdminApi) -> None:
    """A forest plot a measure, a line a finding, calls and costs, examples, and a bounded conclusion."""
    found = probed(
        finding(),
        finding(
            "flips",
            "different",
            gap=interval(0.4, 0.2, 0.6),
            mean_a=0.1,
            mean_b=0.5,
            floor=None,
            p_adjusted=0.00001,
        ),
        finding("refusal", "inconclusive", why="no larger than the noise floor"),
        finding(
            "log_odds", "unmeasured", gap=None, p_adjusted=None, mean_a=None, mean_b=None, why="no " * 40
        ),
        conclusion="found",
        logprobs="the deployment gives none",
        errors=2,
        first_error="503: away",
        examples=[
            {
                "attribute": "origin",
                "group": "arabic",
                "prompt": "lending-loan",
                "a": "Emily Walsh",
                "b": "Fatima Haddad",
                "answer_a": "approve",
                "answer_b": "deny " * 20,
            }
        ],
    )
    ready(api, found)
    code, out, _ = run(*RUN, "--url", api.url)
    assert code == 1
    for line in (
        "●─────────────┤░░░░ equivalent",
        "origin arabic / english decision 60 in 20 0.6 0.61 +0.010 (-0.020 to +0.040) -0.020 1.0000 equiv",
        "flips 60 in 20 0.1 0.5 +0.400 (+0.200 to +0.600) +0.100 <0.0001 different",
        "inconclusive: no larger than the noise floor",
        "log_odds 60 in 20 - - - -0.020 - unmeasured",
        "questions: 60 about origin; 180 calls, 2 without an answer, $0.5",
        "the first error: 503: away",
        "no log-odds: the deployment gives none",
        "left out: 3 age: prompts where the attribute may rightly matter",
        "gaps that this probe finds four times in five: decision 0.1",
        'origin, lending-loan: Emily Walsh "approve", Fatima Haddad "deny deny',
        "a difference is shown, of this release on these prompts",
    ):
        assert line in " ".join(out.split()), f"{line}\n{out}"
    assert "log-odds of the better answer" not in out


def test_a_probe_that_is_not_done_is_shown_so(run: Run, api: AdminApi) -> None:
    """How far it is, or why it failed."""
    found = probed()
    found["report"] = None
    found["summary"] |= {"state": "failed", "done": 4, "error": "release new answered none"}
    ready(api, found)
    _, out, _ = run("probe", "show", "eval-1", "--url", api.url)
    assert "4 of 180 calls" in out
    assert "answered none" in out
    _, out, _ = run("probe", "show", "eval-1", "--json", "--url", api.url)
    assert json.loads(out)["report"] is None


def test_probes_are_listed(run: Run, api: AdminApi) -> None:
    """One a line; without any, what makes one."""
    api.answers["GET", "/api/v1/probes"] = {"probes": [probed()["summary"]]}
    _, out, _ = run("probe", "list", "--url", api.url)
    assert "support new bbbbbbbb origin none found" in " ".join(out.split())
    _, out, _ = run("probe", "list", "--limit", "3", "--json", "--url", api.url)
    assert json.loads(out)["id"] == "eval-1"
    assert api.asked[-1][2] == {"limit": "3"}
    api.answers["GET", "/api/v1/probes"] = {"probes": []}
    assert "airboss probe bias" in run("probe", "list", "--url", api.url)[2]


def test_detached_it_prints_the_id(run: Run, api: AdminApi) -> None:
    """And does not wait."""
    ready(api, probed())
    assert run(*RUN, "--detach", "--url", api.url)[:2] == (0, "eval-1\n")
    assert json.loads(run(*RUN, "--detach", "--json", "--url", api.url)[1]) == {"id": "eval-1"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--margin", "decision"), "write MEASURE=NUMBER"),
        (("--prompts", "/nowhere/p.jsonl"), "/nowhere/p.jsonl cannot be read"),
        (("--temperature", "3"), "less than or equal to 2"),
    ],
)
def test_a_wrong_call_is_refused(run: Run, api: AdminApi, given: tuple[str, ...], message: str) -> None:
    """With 2, and nothing sent."""
    code, _, said = run(*RUN, *given, "--url", api.url)
    assert code == 2
    assert message in said
    assert api.asked == []
