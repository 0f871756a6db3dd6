"""Evaluations that alarms make: asked anew each time, held to their baseline, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.config import Config, parse_config
from airboss.domain.errors import ConfigError, WrongCall
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import Ledger
from airboss.evaluations.app_answers import AppAnswers
from airboss.evaluations.datasets import Item, Part, Shares, dataset, part_of
from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalOrder, EvalOrders, EvalTask
from airboss.evaluations.plan import EvalPlan, EvalReport
from airboss.evaluations.ports import Answer, Call
from airboss.evaluations.run import CONCURRENCY, load
from airboss.evaluations.scheduled import Asked, Bounds, Said, ScheduledEvals, check_evals, look_in, said
from airboss.evaluations.work import evaluate
from airboss.store.evals import SqlEvalStore
from airboss.store.job_rows import Job
from airboss.store.jobs import SqlJobStore
from tests.evaluations.serving import GRADER, NEW, OLD, FixedLedger, deployment, plan, standing
from tests.evaluations.support import FakeCaller, item, now
from tests.evaluations.support import said as answered

COUNT = 40
BOUNDS = Bounds(calls=1_000, usd=None, alpha=0.01)
EXACT = Asked(dataset="golden", scorer="exact")


def items(count: int = COUNT, expected: Callable[[int], str] = lambda _: "yes") -> list[Item]:
    """Items whose questions are their numbers."""
    return [item(f"q{n:03}", str(n), expected=expected(n), part="validation") for n in range(count)]


@dataclass
class Watched:
    """Scheduled evaluations of `support`, and the stores behind them."""

    store: SqlEvalStore
    jobs: SqlJobStore
    folder: Path
    serving: ServingPlan = field(default_factory=lambda: serving(OLD))

    def keep(self, *given: Item) -> None:
        """Keep them as the newest version of the dataset."""
        Library(self.store, now).put(dataset("golden", given))

    def start(self, name: str, asked: Asked = EXACT, held_to: str | None = None, **bounds: Any) -> EvalPlan:
        """Begin a run; its plan."""
        evals = ScheduledEvals(
            store=self.store,
            jobs=self.jobs,
            ledger=cast("Ledger", FixedLedger(self.serving, standing(OLD, OLD))),
            now=now,
            scorers=self.folder,
        )
        within = msgspec.structs.replace(BOUNDS, **bounds)
        evals.start(asked, "support", within, job_id=name, held_to=held_to)
        return msgspec.json.decode(self.job(name).spec, type=EvalTask).plan

    def job(self, name: str) -> Job:
        """The job of a run."""
        found = self.jobs.get(name)
        assert found is not None
        return found

    def work(self, name: str, caller: FakeCaller) -> Said:
        """Do a run; what it says."""
        asyncio.run(
            evaluate(self.job(name), store=self.store, caller=caller, now=now, report=lambda *_: None)
        )
        did, report = load(self.store, name)
        assert isinstance(report, EvalReport)
        return said(did, report)


def serving(stable: Any, grader: Any = GRADER) -> ServingPlan:
    """A plan in which `support` serves that."""
    return plan(deployment("support", stable), deployment("grader", grader))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """With a dataset of COUNT items."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    made = Watched(SqlEvalStore(url), SqlJobStore(url), tmp_path)
    made.keep(*items())
    yield made
    made.store.close()
    made.jobs.close()


def right_but(*wrong: int) -> FakeCaller:
    """Answers rightly, but to these questions."""
    return FakeCaller(lambda call: "no" if int(call.input.messages[0]["content"]) in wrong else "yes")


