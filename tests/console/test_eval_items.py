"""An evaluation's answers, one by one, by the admin API."""

from __future__ import annotations

import csv
import io
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest

from airboss.console.api_eval_items import EvalAnswer, answers_of, table
from airboss.console.export import as_csv
from airboss.evaluations.marks import scored, unscored
from airboss.evaluations.plan import EvalPlan, EvalReport
from tests.console.described import assert_as_described
from tests.console.looped import LoopSite
from tests.console.test_eval_story import A, B, rows
from tests.console.test_quality import evaluation


def items(site: LoopSite, path: str, **params: Any) -> Any:
    """The answers of the evaluation that stands on this page."""
    return site.program().get(f"/api/v1{path.replace('/evaluations', '/evals')}/items", params=params)


def report_of(site: LoopSite, path: str) -> EvalReport:
    """Its report."""
    run = site.loop.evals.run(path.rpartition("/")[2])
    assert run is not None
    assert run.report is not None
    return msgspec.json.decode(run.report, type=EvalReport)


def test_means_of_the_answers_are_those_of_the_report(week: LoopSite) -> None:
    """Every pair of scores is there, and nothing else makes up the numbers."""
    path = evaluation(week, state="done")
    answer = items(week, path)
    assert_as_described(
        week.program().get("/api/openapi.json").json(), "GET", "/api/v1/evals/{id}/items", answer.json()
    )
    found = answer.json()["answers"]
    (exact,) = (each for each in report_of(week, path).comparisons if each.metric.name == "exact")
    by_item: dict[str, dict[str, float]] = {}
    for each in found:
        if "exact" in each["scores"]:
            by_item.setdefault(each["item"], {})[each["side"]] = float(each["scores"]["exact"])
    pairs = [each for each in by_item.values() if len(each) == 2]
    assert len(pairs) == exact.pairs
    assert exact.mean_a is not None
    assert exact.mean_b is not None
    assert sum(each["a"] for each in pairs) / len(pairs) == pytest.approx(exact.mean_a.estimate)
    assert sum(each["b"] for each in pairs) / len(pairs) == pytest.approx(exact.mean_b.estimate)
    assert {each["error"] is None for each in found} == {True, False}
    assert all(each["question"] and each["expected"] for each in found)
    assert all(each["answer"] for each in found if each["error"] is None)


def test_pages_go_through_all_items_once(week: LoopSite) -> None:
    """By item, whatever the number of answers to it."""
    path = evaluation(week, state="done")
    everything = items(week, path).json()
    assert everything["next"] is None
    seen, after = [], ""
    while after is not None:
        page = items(week, path, limit=7, after=after).json()
        assert len({each["item"] for each in page["answers"]}) <= 7
        seen += page["answers"]
        after = page["next"]
    assert seen == everything["answers"]


def test_tables_have_a_column_for_each_scorer(week: LoopSite) -> None:
    """By the name of the score; a file that would not have all of them is refused."""
    path = evaluation(week, state="done")
    everything = items(week, path).json()["answers"]
    made = items(week, path, format="csv")
    assert made.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(made.text)))
    assert [(each["item"], each["side"]) for each in found] == [
        (each["item"], each["side"]) for each in everything
    ]
    told = {str(each["scores"].get("exact", "")).lower() for each in everything}
    assert {each["scores.exact"].lower() for each in found} == told
    refused = items(week, path, format="csv", limit=5)
    assert refused.status_code == 400
    assert "a file takes 5" in refused.json()["error"]["message"]
    assert items(week, path, format="xml").status_code == 400


def test_a_holdouts_words_stay_locked(week: LoopSite) -> None:
    """Its numbers are there; no question, answer, comment or call."""
    found = items(week, evaluation(week, state="done", part="holdout")).json()["answers"]
    assert found
    for each in found:
        words = [each[name] for name in ("question", "expected", "answer", "record")]
        assert (words, each["comments"], each["tags"]) == ([None] * 4, {}, [])
        assert all("cannot say" not in cause for cause in each["unscored"].values())


