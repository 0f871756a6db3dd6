"""Evaluations from the plan to the report."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import SetupError, WrongCall
from airboss.evaluations.caller_http import HttpCaller
from airboss.evaluations.datasets import dataset
from airboss.evaluations.gate import read_gate
from airboss.evaluations.library import Library
from airboss.evaluations.plan import EvalPlan, EvalReport
from airboss.evaluations.ports import Answer, Call, Caller, Target
from airboss.evaluations.run import CONCURRENCY, EvalRun, Progress, begin, load
from airboss.evaluations.scorers.cost import Cost
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.llm_judge import LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge
from airboss.evaluations.scorers.python_function import PythonFunction
from airboss.store.erasures import SqlErasures
from airboss.store.evals import SqlEvalStore
from airboss.testing import FakeProvider
from tests.evaluations.support import JUDGE, NOW, A, B, FakeCaller, item, now, said

ITEMS = [item(f"q{number:02}", f"question {number}", expected="yes") for number in range(40)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlEvalStore]:
    """An empty store."""
    made = SqlEvalStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def plan(**given: Any) -> EvalPlan:
    """A plan of two releases and one scorer."""
    fields: dict[str, Any] = {
        "dataset": "d" * 64,
        "dataset_name": "n",
        "part": "validation",
        "a": A,
        "b": B,
        "scorers": (Exact(),),
    }
    return EvalPlan(**(fields | given))


def number_of(call: Call) -> int:
    """Which question is asked."""
    return int(call.input.messages[-1]["content"].split()[-1])


def better_b(call: Call) -> Answer | str:
    """A answers a quarter of the questions wrongly, B none."""
    return "no" if call.target == A and number_of(call) % 4 == 0 else "yes"


def evaluated(
    store: SqlEvalStore,
    caller: Caller,
    what: EvalPlan,
    *,
    run_id: str = "run",
    items: list[Any] = ITEMS,
    progress: Callable[[Progress], None] | None = None,
) -> EvalReport:
    """Begin a run if it is new, and do it."""
    if store.run(run_id) is None:
        begin(store, what, run_id=run_id, at=NOW)
    run = EvalRun(run_id, what, items, caller=caller, store=store, now=now, progress=progress)
    return asyncio.run(run.run())


def test_from_plan_to_report(store: SqlEvalStore) -> None:
    """Every item goes to both releases once; the report has the comparison, the decision and the sums, and
    is kept with the run."""
    states: list[Progress] = []
    caller = FakeCaller(better_b)
    what = plan(gates=(read_gate("exact:better"),), params={"seed": 7})
    report = evaluated(store, caller, what, progress=states.append)
    assert Counter(call.target for call in caller.calls) == {A: 40, B: 40}
    assert {json.dumps(call.params) for call in caller.calls} == {'{"seed": 7}'}
    (exact,) = report.comparisons
    assert (exact.better, exact.worse, exact.units) == (10, 0, 40)
    assert report.decision is not None
    assert report.decision.passed
    assert report.a is not None
    assert (report.a.answers, report.a.errors, report.a.output_tokens) == (40, 0, 120)
    assert report.b.cost_usd == Decimal("0.040")
    assert load(store, "run") == (what, report)
    assert [state.done for state in states] == list(range(1, 41))
    assert states[-1] == Progress(done=40, total=40, failed=0, paid=80, reused=0, cost_usd=Decimal("0.080"))
    with pytest.raises(WrongCall, match="no evaluation"):
        load(store, "other")


def test_a_run_that_is_done_pays_nothing_again(store: SqlEvalStore) -> None:
    """Run again it gives the same report from what was kept; so does another run with another scorer."""
    evaluated(store, FakeCaller(better_b), plan())
    caller = FakeCaller(better_b)
    report = evaluated(store, caller, plan())
    assert report == load(store, "run")[1]
    evaluated(store, caller, plan(scorers=(Exact(name="again"), Cost())), run_id="second")
    assert caller.calls == []


def test_times_are_compared_of_answers_of_one_run(store: SqlEvalStore) -> None:
    """What is kept of either from another time is asked anew, once however often the run is begun; where one
    release is only scored, or others answer for it at other times anyway, it is not."""
    evaluated(store, FakeCaller(better_b), plan())
    caller = FakeCaller(better_b)
    evaluated(store, caller, plan(scorers=(Latency(),), a=None), run_id="alone")
    beside = plan(scorers=(Latency(),))
    begin(store, beside, run_id="beside", at=NOW)
    run = EvalRun("beside", beside, ITEMS, caller=caller, store=store, now=now, side_by_side=False)
    asyncio.run(run.run())
    assert caller.calls == []

    def broken(state: Progress) -> None:
        if state.done == 7:
            raise Killed

    timed = plan(scorers=(Exact(), Latency(most_ms=5)))
    with pytest.raises(Killed):
        evaluated(store, caller, timed, run_id="timed", progress=broken)
    evaluated(store, caller, timed, run_id="timed")
    asked = Counter(map(number_of, caller.calls))
    assert sorted(asked) == list(range(len(ITEMS)))
    assert min(asked.values()) == 2
    assert asked.total() <= 2 * len(ITEMS) + CONCURRENCY, "more was asked again than what was in flight"


def test_answers_that_were_timed_are_kept_for_others(store: SqlEvalStore) -> None:
    """Who does not compare times is not asked to pay for them once more."""
    evaluated(store, FakeCaller(better_b), plan(scorers=(Latency(),)), run_id="timed")
    caller = FakeCaller(better_b)
    evaluated(store, caller, plan())
    assert caller.calls == []


class Killed(Exception):
    """The run ends here."""


def test_failures_are_data_and_are_tried_again(store: SqlEvalStore) -> None:
    """A call that fails leaves its item unscored, costs the gate its pass, and is made again by the next
    attempt; what was answered is not."""
    what = plan(gates=(read_gate("exact:better"),), scorers=(Exact(), Latency()))
    broken = FakeCaller(
        lambda call: Answer(error="503: busy") if number_of(call) < 5 and call.target == B else better_b(call)
    )
    report = evaluated(store, broken, what)
    exact, latency = report.comparisons
    assert (exact.unscored_a, exact.unscored_b, exact.pairs) == (0, 5, 35)
    assert latency.unscored_b == 5
    assert exact.causes == {"there is no answer: 503: busy": 5}
    assert (report.b.answers, report.b.errors) == (35, 5)
    assert report.decision is not None
    assert report.decision.conclusion == "inconclusive"
    mended = FakeCaller(better_b)
    again = evaluated(store, mended, what)
    assert len(mended.calls) == 5
    assert again.comparisons[0].pairs == 40
    assert again.decision is not None
    assert again.decision.passed


def test_repeats_are_calls_of_their_own(store: SqlEvalStore) -> None:
    """Each item is asked as often as the plan says, and counts once."""
    caller = FakeCaller(lambda call: "yes" if (number_of(call) + call.repeat) % 2 else "no")
    report = evaluated(store, caller, plan(repeats=4))
    assert len(caller.calls) == 40 * 2 * 4
    assert report.comparisons[0].units == 40
    assert report.comparisons[0].mean_a is not None
    assert report.comparisons[0].mean_a.estimate == 0.5
    assert len({(call.target, number_of(call), call.repeat) for call in caller.calls}) == 320


def test_the_order_favours_neither(store: SqlEvalStore) -> None:
    """About half of the items go to A first, and the same ones each time."""
    caller = FakeCaller(better_b)
    evaluated(store, caller, plan())
    first = [number_of(call) for call in caller.calls].index
    a_first = sum(caller.calls[first(number)].target == A for number in range(40))
    assert 10 <= a_first <= 30


def test_judges_are_called_once_too(store: SqlEvalStore) -> None:
    """Both kinds of judge take part; what they said is kept as answers are, with the share of the win and
    the liking for a place in the report."""

    def answer(call: Call) -> Answer | str:
        if call.target != JUDGE:
            return "better" if call.target == B else "worse"
        shown = json.loads(call.input.messages[1]["content"])
        if "answer" in shown:
            return json.dumps({"grade": 5 if shown["answer"] == "better" else 2})
        return json.dumps({"better": "first" if shown["first"] == "better" else "second"})

    what = plan(
        scorers=(LlmJudge(deployment="j"), PairwiseJudge(deployment="j")),
        judges={"j": JUDGE},
        gates=(read_gate("pairwise_judge:better"), read_gate("llm_judge:better")),
    )
    caller = FakeCaller(answer)
    report = evaluated(store, caller, what)
    assert Counter(call.target for call in caller.calls) == {A: 40, B: 40, JUDGE: 160}
    by_name = {each.metric.name: each for each in report.comparisons}
    pairwise = by_name["pairwise_judge"]
    assert (pairwise.better, pairwise.worse) == (40, 0)
    assert pairwise.difference is not None
    assert pairwise.difference.estimate == 1.0
    assert report.decision is not None
    assert report.decision.passed
    assert report.position_bias["pairwise_judge"].consistency.estimate == 1.0
    again = FakeCaller(answer)
    assert evaluated(store, again, what) == report
    assert again.calls == []


def test_a_scorer_that_fails_is_tried_again_without_paying(store: SqlEvalStore, tmp_path: Path) -> None:
    """A function that breaks leaves items unscored; mended, it scores the answers that are there."""
    path = tmp_path / "own.py"
    path.write_text("def score(item, answer):\n    raise ValueError('broken')\n")
    what = plan(scorers=(PythonFunction(function="own.py:score", low=0, high=1),), folder=str(tmp_path))
    report = evaluated(store, FakeCaller(better_b), what)
    assert report.comparisons[0].pairs == 0
    assert "raised ValueError: broken" in next(iter(report.comparisons[0].causes))
    path.write_text("def score(item, answer):\n    return answer['text'] == item['expected']\n")
    caller = FakeCaller(better_b)
    assert evaluated(store, caller, what).comparisons[0].better == 10
    assert caller.calls == []


def test_calls_are_bounded(store: SqlEvalStore) -> None:
    """So many items at once, and no more."""

    class Counting:
        """Counts calls in flight; the first wait until there are as many as may be."""

        def __init__(self) -> None:
            self.in_flight = self.most = 0
            self.full = asyncio.Event()

        async def call(self, _call: Call) -> Answer:
            """Answer once three were here at once."""
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            if self.in_flight == 3:
                self.full.set()
            await asyncio.wait_for(self.full.wait(), 60)
            for _ in range(20):
                await asyncio.sleep(0)
            self.in_flight -= 1
            return said()

    caller = Counting()
    begin(store, plan(), run_id="run", at=NOW)
    run = EvalRun("run", plan(), ITEMS, caller=caller, store=store, now=now, concurrency=3)
    asyncio.run(run.run())
    assert caller.most == 3


def test_a_store_that_fails_ends_the_run(store: SqlEvalStore) -> None:
    """What cannot be kept is not gone on with; what was kept stays."""
    kept = store.put_result
    count = iter(range(100))

    def put_result(row: Any, **_rest: Any) -> None:
        if next(count) == 10:
            raise SetupError("the disk is full")
        kept(row)

    store.put_result = put_result  # type: ignore[method-assign, assignment]
    with pytest.raises(SetupError, match="disk is full"):
        evaluated(store, FakeCaller(better_b), plan())
    assert len(store.results("run")) >= 10
    row = store.run("run")
    assert row is not None
    assert row.state == "running"


@pytest.mark.parametrize(
    ("given", "said_of_it"),
    [
        ({"scorers": ()}, "needs a scorer"),
        ({"scorers": (Exact(), Exact())}, "two scorers are called exact"),
        ({"b": Target(deployment="b", release=A.release)}, "both release"),
        ({"repeats": 0}, "0 repeats"),
        ({"alpha": 1.3e-148}, "alpha is 1.3e-148"),
        ({"alpha": 0.5}, "alpha is 0.5"),
        ({"gates": (read_gate("extract:better"),)}, "did you mean 'exact'"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(
    store: SqlEvalStore, given: dict[str, Any], said_of_it: str
) -> None:
    """Before anything is paid for or kept."""
    with pytest.raises(WrongCall, match=said_of_it):
        begin(store, plan(**given), run_id="run", at=NOW)
    assert store.run("run") is None


def test_a_run_needs_items_and_a_sane_number_at_once(store: SqlEvalStore) -> None:
    """An empty part, and no items at a time, are refused."""
    with pytest.raises(WrongCall, match="validation part of dataset 'n' is empty"):
        EvalRun("run", plan(), [], caller=FakeCaller(better_b), store=store, now=now)
    with pytest.raises(WrongCall, match="0 items at once"):
        EvalRun("run", plan(), ITEMS, caller=FakeCaller(better_b), store=store, now=now, concurrency=0)


def test_a_plan_survives_json() -> None:
    """Every field comes back, scorers with their kinds."""
    what = plan(
        scorers=(Exact(), LlmJudge(deployment="j"), PythonFunction(function="a.py:f")),
        gates=(read_gate("exact:non-inferior:0.1"),),
        judges={"j": JUDGE},
    )
    assert msgspec.json.decode(msgspec.json.encode(what), type=EvalPlan) == what


def test_over_http(store: SqlEvalStore, provider: FakeProvider) -> None:
    """The same against a real endpoint that fails now and then: what it turned away is asked again, what it
    broke is data."""
    provider.script("429;retry_after=0", "500")
    items = [item(f"{number}", f"n {number}", expected="x") for number in range(6)]

    async def work() -> EvalReport:
        caller = HttpCaller(provider.url, "ab_key", confirm=False)
        begin(store, plan(), run_id="run", at=NOW)
        try:
            return await EvalRun("run", plan(), items, caller=caller, store=store, now=now).run()
        finally:
            await caller.aclose()

    report = asyncio.run(work())
    assert report.a is not None
    assert report.a.errors + report.b.errors == 1
    assert provider.stats().requests == 13
    assert report.comparisons[0].items == 6


@pytest.mark.parametrize("done", [True, False])
def test_a_person_is_forgotten_while_it_runs(store: SqlEvalStore, *, done: bool) -> None:
    """Nothing more of theirs is asked, of a model or of a judge, from when that was asked for; and what was
    under way is kept nowhere."""
    items = [item(f"q{n}", f"question {n} secret", user="ann", part="validation") for n in range(4)]
    items.append(item("q9", "question 9", user="bob", part="validation"))
    kept = Library(store, now)
    kept.put(dataset("n", items))
    judge = LlmJudge(deployment="j")

    def answer(call: Call) -> Answer | str:
        if caller.calls == [call]:  # the first of them is under way
            erasures = SqlErasures(str(store._engine.url))
            asked = erasures.ask("ann", digest="x", at=NOW, by="admin")
            if done:
                store.forget_user("ann")
                erasures.found(asked.id, records=0, scores=0, items=4, names=0)
            erasures.close()
        return '{"reasoning": "a secret", "grade": 5}' if call.target == JUDGE else "secret"

    caller = FakeCaller(answer)
    run = plan(dataset=kept.find("n").digest, a=None, scorers=(judge,), judges={"j": JUDGE})
    begin(store, run, run_id="run", at=NOW)
    asyncio.run(EvalRun("run", run, items, caller=caller, store=store, now=now, concurrency=1).run())
    assert [each.user for each in caller.calls] == ["ann", "bob", "bob"]
    assert [row.item for row in store.results("run")] == ["q9"]
