"""What is said of evaluations and scorings where there are too few units for an interval."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_eval import RUN, comparison, evaluation, job, ready


def bare(estimate: float) -> dict[str, Any]:
    """A mean of too few units for an interval, as the admin API gives it."""
    return {"estimate": estimate, "low": None, "high": None, "confidence": None, "method": None}


def test_means_of_one_unit_are_told_without_an_interval(run: Run, api: AdminApi) -> None:
    """How many items and users they are of is told, what an interval takes, and no verdict."""
    few = {"items": 6, "pairs": 6, "units": 1, "p_adjusted": 1.0}
    sides = {"mean_a": bare(4), "mean_b": bare(5), "difference": bare(1)}
    names = ("length", "latency")
    found = evaluation(*(comparison(each, **few, **sides) for each in names), unit="user")
    ready(api, found)
    told = " ".join(run("eval", "show", "eval-1", "--url", api.url)[1].split())
    assert "length 1 (6 items) 4 5 +1 (-) 1.0000 too few" in told
    takes = "6 items of 1 user; an interval and a verdict take at least 2 users; in a dataset made with"
    assert f"length, latency: {takes} `--group-by none` each item counts by itself" in told
    alone = comparison("length", **{**few, "pairs": 0}, mean_a=None, mean_b=bare(5), difference=None)
    ready(api, evaluation(alone, a=None))  # an older one does not say what counts once
    told = " ".join(run("eval", "show", "eval-1", "--url", api.url)[1].split())
    assert "length 1 (6 items) - 5 - 1.0000 too few" in told
    assert "length: 6 items of 1 group; an interval takes at least 2 groups" in told


def test_a_scoring_of_one_person_has_its_mean(run: Run, api: AdminApi) -> None:
    """Its interval is a dash, and it says why."""
    few = {"items": 6, "pairs": 0, "units": 1, "mean_a": None, "mean_b": bare(19), "difference": None}
    summary = {"id": "scoring-1", "state": "done", "calls": 6, "left_out": {}}
    report = {"comparisons": [comparison("length", **few)], "kept": 0, "gone": 0}
    api.answers["GET", "/api/v1/scorings/scoring-1"] = {"summary": summary, "report": report}
    told = " ".join(run("scoring", "show", "scoring-1", "--url", api.url)[1].split())
    assert "length 6 19 - 0" in told
    assert "run it again" not in told
    assert "length: 6 calls of 1 user or session; an interval takes at least 2 users or sessions" in told
    assert "airboss records --score 'length<" in told


@pytest.mark.parametrize("kind", ["eval", "tune", "finetune"])
def test_a_part_that_is_too_small_is_said(run: Run, api: AdminApi, kind: str) -> None:
    """When the job is ordered, so that it can be left before it is paid for, and where it is shown."""
    words = "validation: 1 item of 1 user, asked for 20%; take calls of more users"
    api.answers["POST", f"/api/v1/{kind}s"] = job("queued", spec={"uneven": [words]})
    order = RUN if kind == "eval" else (kind, "run", "--deployment", "support", "--dataset", "golden")
    assert run(*order, "--detach", "--url", api.url)[2] == f"airboss: {words}\n"
    if kind == "eval":
        ready(api, {**evaluation(comparison()), "uneven": [words]})
        assert words in " ".join(run("eval", "show", "eval-1", "--url", api.url)[1].split())


def test_what_was_not_scored_is_to_be_tried_again(run: Run, api: AdminApi) -> None:
    """Beside why: a judge whose quota was used up, say."""
    cause = {"the judge grader gave no answer: 429": 2}
    found = comparison(
        "llm_judge", items=6, pairs=0, mean_a=None, difference=None, unscored_b=2, causes=cause
    )
    summary = {"id": "scoring-1", "state": "done", "calls": 6, "left_out": {}}
    report = {"comparisons": [found], "kept": 0, "gone": 0}
    api.answers["GET", "/api/v1/scorings/scoring-1"] = {"summary": summary, "report": report}
    told = run("scoring", "show", "scoring-1", "--url", api.url)[1]
    assert "llm_judge: 2 x the judge grader gave no answer: 429" in told
    assert "run it again: scores that are there are kept, and only the rest is tried" in told
