"""Scores, evaluations, datasets and jobs on pages."""

from __future__ import annotations

import re
from datetime import timedelta
from io import BytesIO

import msgspec
import pytest

from airboss.domain.ports import RecordFilter
from airboss.domain.score import Score
from airboss.evaluations import datasets
from airboss.evaluations.jsonl import read_items
from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalOrder
from airboss.evaluations.plan import EvalReport
from tests.console.looped import LoopSite, pressed
from tests.console.test_pages import hrefs, shown
from tests.support.seed_loop import OLD_PROMPT
from tests.support.seed_quality import dataset, lines
from tests.support.seed_quality import evaluation as made

GAP = "B \N{MINUS SIGN} A"


def evaluation(site: LoopSite, **wanted: object) -> str:
    """The path of the evaluation whose job has these fields, in this part."""
    part = wanted.pop("part", "validation")
    for job in site.loop.jobs.list("eval", 50):
        same = all(getattr(job, name) == value for name, value in wanted.items())
        if same and f'"part":"{part}"' in bytes(job.spec).decode():
            return f"/evaluations/{job.id}"
    raise AssertionError(wanted)


def test_scores_have_a_curve_for_each_release(week: LoopSite) -> None:
    """The mean of each with its n and what could not be scored, from 0 to 1; its calls are one link away."""
    person = week.person()
    page = shown(person, "/quality?range=24h")
    stats = week.log.score_stats(
        week.loop.clock.at.replace(day=23), week.loop.clock.at, without_key="airboss"
    )
    assert len(stats) == 2
    for each in stats:
        assert f"{each.mean:.3f}" in page.text
        assert f"{each.n:,}" in page.text
    assert len([tag for tag, _ in page.tags if tag == "polyline"]) == 2
    titles = re.findall(r"mean \d\.\d{3}, n \d+", page.text)
    assert len(titles) > 20
    (under, *_) = [each for each in hrefs(page) if "%3C0.5" in each]
    assert " match" in shown(person, under).text
    assert "No call was scored" in shown(person, "/quality?since=2026-01-01&until=2026-01-02").text


def test_a_judge_that_gave_no_score_is_told_of(fresh: LoopSite) -> None:
    """With how many calls have none, and why: one of them does not lead where no call is."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.serve(20, hours=0.2)
    calls = [
        each.id for each in fresh.log.records(RecordFilter(deployment="support"), limit=20, bodies=False)
    ]
    fresh.log.put_scores(
        [
            Score(
                id=str(number),
                subject="record",
                subject_id=each,
                name="tone",
                source="scorer",
                by="judge",
                at=fresh.loop.clock.at - timedelta(seconds=number),
                unscored="no verdict",
            )
            for number, each in enumerate(calls)
        ]
    )
    person = fresh.person()
    page = shown(person, "/quality?range=24h")
    assert f"No call got this score, {len(calls)} should have. The newest of them: no verdict" in page.text
    assert {"one_by_one": True} in [each[3] for each in fresh.audit.entries], "a cause may quote the call"
    assert f"/records/{calls[0]}" in hrefs(page)
    assert not [each for each in hrefs(page) if "score=tone" in each], "they would lead to no calls"
    assert "should have" not in shown(person, "/quality?range=24h&deployment=assistant").text


def test_what_changed_is_marked_on_curves(week: LoopSite) -> None:
    """Releases and rollouts stand on a score's picture, in the words of the overview's charts."""
    page = shown(week.person(), "/quality?range=7d")
    assert "marks" in page.values("class")
    assert "release support" in page.text


def test_an_evaluation_tells_its_verdict(week: LoopSite) -> None:
    """The gate in words, each scorer's numbers with n, the forest, what was unscored and why, the cost."""
    page = shown(week.person(), evaluation(week, state="done"))
    for words in ("Gate", "non-inferior", "exact", "polite", "length", GAP, "less is better"):
        assert words in page.text
    assert "upstream_timeout" in page.text.split("Why some could not be scored")[1]
    assert re.search(r"\d+ answers, \d+ without one", page.text)
    assert len([each for each in page.values("class") if each.startswith("interval ")]) == 3
    assert "n 6" in page.text


def test_evaluations_on_a_dataset_stand_beside_each_other(week: LoopSite) -> None:
    """Each with the means of both sides, as its report has them, in the list and on the dataset's page."""
    run = week.loop.evals.run(evaluation(week, state="done").rpartition("/")[2])
    assert run is not None
    assert run.report is not None
    report = msgspec.json.decode(run.report, type=EvalReport)
    (exact,) = (each for each in report.comparisons if each.metric.name == "exact")
    assert exact.mean_a is not None
    assert exact.mean_b is not None
    both = f"exact {exact.mean_a.estimate:.3g} → {exact.mean_b.estimate:.3g}"
    for path in ("/evaluations", "/datasets/orders"):
        assert both in shown(week.person(), path).text
    listed = week.program().get("/api/v1/evals?dataset=orders").json()["evals"]
    (found,) = (each for each in listed if each["id"] == run.id)
    assert (found["mean_a"]["exact"], found["mean_b"]["exact"]) == (
        exact.mean_a.estimate,
        exact.mean_b.estimate,
    )
    assert week.program().get("/api/v1/evals?dataset=other").json()["evals"] == []