def test_each_run_asks_anew_and_is_held_to_the_first(watched: Watched) -> None:
    """What was answered before is asked again, once, and of the baseline nobody is asked."""
    first = watched.start("one")
    assert (first.a, first.held_to, first.b.release) == (None, "", OLD.digest)
    assert watched.work("one", right_but(3)) == Said(
        mean=0.975, words="exact 0.975 (0.818 to 0.997) of 40 items"
    )
    second = watched.start("two", held_to="one")
    assert (second.held_to, second.a) == ("one", first.b)
    caller = right_but(3, *range(10, 22))
    found = watched.work("two", caller)
    assert len(caller.calls) == COUNT
    assert (found.mean, found.before, found.worse) == (0.675, 0.975, True)
    assert "12 worse, 0 better, p 0.00049" in found.words
    caller = right_but(5)
    watched.start("three", held_to="one")
    found = watched.work("three", caller)
    assert len(caller.calls) == COUNT
    assert (found.worse, found.before, found.mean) == (False, 0.975, 0.975)


def test_the_answers_of_an_app_are_a_baseline(watched: Watched) -> None:
    """What somebody's own app answered is what a deployment is held to, and the deployment alone is asked."""
    lines = "".join(f'{{"item": "{each.id}", "answer": "yes"}}\n' for each in items())
    orders = EvalOrders(
        store=watched.store,
        jobs=watched.jobs,
        ledger=cast("Ledger", FixedLedger(watched.serving, standing(OLD, OLD))),
        now=now,
        scorers=watched.folder,
    )
    given = AppAnswers(name="mine", jsonl=lines)
    app = orders.start(EvalOrder(dataset="golden", scorers=("exact",), answers=given), by="me").id
    assert watched.work(app, FakeCaller(lambda _: "never")).mean == 1.0
    plan = watched.start("one", msgspec.structs.replace(EXACT, baseline=app))
    assert plan.a is not None
    assert (plan.held_to, plan.a.name, plan.a.app) == (app, "mine", True)
    caller = right_but(*range(12))
    found = watched.work("one", caller)
    assert {call.target.release for call in caller.calls} == {OLD.digest}
    assert (found.before, found.mean, found.worse) == (1.0, 0.7, True)


def test_a_run_that_is_there_is_not_begun_again(watched: Watched) -> None:
    """Nor is it looked up anew: its dataset may be gone by then."""
    watched.start("one")
    Library(watched.store, now).delete("golden")
    watched.start("one")
    assert len(watched.jobs.list("eval")) == 1


def test_a_run_that_was_killed_pays_for_no_answer_twice(watched: Watched) -> None:
    """It goes on with what was answered before, of this run alone."""
    watched.start("one")
    watched.work("one", right_but())

    class Killed(Exception):
        """The work ends here."""

    def report(done: int, _total: int, _note: str) -> None:
        if done >= 7:
            raise Killed

    watched.start("two", held_to="one")
    caller = right_but()
    with pytest.raises(Killed):
        asyncio.run(evaluate(watched.job("two"), store=watched.store, caller=caller, now=now, report=report))
    kept = sum(row.arm == "b" for row in watched.store.results("two"))
    assert 7 <= kept < COUNT
    more = right_but()
    assert watched.work("two", more).mean == 1.0
    assert len(more.calls) <= COUNT - kept
    assert len(caller.calls) + len(more.calls) <= COUNT + CONCURRENCY


def test_only_what_asks_and_expects_the_same_is_compared(watched: Watched) -> None:
    """Of a dataset that has changed: items that were added, and those that expect something else now, have no
    baseline; with none left the run sets it anew."""
    watched.start("one")
    watched.work("one", right_but())
    watched.keep(*items(50, lambda n: "no" if n < 10 else "yes"))
    watched.start("two", held_to="one")
    found = watched.work("two", right_but(*range(40, 50), 11))
    assert (found.before, found.mean) == (1.0, pytest.approx(29 / 30))
    assert "of 30 items" in found.words
    watched.keep(*items(20, lambda _: "maybe"))
    assert watched.start("three", held_to="one").held_to == ""