def test_of_a_holdout_a_scorers_words_stay_locked_too(week: LoopSite) -> None:
    """What it says of an answer, and what it quotes where it cannot score; that it could not is told."""
    plan = EvalPlan(dataset="d", dataset_name="d", part="holdout", a=A, b=B, scorers=())
    cause = "m needs a schema; the item expects: the secret"
    marks = rows("q", a=scored(1.0, "it says the secret"), b=unscored(cause))
    for part, comments, why in (("holdout", {}, cause.partition(":")[0]), ("validation", {"m": ANY}, cause)):
        a, b = answers_of(week.desk(), msgspec.structs.replace(plan, part=part), marks)
        assert (a.scores, a.comments, b.unscored) == ({"m": 1.0}, comments, {"m": why})


def test_what_is_not_done_is_not_looked_at(week: LoopSite) -> None:
    """Part of the answers says too much; of what failed or was cancelled they are all that there will be."""
    answer = items(week, evaluation(week, state="running"))
    assert answer.status_code == 400
    assert "is running" in answer.json()["error"]["message"]
    assert items(week, evaluation(week, state="failed")).status_code == 200


def test_a_pairs_mark_is_on_both_sides(week: LoopSite) -> None:
    """Each has its share of the win."""
    plan = EvalPlan(dataset="d", dataset_name="d", part="validation", a=A, b=B, scorers=())
    marks = rows("q", a=scored(1.0), b=scored(0.5), pair=scored(0.75, "tie,first"))
    pair = [
        msgspec.structs.replace(row, content=row.content.replace('"m"', '"better"'))
        if row.arm == "pair"
        else row
        for row in marks
    ]
    a, b = answers_of(week.desk(), plan, pair)
    assert (a.side, a.release, a.scores) == ("a", "a", {"m": 1.0, "better": 0.25})
    assert (b.side, b.release, b.scores) == ("b", "b", {"m": 0.5, "better": 0.75})
    assert b.comments == {"better": "tie where A was shown first, B where B was"}


def test_a_column_has_the_type_of_its_marks() -> None:
    """Labels are texts, a yes and no is one, what is never scored is a number that is not there."""
    plain: dict[str, Any] = {"repeat": 0, "release": "r", "latency_ms": 1.0, "cost_usd": None}
    plain |= {"input_tokens": None, "output_tokens": None}
    one = EvalAnswer(item="q", side="b", scores={"tone": "calm", "ok": True}, unscored={"x": "why"}, **plain)
    made = table((one, EvalAnswer(item="r", side="b", scores={"ok": False}, **plain)))
    kinds = {name: kind for name, kind in made.columns.items() if name.startswith("scores.")}
    assert kinds == {"scores.ok": bool, "scores.tone": str, "scores.x": float}
    assert made.rows[0]["unscored.x"] == "why"
    assert made.rows[1]["scores.tone"] is None
    assert as_csv(made).count(b"\r\n") == 3


def test_who_reads_copies_is_noted(week: LoopSite) -> None:
    """Items of a dataset and answers to them, by page or program: one leaf for each in a while. Numbers alone
    leave none, and nobody who may not read does."""

    def noted(action: str = "dataset.read") -> list[tuple[str, str, dict[str, object]]]:
        return [(actor, subject, said) for done, actor, subject, said in week.audit.entries if done == action]

    before = len(noted())
    path = evaluation(week, state="done")
    reader = week.person("reader")
    for _ in range(2):
        assert reader.get(f"/api/v1{path.replace('/evaluations', '/evals')}/items").json()["answers"]
        assert reader.get(path).status_code == 200
        assert reader.get("/api/v1/datasets/orders/items?part=train").json()["items"]
        assert reader.get("/datasets/orders").status_code == 200
    made = noted()[before:]
    assert [(actor, said) for actor, _, said in made] == [
        ("rita", {"part": "validation"}),
        ("rita", {"part": "train"}),
    ]
    assert [subject for _, subject, _ in made] == [f"evaluation {path.rpartition('/')[2]}", "orders"]
    assert week.program("viewer").get("/api/v1/datasets/orders/items").status_code == 403
    assert reader.get("/api/v1/datasets").status_code == 200
    assert len(noted()) == before + 2