def test_items_that_part_are_shown_with_both_answers(week: LoopSite) -> None:
    """Those where B is worse first; narrowed by side and scorer; page by page, each item once."""
    person = week.person()
    path = evaluation(week, state="done")
    page = shown(person, path)
    assert "Where is my order number" in page.text
    assert "expected" in page.text
    seen: list[str] = []
    where: str | None = path
    while where is not None:
        page = shown(person, where)
        seen += re.findall(r"q\d{3}(?!\d)", page.text.split("Items on which they part")[1])
        after = [str(a["href"]) for tag, a in page.tags if tag == "a" and a.get("rel") == "next"]
        where = after[0] if after else None
    assert len(seen) == len(set(seen)) > 25
    worse = shown(person, f"{path}?side=worse&scorer=exact").text
    assert "exact yes → no" in worse.split("Items on which they part")[1]
    assert "exact no → yes" not in worse.split("Items on which they part")[1]
    assert person.get(f"{path}?side=sideways").status_code == 400
    assert person.get(f"{path}?page=0").status_code == 400
    assert person.get(f"{path}?sidee=worse").status_code == 400


def test_a_holdout_stays_locked_on_pages(week: LoopSite) -> None:
    """Its evaluation shows ids and marks; no question, no answer, no way to a call, and no new reading."""
    person = week.person()
    before = len(week.loop.evals.holdout_reads(week.loop.evals.datasets()[0].digest))
    page = shown(person, evaluation(week, state="done", part="holdout"))
    parted = page.text.split("Items on which they part")[1]
    assert "The holdout stays locked" in parted
    assert "Where is my order" not in parted
    assert "cannot say" not in parted
    assert not [each for each in hrefs(page) if each.startswith("/records?id=")]
    refused = person.get("/datasets/orders?part=holdout")
    assert refused.status_code == 400
    assert "airboss dataset export" in refused.text
    assert len(week.loop.evals.holdout_reads(week.loop.evals.datasets()[0].digest)) == before == 2


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("running", "53 of 96"),
        ("queued", "not begun"),
        ("failed", "answered none of 64 calls"),
    ],
)
def test_an_evaluation_that_is_not_done_says_where_it_is(week: LoopSite, state: str, words: str) -> None:
    """And claims nothing: no scorer, no picture."""
    page = shown(week.person(), evaluation(week, state=state))
    assert words in page.text
    assert "Scorers" not in page.text
    assert ("hx-get" in dict(page.tags)["html"] or page.values("hx-get") != []) == (state != "failed")


def test_a_dataset_has_its_parts_and_readers(week: LoopSite) -> None:
    """Sizes, the items of the open parts, who read the holdout and why, the evaluations on it."""
    person = week.person()
    page = shown(person, "/datasets/orders")
    for words in (
        "103",
        "66",
        "71",
        "the judgement before the launch",
        "Where is my order number",
        "on its way",
    ):
        assert words in page.text
    assert "airboss dataset export orders --part train" in page.text
    train, validation = (
        set(re.findall(r"q\d{3}(?!\d)", shown(person, f"/datasets/orders?part={part}").text))
        for part in ("train", "validation")
    )
    assert train
    assert validation
    assert not train & validation
    assert "/datasets/" + week.loop.evals.datasets()[0].name in hrefs(shown(person, "/datasets"))


def test_jobs_show_how_far_they_are(week: LoopSite) -> None:
    """Every job with its state and progress; what has not ended can be cancelled."""
    page = shown(week.person(), "/jobs")
    for words in ("53 of 96", "running", "queued", "failed", "done", "41 asked, 12 from before"):
        assert words in page.text
    assert len([each for each in page.values("action") if each.endswith("/cancel")]) == 2
    assert "No job of this kind" in shown(week.person(), "/jobs?kind=tune").text


def test_a_job_is_cancelled_from_its_page(fresh: LoopSite) -> None:
    """It ends, the page one was on comes back and says so, and the audit log has it."""
    fresh.loop.apply(OLD_PROMPT)
    dataset(fresh.loop, count=40)
    made(fresh.loop, gates=(), baseline="none", scorers=("exact",))
    job = fresh.loop.orders.start(
        EvalOrder(dataset="orders", deployment="support", scorers=("exact",)), by="ada"
    )
    person = fresh.person()
    answer = pressed(person, f"/jobs/{job.id}/cancel", back=f"/evaluations/{job.id}", job=job.id)
    assert answer.headers["location"] == f"/evaluations/{job.id}"
    found = fresh.loop.jobs.get(job.id)
    assert found is not None
    assert found.state == "cancelled"
    page = shown(person, f"/evaluations/{job.id}")
    assert "The job is cancelled" in page.text
    assert "what was answered is not asked a second time" in page.text
    assert [entry[0] for entry in fresh.audit.entries] == ["login", "job.cancel"]
    assert pressed(person, "/jobs/none/cancel").status_code == 404


