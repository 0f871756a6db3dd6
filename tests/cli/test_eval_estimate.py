"""`airboss eval run --dry-run`: what it sends, what it prints."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_eval import RUN

PATH = "/api/v1/evals/estimate"


def line(who: str, name: str, usd: str | None, **given: Any) -> dict[str, Any]:
    """One who would be asked."""
    return {
        "who": who,
        "name": name,
        "deployment": "support",
        "release": "a" * 64,
        "calls": 1_200,
        "kept": 34,
        "input_tokens": 56_789,
        "output_tokens": 4_321,
        "by": "release",
        "usd": usd,
        **given,
    }


FOUND: dict[str, Any] = {
    "dataset": "golden",
    "digest": "c" * 64,
    "part": "validation",
    "read": "validation",
    "items": 617,
    "looked_at": 206,
    "repeats": 2,
    "lines": [line("a", "old", "1.5"), line("judge", "polite", None, by="guess")],
    "calls": 2_400,
    "usd": "1.5",
    "unpriced": 1_200,
}


def test_what_it_would_cost_is_told_and_nothing_begins(run: Run, api: AdminApi) -> None:
    """The order is the same that would begin it; what is not known is said."""
    api.answers["POST", PATH] = FOUND
    code, out, err = run(*RUN, "--repeats", "2", "--dry-run", "--url", api.url)
    assert (code, err) == (0, "")
    lines = [" ".join(each.split()) for each in out.splitlines()]
    assert lines[0] == "golden validation: 617 items, 2 times each"
    assert lines[2] == "A old support 1,200 34 56,789 4,321 its answers so far $1.50"
    assert lines[3] == "judge polite support 1,200 34 56,789 4,321 a guess unknown"
    assert lines[4] == "2,400 calls, about $1.50, and 1,200 calls of a model without a known price"
    assert lines[5] == "206 of the items stand for all"
    assert "chat template" not in out
    assert [each[:2] for each in api.asked] == [("POST", PATH)]
    assert (api.asked[0][3]["repeats"], api.asked[0][3]["scorers"]) == (2, ["exact"])


def test_as_json_it_is_one_object(run: Run, api: AdminApi) -> None:
    """As the admin API gives it; that a holdout is not read is said in a table."""
    api.answers["POST", PATH] = {**FOUND, "part": "holdout"}
    code, out, _ = run(*RUN, "--part", "holdout", "--dry-run", "--json", "--url", api.url)
    assert (code, json.loads(out)["part"]) == (0, "holdout")
    out = run(*RUN, "--part", "holdout", "--dry-run", "--url", api.url)[1]
    assert "the holdout is locked: items of validation stand for its own" in out


def test_what_a_local_models_template_adds_is_said_to_be_missing(run: Run, api: AdminApi) -> None:
    """Its records tell more than the estimate; where nothing of it is asked, nothing is missing."""
    words = "of a local model the input is without its chat template: each call reads some tokens more"
    for calls, said in ((3, True), (0, False)):
        api.answers["POST", PATH] = {**FOUND, "lines": [line("b", "small", "0", calls=calls, local=True)]}
        assert (words in run(*RUN, "--dry-run", "--url", api.url)[1]) is said
