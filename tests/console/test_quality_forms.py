"""Evaluations and datasets by form: what the verbs do, without a shell."""

from __future__ import annotations

import html
import json
import re

import msgspec
import pytest

from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalTask
from tests.console.looped import LoopSite, pressed
from tests.console.test_pages import shown
from tests.support.seed_loop import OLD_PROMPT
from tests.support.seed_quality import dataset

ORDER = {"dataset": "orders", "deployment": "support", "back": "/evaluations"}


@pytest.fixture
def site(fresh: LoopSite) -> LoopSite:
    """A deployment, and a dataset in three parts."""
    fresh.loop.apply(OLD_PROMPT)
    dataset(fresh.loop, count=40)
    return fresh


def test_an_evaluation_is_begun_from_its_page(site: LoopSite) -> None:
    """With what was chosen; the page of it comes next, and the audit log has it as the verb's."""
    person = site.person()
    assert 'action="/evaluations"' in person.get("/evaluations").text
    assert 'name="dataset" value="orders"' in person.get("/datasets/orders").text
    fields = {**ORDER, "scorer": "contains", "scorers": "polite=contains:please\n\n", "judge": "support"}
    answer = pressed(person, "/evaluations", **fields, baseline="none", gate="")
    (job,) = site.loop.jobs.list("eval", 5)
    assert answer.headers["location"] == f"/evaluations/{job.id}"
    plan = msgspec.json.decode(job.spec, type=EvalTask).plan
    assert [each.name for each in plan.scorers] == ["contains", "llm_judge", "polite"]
    assert (plan.a, plan.dataset_name, plan.part) == (None, "orders", "validation")
    assert "It has begun" in shown(person, f"/evaluations/{job.id}").text
    assert site.audit.entries[-1][0:3:2] == ("eval.run", job.id)


def said(site: LoopSite, **other: str) -> str:
    """A right answer to every item of the validation part, one a line."""
    rows = site.loop.evals.items(
        Library(site.loop.evals, site.loop.clock.now).find("orders").digest, "validation"
    )
    lines = [{"item": row.id, "answer": other.get(row.id, "yes")} for row in rows]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def test_an_app_is_evaluated_by_its_answers(site: LoopSite) -> None:
    """Its name stands where a release would, with no page behind it; a wrong line begins nothing."""
    person, lines = site.person("operator"), said(site)
    form = person.get("/evaluations").text
    assert 'data-into="eval-answers"' in form
    fields = {**ORDER, "scorer": "contains", "app": "my-app", "answers": lines}
    told = pressed(person, "/evaluations", **fields, baseline="none", what="estimate").text
    kept = re.search(r'name="answers" value="([^"]*)"', told)
    assert kept is not None
    assert html.unescape(kept[1]) == lines
    answer = pressed(person, "/evaluations", **fields, baseline="none")
    (job,) = site.loop.jobs.list("eval", 5)
    plan = msgspec.json.decode(job.spec, type=EvalTask).plan
    assert (plan.b.name, plan.b.app, plan.a) == ("my-app", True, None)
    for path in ("/evaluations", answer.headers["location"], "/datasets/orders"):
        page = shown(person, path).text
        assert "my-app" in page
        assert f"/releases/{plan.b.release}" not in page
    wrong = pressed(person, "/evaluations", **{**fields, "answers": lines + '{"item": "none", "answer": ""}'})
    assert "has no item" in wrong.text
    assert "app is empty" in pressed(person, "/evaluations", **{**fields, "app": ""}).text
    assert len(site.loop.jobs.list("eval", 5)) == 1
    assert pressed(site.person("reader"), "/evaluations", **fields).status_code == 403


def test_what_it_would_cost_is_told_before_it_begins(site: LoopSite) -> None:
    """By the same form, which is gone on with from there; nothing has begun, and nothing is noted."""
    person = site.person("operator")
    assert 'value="estimate"' in person.get("/evaluations").text
    fields = {**ORDER, "scorer": "contains", "scorers": "polite=contains:please", "judge": "support"}
    noted = len(site.audit.entries)
    page = pressed(person, "/evaluations", **fields, baseline="none", what="estimate")
    assert page.status_code == 200
    assert "Nothing was asked" in page.text
    assert "a guess" in page.text
    assert (site.loop.jobs.list("eval", 5), len(site.audit.entries)) == ((), noted)
    form = page.text[page.text.index('action="/evaluations"') :].partition("</form>")[0]
    kept = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    assert "what" not in kept
    pressed(person, "/evaluations", **kept)
    (job,) = site.loop.jobs.list("eval", 5)
    plan = msgspec.json.decode(job.spec, type=EvalTask).plan
    assert [each.name for each in plan.scorers] == ["contains", "llm_judge", "polite"]
    refused = pressed(person, "/evaluations", **{**fields, "dataset": "gone", "what": "estimate"})
    assert "no dataset is called" in refused.text
    assert pressed(site.person("reader"), "/evaluations", **fields, what="estimate").status_code == 403