def test_a_release_scored_alone_claims_no_difference(fresh: LoopSite) -> None:
    """One side, one mean; nothing is compared."""
    fresh.loop.apply(OLD_PROMPT)
    dataset(fresh.loop, count=60)
    path = f"/evaluations/{made(fresh.loop, gates=(), baseline='none', scorers=('exact',))}"
    page = shown(fresh.person(), path)
    assert "scored alone" in page.text
    assert GAP not in page.text
    assert "Items 1 to" in page.text


def test_means_of_one_group_are_shown_without_an_interval(fresh: LoopSite) -> None:
    """Beside how many items they are of, what an interval takes, and no verdict, in the API as well."""
    fresh.loop.apply(OLD_PROMPT)
    sixty = read_items(BytesIO(lines(60).encode()), source="orders.jsonl")
    anns = [msgspec.structs.replace(each, group="ann", user="ann", part="validation") for each in sixty]
    Library(fresh.loop.evals, fresh.loop.clock.now).put(datasets.dataset("orders", anns))
    run = made(fresh.loop, gates=(), baseline="none", scorers=("length:words",))
    text = shown(fresh.person(), f"/evaluations/{run}").text
    report = fresh.program().get(f"/api/v1/evals/{run}").json()["report"]
    (found,) = report["comparisons"]
    count, mean = found["items"] - found["unscored_b"], found["mean_b"]
    assert (report["unit"], found["units"], mean["low"]) == ("user", 1, None)
    assert f"{mean['estimate']:.3g} (\N{EN DASH})" in text
    assert f"1 ({count} items)" in text
    takes = "an interval takes at least 2 users; in a dataset made with `--group-by none` each item counts"
    assert f"length: {count} items of 1 user; {takes} by itself." in text
    assert "too few" in text
    assert "no data" not in text
    assert "length" in shown(fresh.person(), "/evaluations").text


def test_parts_that_are_too_small_are_said(fresh: LoopSite) -> None:
    """On the dataset's page and in the API, and where an evaluation takes such a part; not where the split
    is even."""
    fresh.loop.apply(OLD_PROMPT)
    hundred = read_items(BytesIO(lines(100).encode()), source="orders.jsonl")
    anns = [msgspec.structs.replace(each, group="ann", user="ann", part=None) for each in hundred]
    kept = Library(fresh.loop.evals, fresh.loop.clock.now)
    kept.put(datasets.dataset("orders", anns))
    person, program = fresh.person(), fresh.program()
    found = program.get("/api/v1/datasets/orders").json()["uneven"]
    assert {(each["items"], each["units"]) for each in found} == {(100, 1), (0, 0)}
    text = shown(person, "/datasets/orders").text
    assert all(f"{each['words']}." in text for each in found)
    (full,) = (each for each in found if each["items"])
    job = made(fresh.loop, part=full["part"], gates=(), baseline="none", scorers=("exact",))
    assert f"{full['words']}." in shown(person, f"/evaluations/{job}").text
    assert program.get(f"/api/v1/evals/{job}").json()["uneven"] == [full["words"]]
    kept.put(datasets.dataset("even", [msgspec.structs.replace(each, part=None) for each in hundred]))
    assert program.get("/api/v1/datasets/even").json()["uneven"] == []
    assert "asked for" not in shown(person, "/datasets/even").text


def test_an_evaluation_outlives_its_dataset(fresh: LoopSite) -> None:
    """Deleted, its name is text and no dead link; items have no questions any more."""
    fresh.loop.apply(OLD_PROMPT)
    dataset(fresh.loop, count=60)
    run = made(fresh.loop, gates=(), baseline="none", scorers=("exact",))
    fresh.loop.evals.drop_dataset("orders")
    person = fresh.person()
    for path in (f"/evaluations/{run}", "/evaluations"):
        page = shown(person, path)
        assert "orders" in page.text
        assert "/datasets/orders" not in hrefs(page)


def test_empty_pages_teach(fresh: LoopSite) -> None:
    """Each says in a sentence what would be here, with a command to copy."""
    person = fresh.person()
    for path, command in (
        ("/quality", "/feedback"),
        ("/evaluations", "airboss eval run"),
        ("/datasets", "airboss dataset create"),
        ("/jobs", "airboss eval run"),
    ):
        page = shown(person, path)
        assert command in page.text, path
        assert "teach" in page.values("class")
