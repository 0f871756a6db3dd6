"""An evaluation's job: begun once, gone on with, the holdout's reading counted once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from airboss.domain.errors import UpstreamFailed, WrongCall
from airboss.evaluations.contest import Contest
from airboss.evaluations.datasets import dataset
from airboss.evaluations.gate import Gate, read_gate
from airboss.evaluations.library import Library
from airboss.evaluations.marks import unquoted
from airboss.evaluations.orders import EvalResult, EvalTask
from airboss.evaluations.paid_once import Asking
from airboss.evaluations.plan import EvalPlan
from airboss.evaluations.ports import Answer, Call, Target
from airboss.evaluations.run import CONCURRENCY, load
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.spec import read_spec
from airboss.evaluations.work import evaluate
from airboss.store.evals import SqlEvalStore
from airboss.store.job_rows import Job
from airboss.store.ledger_tables import eval_answers
from tests.evaluations.support import A, B, FakeCaller, item, now
from tests.evaluations.test_orders import job

COUNT = 30
ITEMS = [item(f"v{n:02}", f"{n}?", expected="yes", part="validation") for n in range(COUNT)]
LOCKED = [item(f"h{n:02}", f"{n}!", expected="yes", part="holdout") for n in range(COUNT)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlEvalStore]:
    """A store with the dataset in it."""
    made = SqlEvalStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    Library(made, now).put(dataset("golden", [*ITEMS, *LOCKED]))
    yield made
    made.close()


def task(store: SqlEvalStore, **given: Any) -> Job:
    """A job that compares A with B."""
    kept = Library(store, now).find("golden")
    fields: dict[str, Any] = {
        "dataset": kept.digest,
        "dataset_name": "golden",
        "part": "validation",
        "a": A,
        "b": B,
        "scorers": (Exact(),),
    }
    plan = EvalPlan(**{**fields, **{name: value for name, value in given.items() if name != "why"}})
    spec = msgspec.json.encode(EvalTask(plan=plan, why=given.get("why")))
    return job("running", spec=msgspec.Raw(spec))


def right_for_b(call: Call) -> str:
    """B answers rightly, A does not."""
    return "yes" if call.target == B else "no"


class Killed(Exception):
    """The work ends here."""


def killed(done: int, _total: int, _note: str) -> None:
    """A report that ends the work after three items."""
    if done >= 3:
        raise Killed


def done(store: SqlEvalStore, work: Job, caller: FakeCaller, seen: list[Any] | None = None) -> EvalResult:
    """The job done."""

    def report(done: int, total: int, note: str) -> None:
        if seen is not None:
            seen.append((done, total, note))

    return asyncio.run(evaluate(work, store=store, caller=caller, now=now, report=report))


def test_an_evaluation_is_done_and_reported(store: SqlEvalStore) -> None:
    """Its decision is the job's result, its report the run's, and its progress ends where the items do."""
    seen: list[Any] = []
    work = task(store, gates=(Gate(metric="exact", rule="better"),))
    result = done(store, work, FakeCaller(right_for_b), seen)
    assert result.decision is not None
    assert (result.run, result.items, result.decision.conclusion) == (work.id, COUNT, "pass")
    assert load(store, work.id)[1] is not None
    assert seen[-1][:2] == (COUNT, COUNT)
    assert seen[-1][2].startswith("60 asked, 0 from before, 0.06 USD")


def test_a_dataset_that_is_deleted_leaves_nothing(store: SqlEvalStore) -> None:
    """What is in flight then is not kept, nothing more is asked, and the job says why it ended."""
    work = task(store)
    name = store.datasets()[0].name

    def answers(call: Call) -> str:
        if len(caller.calls) == 9:
            store.drop_dataset(name)
        return right_for_b(call)

    caller = FakeCaller(answers)
    with pytest.raises(WrongCall, match="deleted meanwhile"):
        done(store, work, caller)
    assert len(caller.calls) <= 9 + CONCURRENCY
    assert store.results(work.id) == ()
    with store._read() as connection:
        assert connection.execute(select(eval_answers.c.key)).all() == []


def test_a_job_done_again_asks_nothing(store: SqlEvalStore) -> None:
    """Killed between its report and its end it gives the same result; killed before, it uses what it has."""
    work = task(store, gates=(Gate(metric="exact", rule="better"),))
    first = done(store, work, FakeCaller(right_for_b))
    again = FakeCaller(right_for_b)
    assert done(store, work, again) == first
    assert again.calls == []


def test_one_release_is_scored_by_itself(store: SqlEvalStore) -> None:
    """Only it is asked; its mean has an interval, and nothing is compared."""
    caller = FakeCaller(lambda call: "yes" if call.input.messages[0]["content"] != "3?" else "no")
    work = task(store, a=None, scorers=(Exact(), read_spec("latency", load=str), read_spec("cost", load=str)))
    done(store, work, caller)
    report = load(store, work.id)[1]
    assert report is not None
    assert {call.target.release for call in caller.calls} == {B.release}
    assert (report.a, report.b.answers, len(caller.calls)) == (None, COUNT, COUNT)
    exact, latency, _cost = report.comparisons
    assert exact.mean_b is not None
    assert exact.mean_b.estimate == pytest.approx(29 / 30)
    assert exact.mean_b.interval is not None
    assert exact.mean_b.interval.low < 29 / 30 < exact.mean_b.interval.high
    assert (exact.units, exact.pairs, exact.unscored_a, exact.difference) == (COUNT, 0, 0, None)
    assert (exact.test, exact.p_adjusted, exact.mean_a) == (None, None, None)
    assert latency.mean_b is not None
    assert latency.mean_b.estimate == pytest.approx(12.0)


def test_labels_of_one_release_are_counted(store: SqlEvalStore, tmp_path: Path) -> None:
    """A scorer that gives labels has no mean, alone or not."""
    (tmp_path / "tone.py").write_text("def tone(item, answer):\n    return 'dry'\n")
    work = task(store, a=None, scorers=(read_spec("python:tone.py:tone", load=str),), folder=str(tmp_path))
    done(store, work, FakeCaller(right_for_b))
    report = load(store, work.id)[1]
    assert report is not None
    assert (report.comparisons[0].labels, report.comparisons[0].mean_b) == ({"dry": (0, COUNT)}, None)


def test_the_holdout_is_read_once_by_a_job(store: SqlEvalStore) -> None:
    """However often the job is begun anew; another job's reading counts, and is told of the first."""
    work = task(store, part="holdout", why="the last word")
    with pytest.raises(Killed):
        asyncio.run(evaluate(work, store=store, caller=FakeCaller(right_for_b), now=now, report=killed))
    assert done(store, work, FakeCaller(right_for_b)).holdout_reads_before == 0
    kept = Library(store, now).find("golden")
    reads = store.holdout_reads(kept.digest)
    assert [(each.who, each.why) for each in reads] == [("ann", "the last word (eval-1)")]
    other = msgspec.structs.replace(work, id="eval-2")
    assert done(store, other, FakeCaller(right_for_b)).holdout_reads_before == 1
    assert len(store.holdout_reads(kept.digest)) == 2