def test_why_a_holdout_is_read_is_asked_for_where_it_is_begun(site: LoopSite) -> None:
    """Its cost is told without; who then begins it says why there, unless they have said it before."""
    person = site.person("operator")
    fields = {**ORDER, "scorer": "exact", "baseline": "none", "part": "holdout", "what": "estimate"}
    asked = '<input name="why" required'
    assert asked in pressed(person, "/evaluations", **fields, why="").text
    said = pressed(person, "/evaluations", **fields, why="final").text
    assert asked not in said
    assert 'name="why" value="final"' in said
    assert asked not in pressed(person, "/evaluations", **{**fields, "part": "validation"}, why="").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "no scorer is chosen"),
        ({"scorer": "exact", "part": "holdout"}, "say why it is read"),
        ({"scorer": "exact", "gate": "exakt:better"}, "gate"),
        ({"scorer": "exact", "release": "nobody"}, "nobody"),
        ({"scorer": "exact", "dataset": "gone"}, "no dataset is called"),
    ],
)
def test_an_order_that_means_nothing_begins_nothing(
    site: LoopSite, fields: dict[str, str], said: str
) -> None:
    """And says why, as the verb does."""
    answer = pressed(site.person(), "/evaluations", **{**ORDER, "baseline": "none", **fields})
    assert answer.status_code == 400
    assert said in answer.text
    assert site.loop.jobs.list("eval", 5) == ()


def test_nothing_is_compared_with_answers_that_nobody_expects(site: LoopSite) -> None:
    """Of a dataset of questions alone the form has no scorer chosen that would leave all unscored."""
    person, exact = site.person(), 'value="exact" checked'
    kept = {"dataset": "asked", "text": "input\nWhere is it?", "train": "100", "validation": "0"}
    assert exact not in person.get(pressed(person, "/datasets/text", **kept).headers["location"]).text
    assert exact in person.get("/datasets/orders").text


def test_a_dataset_is_kept_of_a_text_and_deleted(site: LoopSite) -> None:
    """Pasted cells are as good as JSON Lines; deleted, every version is gone, and the page says so."""
    person = site.person()
    cells = "input\texpected\nIs it spam?\tyes\nIs that?\tno"
    kept = {"dataset": "spam", "text": cells, "train": "0", "validation": "100"}
    where = pressed(person, "/datasets/text", **kept).headers["location"]
    page = shown(person, f"{where}?part=validation")
    assert "Is it spam?" in page.text
    assert "The dataset is kept" in page.text
    second = {**kept, "text": '{"input": "More", "expected": "yes"}'}
    assert pressed(person, "/datasets/text", **second).headers["location"] != where
    assert len([each for each in site.loop.evals.datasets() if each.name == "spam"]) == 2
    again = pressed(person, "/datasets/text", **kept).headers["location"]
    assert again == where, "the version that it is, not the newest"
    assert 'action="/datasets/spam/delete"' in person.get(where).text
    assert pressed(person, f"{where}/delete").headers["location"] == "/datasets"
    assert "The dataset is deleted" in shown(person, "/datasets").text
    assert {each.name for each in site.loop.evals.datasets()} == {"orders"}
    assert [each[0] for each in site.audit.entries][-3:] == [
        "dataset.create",
        "dataset.create",
        "dataset.delete",
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "question\nIs it spam?"}, "the text: a table begins with the names of its columns"),
        ({"text": '{"input": "a"}\n{"inputs": "b"}'}, "the text, line 2"),
        ({"train": "60", "validation": "50"}, "at most 1"),
        ({"train": "a third"}, "train is"),
        ({"train": "101"}, "train is"),
        ({"dataset": "a b"}, "no name of a dataset"),
    ],
)
def test_a_text_that_is_no_dataset_keeps_nothing(site: LoopSite, fields: dict[str, str], said: str) -> None:
    """And is told where it is wrong."""
    given = {"dataset": "spam", "text": "input\nIs it spam?", "train": "40", "validation": "30"}
    answer = pressed(site.person(), "/datasets/text", **{**given, **fields})
    assert answer.status_code == 400
    assert said in answer.text
    assert {each.name for each in site.loop.evals.datasets()} == {"orders"}


def test_who_may_only_look_gets_no_form(site: LoopSite) -> None:
    """Forms are an operator's."""
    for path in ("/evaluations", "/datasets", "/datasets/orders"):
        text = site.person("reader").get(path).text
        assert "/datasets/text" not in text
        assert 'action="/evaluations"' not in text
        assert "/delete" not in text