def test_a_baseline_that_was_made_otherwise_is_none(watched: Watched) -> None:
    """One that another release judged, say: it is set anew by itself, and refused where it was asked for."""
    judged = Asked(dataset="golden", scorer="llm_judge:grader")
    watched.start("one", judged)
    grade = FakeCaller(lambda call: '{"reasoning": "", "grade": 5}' if call.params else "yes")
    assert watched.work("one", grade).mean == 1.0
    assert watched.start("same", judged, held_to="one").held_to == "one"
    watched.serving = serving(OLD, NEW)
    assert watched.start("two", judged, held_to="one").held_to == ""
    with pytest.raises(WrongCall, match="baseline one was judged by another release of grader; name another"):
        watched.start("three", msgspec.structs.replace(judged, baseline="one"))
    asked = msgspec.structs.replace(EXACT, baseline="one")
    with pytest.raises(WrongCall, match="baseline one has no scorer 'exact' that is set as it is here"):
        watched.start("three", asked)
    with pytest.raises(WrongCall, match="baseline never is no evaluation that is done"):
        watched.start("three", msgspec.structs.replace(EXACT, baseline="never"))


@pytest.mark.parametrize(
    ("asked", "bounds", "why"),
    [
        ({"dataset": "goldn"}, {}, "no dataset is called 'goldn'; did you mean 'golden'"),
        ({"part": "train"}, {}, "the train part of dataset 'golden' is empty"),
        ({}, {"calls": 39}, "has 40 items, which takes 40 calls, of at most 39; raise `calls`"),
        ({"scorer": "llm_judge:grader"}, {"calls": 79}, "80 calls, a judge's included, of at most 79"),
        ({"repeats": 3}, {"calls": 100}, "takes 120 calls"),
        ({"scorer": "llm_judge:nobody"}, {}, "no deployment is called 'nobody'"),
        ({"scorer": "python:gone.py:score"}, {}, "must be FILE.py:NAME with FILE.py in"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_queued(
    watched: Watched, asked: Mapping[str, Any], bounds: Mapping[str, Any], why: str
) -> None:
    """A dataset or a scorer that is gone, and more calls than may be made."""
    with pytest.raises(WrongCall, match=why):
        watched.start("one", msgspec.structs.replace(EXACT, **asked), **bounds)
    assert watched.jobs.list("eval") == ()


@pytest.mark.parametrize(
    ("cost", "why", "asked_most"),
    [
        (Decimal("0.01"), r"stopped after \d+ of 40 items: they cost 0\.1\d? of max_usd 0\.1; raise", 18),
        (None, "what an answer costs is not known, and max_usd bounds it", 8),
    ],
)
def test_no_more_is_spent_than_may_be(
    watched: Watched, cost: Decimal | None, why: str, asked_most: int
) -> None:
    """The calls that are under way end; a price that nobody knows is no bound. What was spent before a kill
    counts."""
    watched.start("one", usd=0.1)
    caller = FakeCaller(lambda _call: answered(cost_usd=cost))
    with pytest.raises(WrongCall, match=why):
        watched.work("one", caller)
    assert len(caller.calls) <= asked_most
    if cost is not None:
        again = FakeCaller(lambda _call: answered(cost_usd=cost))
        with pytest.raises(WrongCall, match=why):
            watched.work("one", again)
        assert again.calls == []


def test_a_mean_of_too_few_is_none(watched: Watched) -> None:
    """Where more than one in twenty has no score, the rest says nothing, nor do words that a call said leave;
    labels have no mean."""
    watched.start("one")

    def failing(call: Call) -> Answer | str:
        return (
            Answer(error="400: my secret") if call.input.messages[0]["content"] in ("1", "2", "3") else "yes"
        )

    found = watched.work("one", FakeCaller(failing))
    assert found.mean is None
    assert found.words == "exact has no score of 3 of 40 items: there is no answer: 400"
    labelled = {"kind": "llm_judge", "deployment": "grader", "labels": ["good", "bad"]}
    watched.start("two", Asked(dataset="golden", scorer=labelled))
    label = FakeCaller(lambda call: '{"reasoning": "", "label": "good"}' if call.params else "yes")
    assert "labels, which have no mean" in watched.work("two", label).words


def test_an_alarm_goes_by_no_mean_without_an_interval(watched: Watched) -> None:
    """Many items of one person are one, by itself and beside a baseline."""
    watched.keep(*(msgspec.structs.replace(each, group="ann") for each in items()))
    asked = Asked(dataset="golden", scorer="length")
    watched.start("one", asked)
    found = watched.work("one", FakeCaller(lambda _: "yes"))
    assert (found.mean, found.words) == (None, "40 items of 1 group with a score, which is too few")
    watched.start("two", asked, held_to="one")
    beside = watched.work("two", FakeCaller(lambda _: "yes"))
    assert (beside.mean, beside.words.split(" with ")[0]) == (None, "40 items of 1 group")
    exact = Asked(dataset="golden", scorer="exact")
    watched.start("three", exact)
    assert watched.work("three", FakeCaller(lambda _: "yes")).words.endswith(" of 40 items of 1 group")


def test_a_run_says_how_its_part_is_too_small(watched: Watched) -> None:
    """Where the split was drawn: the job has it, for its page and verbs."""
    drawn = [msgspec.structs.replace(each, group="ann", user="ann", part=None) for each in items()]
    part = part_of(drawn[0], Shares())
    watched.keep(*drawn)
    if part == "holdout":
        pytest.fail("choose another name than ann: its items must be in an open part")
    watched.start("one", Asked(dataset="golden", scorer="exact", part=part))
    (words,) = msgspec.json.decode(watched.job("one").spec, type=EvalTask).uneven
    assert words.startswith(f"{part}: 40 items of 1 user, asked for ")
    other: Part = "validation" if part == "train" else "train"
    with pytest.raises(
        WrongCall, match=rf"{other} part of dataset 'golden' is empty; {other}: 0 items, asked"
    ):
        watched.start("two", Asked(dataset="golden", scorer="exact", part=other))


def test_less_is_worse_only_where_more_is_better(watched: Watched) -> None:
    """Of refusals fewer are better."""
    asked = Asked(dataset="golden", scorer="refusal")
    watched.start("one", asked)
    watched.work("one", FakeCaller(lambda _call: "yes"))
    watched.start("two", asked, held_to="one")
    refuses = FakeCaller(lambda _call: answered(refusal="I cannot help with that."))
    found = watched.work("two", refuses)
    assert (found.worse, found.before, found.mean) == (True, 0.0, 1.0)


CONFIG = """
[models.m]
provider = "fake"
model = "up"
[providers.fake]
kind = "openai-compatible"
base_url = "http://h/v1"
[deployments.support]
model = "m"
[alarms.answers]
deployment = "support"
eval = {{ dataset = "golden", scorer = {scorer} }}
"""


@pytest.mark.parametrize(
    ("scorer", "why"),
    [
        ('"exct"', "no scorer is of kind 'exct'"),
        ('"pairwise_judge:support"', "compares two answers, and one release is asked"),
        ('"llm_judge:suport"', "asks deployment 'suport', which is not there"),
        ('{ kind = "regex", pattern = "(" }', "no pattern of RE2's syntax"),
        ('"python:gone.py:score"', "gone.py"),
    ],
)
def test_a_scorer_that_is_none_is_refused_with_its_line(tmp_path: Path, scorer: str, why: str) -> None:
    """When it is applied; one that is in force already goes on."""
    text = CONFIG.format(scorer=scorer)
    config = parse_config(text, source="airboss.toml")
    with pytest.raises(ConfigError, match=r"airboss\.toml:12: alarms\.answers\.eval\.scorer: ") as told:
        check_evals(config, Config(), text=text, source="airboss.toml", look=look_in(tmp_path))
    assert why in str(told.value)
    check_evals(config, config, text=text, source="airboss.toml", look=look_in(tmp_path))