def test_a_contest_asks_the_baseline_once(store: SqlEvalStore) -> None:
    """Two evaluations at work at the same time, in threads of their own: each answer of A is paid once, the
    holdout is read once, and each says how long answers took."""
    contest = Contest(id="contest-0f", size=2, alpha=0.05)
    works = []
    for number, letter in enumerate("bc", 1):
        b = Target(deployment="b", release=letter * 64)
        work = task(store, part="holdout", why="the last word", b=b)
        whole = msgspec.json.decode(work.spec, type=EvalTask)
        spec = msgspec.Raw(msgspec.json.encode(msgspec.structs.replace(whole, contest=contest)))
        works.append(msgspec.structs.replace(work, id=contest.evals()[number - 1], spec=spec))
    asking, caller, together = Asking(), FakeCaller(right_for_b), threading.Barrier(2)

    def report(done: int, *_: object) -> None:
        if done == 1:
            together.wait(60)

    def do(work: Job) -> EvalResult:
        return asyncio.run(evaluate(work, store=store, caller=caller, now=now, report=report, asking=asking))

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(do, works))
    assert Counter(call.target.release[0] for call in caller.calls) == {"a": COUNT, "b": COUNT, "c": COUNT}
    assert [each.holdout_reads_before for each in found] == [0, 0]
    reads = store.holdout_reads(Library(store, now).find("golden").digest)
    assert [each.why for each in reads] == ["the last word (contest-0f)"]
    assert [(each.ms_a, each.ms_b) for each in found] == [(12.0, 12.0)] * 2


def test_a_release_that_never_answers_fails_the_job(store: SqlEvalStore) -> None:
    """With the first cause: such a report would say nothing about the release."""

    def answer(call: Call) -> Answer | str:
        return Answer(error="503: the provider is away") if call.target == A else "yes"

    with pytest.raises(UpstreamFailed, match="answered none of 30 calls: 503: the provider is away"):
        done(store, task(store), FakeCaller(answer))


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("503: away with Ann", "503"),
        ("no connection to http://127.0.0.1:9/v1: refused", "no connection to http://127.0.0.1:9/v1"),
        ("there is no answer: 400: Ann's words", "there is no answer: 400"),
        (
            "the judge j did not answer the JSON asked for: 'Ann 500: x'",
            "the judge j did not answer the JSON asked for",
        ),
        ("no answer within 5 s", "no answer within 5 s"),
    ],
)
def test_what_is_told_of_an_item_of_somebody_quotes_nothing(cause: str, told: str) -> None:
    """All that is unscored, and all errors of calls, have what they quote behind a colon."""
    assert unquoted(cause) == told


def test_what_is_kept_of_a_failed_evaluation_quotes_nobody(store: SqlEvalStore) -> None:
    """Why the job failed and what the report counts stay when an erasure takes the results: of items that
    came from people they tell without their words, which an upstream may have repeated."""
    of_people = [msgspec.structs.replace(each, user="ann") for each in ITEMS]
    Library(store, now).put(dataset("theirs", of_people))
    kept = Library(store, now).find("theirs")
    caller = FakeCaller(lambda _: Answer(error="400: no to the words of ann"))
    work = task(store, dataset=kept.digest, dataset_name="theirs", gates=(read_gate("exact:better"),))
    with pytest.raises(UpstreamFailed, match=r"answered none of \d+ calls: 400$"):
        done(store, work, caller)
    run = store.run(work.id)
    assert run is not None
    assert run.report is not None
    assert "there is no answer: 400" in run.report
    assert "words of ann" not in run.report
    assert any("words of ann" in row.content for row in store.results(run.id))
    store.forget_user("ann")
    assert store.results(run.id) == ()


def test_a_dataset_that_is_gone_is_said(store: SqlEvalStore) -> None:
    """Deleted between the order and the work, it is missed by its name, as what was there: it is no slip of
    who asked, who would look for others' names."""
    work = task(store)
    Library(store, now).delete("golden")
    with pytest.raises(WrongCall, match=r"dataset 'golden', .* was deleted meanwhile"):
        done(store, work, FakeCaller(right_for_b))


def test_the_progress_ends_the_work(store: SqlEvalStore) -> None:
    """What the report raises stops every call that has not begun."""
    caller = FakeCaller(right_for_b)
    with pytest.raises(Killed):
        asyncio.run(evaluate(task(store), store=store, caller=caller, now=now, report=killed))
    assert len(caller.calls) < 2 * COUNT
