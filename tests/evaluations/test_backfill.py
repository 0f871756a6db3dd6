"""Recorded calls are scored when somebody asks for it: drawn by chance, and each score made once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.config import Config, parse_config
from airboss.domain.errors import StoreUnavailable, WrongCall
from airboss.domain.ports import RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.backfill import (
    CALLS_MAX,
    ScoringOrder,
    ScoringOrders,
    ScoringReport,
    ScoringTask,
    score_calls,
)
from airboss.evaluations.intervals import Mean
from airboss.evaluations.online import open_scorers
from airboss.evaluations.ports import Answer, Call, Target
from airboss.evaluations.record_scoring import CHUNK, RecordScoring
from airboss.evaluations.scorer_names import ScorerNames
from airboss.store.alert_metrics import INTERNAL_KEY
from airboss.store.job_rows import Job
from airboss.store.jobs import SqlJobStore
from airboss.store.memory import MemoryRecordLog
from tests.controller.journals import FixedClock
from tests.store.samples import START, call_id, move
from tests.support.seed_records import seed_plan

ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"I am happy to help."}}]}'
ALL = RecordFilter()


class Killed(BaseException):
    """The controller's process ends here."""


class Log(MemoryRecordLog):
    """A log that may be away, and may kill before or after it keeps scores."""

    kill_in: int | None = None
    after = False
    away = 0
    full = 0

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As a log."""
        if self.full:
            self.full -= 1
            raise StoreUnavailable("the disk is full")
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in == 0:
                if self.after:
                    super().put_scores(scores)
                raise Killed
        return super().put_scores(scores)

    def scores_of(self, record_ids: Any) -> Sequence[Score]:
        """As a log."""
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the store is away")
        return super().scores_of(record_ids)


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self._kept: dict[str, str | None] = {}

    def cursor(self, name: str) -> str | None:
        """As a ledger's."""
        return self._kept.get(name)

    def put_cursor(self, name: str, value: str | None) -> None:
        """As a ledger's."""
        self._kept[name] = value


class Judge:
    """A caller that gives the best grade, or fails."""

    def __init__(self) -> None:
        self.asked: Counter[str | None] = Counter()
        self.releases: Counter[str] = Counter()
        self.error: str | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    async def call(self, call: Call) -> Answer:
        """The best grade."""
        self.asked[call.user] += 1
        self.releases[call.target.release] += 1
        self.meanwhile()
        return Answer(error=self.error) if self.error else Answer(text='{"reasoning":"fine","grade":5}')


class Bench:
    """A log, a ledger's jobs, and the work between them."""

    def __init__(self, root: Path) -> None:
        self.log = Log()
        self.jobs = SqlJobStore(f"sqlite:///{root / 'ledger.db'}")
        self.clock = FixedClock()
        self.clock.at = START + timedelta(days=1)
        self.judge = Judge()
        self.config = Config()
        self.forgotten: set[str | None] = set()
        self.notes: list[str] = []
        self.moved = 0
        self.served: list[str | None] = ["f" * 64]
        self.names = ScorerNames(jobs=self.jobs, notes=Notes(), in_force=lambda: self.config)
        self.orders = ScoringOrders(
            jobs=self.jobs,
            ledger=cast("Any", _Ledger()),
            log=self.log,
            names=self.names,
            now=self.clock.now,
            folder=root,
        )

    def calls(self, *numbers: int, **fields: Any) -> None:
        """These calls are recorded."""
        given = {"response": msgspec.Raw(ANSWER)} | fields
        self.log.apply(move(*numbers, start=self.moved, **given))
        self.moved += 100 * len(numbers)

    def ask(self, *scorers: Any, where: RecordFilter = ALL, **order: Any) -> Job:
        """Have calls scored."""
        self.clock.at += timedelta(seconds=1)
        return self.orders.start(self.orders.task(ScoringOrder(scorers=scorers, **order), where), by="ann")

    def work(self, job: Job) -> ScoringReport:
        """Do it."""
        return asyncio.run(self.done(job))

    async def done(self, job: Job) -> ScoringReport:
        """What comes of it."""

        def report(_done: int, _total: int, note: str) -> None:
            self.notes.append(note)

        scorers = partial(
            open_scorers,
            msgspec.json.decode(job.spec, type=ScoringTask).scorers,
            caller=self.judge,
            resolve=self._serves,
            folder=Path(),
        )
        scoring = RecordScoring(
            record_log=self.log,
            clock=self.clock,
            redact=str,
            forgotten=self._forgotten,
            waits=lambda error: report(0, 0, str(error)),
        )
        return await score_calls(
            job, scoring=scoring, scorers=scorers, log=self.log, report=report, names=self.names
        )

    def _serves(self, name: str) -> Target:
        release = self.served.pop(0) if len(self.served) > 1 else self.served[0]
        if release is None:
            raise WrongCall(f"no {name!r}")
        return Target(deployment=name, release=release)

    def _forgotten(self, record: InferenceRecord) -> bool:
        return record.user in self.forgotten

    def scores(self, name: str) -> list[Score]:
        """Every score of that name."""
        ids = [call_id(number) for number in range(2_000)]
        return [each for each in super(Log, self.log).scores_of(ids) if each.name == name]


class _Ledger:
    def snapshot(self) -> object:
        return type("Snapshot", (), {"plan": seed_plan(START)})()

    def standings(self) -> dict[str, object]:
        return {}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Nothing recorded yet."""
    made = Bench(tmp_path)
    yield made
    made.jobs.close()


def judge(deployment: str = "assistant", **more: Any) -> dict[str, Any]:
    """A scorer that asks a model."""
    return {"kind": "llm_judge", "deployment": deployment, **more}


def test_calls_are_scored_and_counted_by_person(bench: Bench) -> None:
    """Means have the interval that so many independent people give, and every score stands in its record."""
    bench.calls(*range(40), user="ann")
    bench.calls(*range(40, 50), user="bob")
    report = bench.work(bench.ask("contains:happy", "length"))
    happy, length = report.comparisons
    assert happy.mean_b is not None
    assert (happy.metric.name, happy.items, happy.units, happy.mean_b.estimate) == ("contains", 50, 2, 1.0)
    assert length.mean_b is not None
    assert length.mean_b.estimate == len("I am happy to help.")
    assert {each.subject_id for each in bench.scores("length")} == {call_id(n) for n in range(50)}
    assert bench.notes[-1] == "contains 1, length 19"


def test_of_one_person_there_is_a_mean_without_an_interval(bench: Bench) -> None:
    """How sure it is takes two of them; what the calls got is told anyway."""
    bench.calls(*range(6), user="ann")
    (length,) = bench.work(bench.ask("length")).comparisons
    assert (length.items, length.units) == (6, 1)
    assert length.mean_b == Mean(estimate=len("I am happy to help."))
    assert bench.notes[-1] == "length 19"


def test_chance_draws_and_the_same_seed_draws_the_same(bench: Bench) -> None:
    """The newest calls stand for nobody but themselves."""
    bench.calls(*range(300))

    def drawn(**order: Any) -> tuple[str, ...]:
        return bench.orders.task(ScoringOrder(scorers=("length",), limit=20, **order), ALL).calls

    assert len(set(drawn())) == 20
    assert drawn() == drawn()
    assert set(drawn()) != set(drawn(seed=1))
    assert not set(drawn()) <= {call_id(number) for number in range(250, 300)}


def test_what_cannot_be_scored_is_left_out_and_told(bench: Bench) -> None:
    """Failures, our own calls and vectors have no answer to judge."""
    bench.calls(1)
    bench.calls(2, status="error")
    bench.calls(3, key=INTERNAL_KEY)
    bench.calls(4, operation="embeddings")
    bench.calls(5, key=INTERNAL_KEY, arm="shadow")
    task = bench.orders.task(ScoringOrder(scorers=("length",)), ALL)
    assert set(task.calls) == {call_id(1), call_id(5)}
    assert task.left_out == {"ended as error": 1, "of Airboss's own": 1, "of embeddings, not of a chat": 1}
    with pytest.raises(WrongCall, match="there is no call to score: 1 ended as error"):
        bench.ask("length", where=RecordFilter(status="error"))
    with pytest.raises(WrongCall, match="none matches"):
        bench.ask("length", where=RecordFilter(user="nobody"))


def test_calls_of_our_own_crowd_out_nobodys(bench: Bench) -> None:
    """Where judges were asked much, few of the calls are anybody's."""
    bench.calls(*range(100), key=INTERNAL_KEY)
    bench.calls(*range(100, 106))
    job = bench.ask("length", limit=6)
    assert len(msgspec.json.decode(job.spec, type=ScoringTask).calls) == 6


@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_each_score_is_made_once(bench: Bench, after: bool) -> None:
    """A job that is begun again passes over what it had made; a kill costs one chunk's judgements."""
    users = [f"u{number}" for number in range(60)]
    for number, user in enumerate(users):
        bench.calls(number, user=user)
    job = bench.ask(judge())
    bench.log.kill_in, bench.log.after = 3, after
    with pytest.raises(Killed):
        bench.work(job)
    bench.log.kill_in = None
    report = bench.work(job)
    assert Counter(each.subject_id for each in bench.scores("llm_judge")) == Counter(map(call_id, range(60)))
    assert sum(bench.judge.asked.values()) == 60 + (0 if after else CHUNK)
    assert report.kept == 0  # what this job made itself was not there before


def test_a_call_is_not_judged_twice_by_one_scorer(bench: Bench) -> None:
    """Asking again for more calls costs what is new."""
    bench.calls(*range(30))
    bench.work(bench.ask(judge(), limit=20))
    report = bench.work(bench.ask(judge(), limit=30))
    assert sum(bench.judge.asked.values()) == 30
    assert report.kept == 20
    assert report.comparisons[0].items == 30
    assert len(bench.scores("llm_judge")) == 30


def test_what_could_not_be_judged_is_tried_again(bench: Bench) -> None:
    """Once in each job: a judge that was away leaves no hole for good, and the value counts."""
    bench.calls(1, 2)
    bench.judge.error = "status 503: down"
    job = bench.ask(judge())
    report = bench.work(job)
    assert report.comparisons[0].unscored_b == 2
    assert all("down" not in cause for cause in report.comparisons[0].causes)  # it may quote an answer
    asked = sum(bench.judge.asked.values())
    bench.work(job)  # begun again after a crash at its very end
    assert sum(bench.judge.asked.values()) == asked
    bench.judge.error = None
    report = bench.work(bench.ask(judge()))
    found = report.comparisons[0]
    assert (found.items, found.unscored_b, report.kept) == (2, 0, 0)
    assert bench.log.records(RecordFilter(id=call_id(1)), limit=1, bodies=False)[0].scores["llm_judge"] == 1.0


def test_what_a_later_job_could_judge_stays_judged(bench: Bench) -> None:
    """A third job makes nothing that the second one did, and reports it."""
    bench.calls(1, 2)
    bench.judge.error = "status 503: down"
    bench.work(bench.ask(judge()))
    bench.judge.error = None
    bench.work(bench.ask(judge()))
    asked = sum(bench.judge.asked.values())
    report = bench.work(bench.ask(judge()))
    assert (sum(bench.judge.asked.values()), report.kept) == (asked, 2)
    assert (report.comparisons[0].items, report.comparisons[0].unscored_b) == (2, 0)
    assert len([each for each in bench.scores("llm_judge") if each.value is not None]) == 2


def test_a_judge_is_asked_as_it_is_served_by_then(bench: Bench) -> None:
    """Of one that is taken away the score says so; those it gave keep the interval of its scale."""
    bench.calls(*range(3 * CHUNK))

    bench.served = ["f" * 64, "e" * 64, None]
    (found,) = bench.work(bench.ask(judge())).comparisons
    assert bench.judge.releases == {"f" * 64: CHUNK, "e" * 64: CHUNK}
    assert (found.items, found.unscored_b, found.metric.bounds) == (3 * CHUNK, CHUNK, (0.0, 1.0))
    assert found.causes == {"no 'assistant'": CHUNK}


def test_a_store_that_is_away_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job says so and goes on."""
    monkeypatch.setattr("airboss.evaluations.record_scoring.WAIT_S", (0.01, 0.02))
    bench.calls(1, 2)
    job = bench.ask(judge())
    bench.log.away, bench.log.full = 2, 2
    assert bench.work(job).comparisons[0].items == 2
    assert bench.judge.asked.total() == 2
    assert {"the store is away", "the disk is full"} <= set(bench.notes)


def test_a_store_that_goes_at_the_end_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All scores are there by then: no reason to fail."""
    monkeypatch.setattr("airboss.evaluations.record_scoring.WAIT_S", (0.01, 0.02))
    bench.calls(1)
    job = bench.ask(judge())
    bench.judge.meanwhile = lambda: setattr(bench.log, "away", 1)
    assert bench.work(job).comparisons[0].items == 1


def test_a_calls_bodies_are_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many scorers look at them."""
    bench.calls(*range(5))
    read, listed = Counter[str | None](), bench.log.records

    def records(where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        read.update([where.id] if bodies else [])
        return listed(where, limit=limit, bodies=bodies)

    monkeypatch.setattr(bench.log, "records", records)
    report = bench.work(bench.ask("length", "refusal", "contains:happy", "latency:1"))
    assert [each.items for each in report.comparisons] == [5] * 4
    assert read == {call_id(number): 1 for number in range(5)}


def test_two_at_once_pay_one_judge_once(bench: Bench) -> None:
    """The second waits for what the first pays for, call by call, and reports it too."""
    bench.calls(*range(40))
    jobs = [bench.ask(judge(), "length"), bench.ask("refusal", judge())]

    async def both() -> list[ScoringReport]:
        return await asyncio.gather(*map(bench.done, jobs))

    first, second = asyncio.run(both())
    assert bench.judge.asked.total() == 40
    assert [each.comparisons[0].items for each in (first, second)] == [40, 40]
    assert len(bench.scores("llm_judge")) == 40
    assert bench.notes.count("waits for its turn: another run asks llm_judge") >= 1


def test_what_an_apps_evaluator_says_is_not_a_scorers_own(bench: Bench) -> None:
    """It has the same name, and is by the app's key: it judges by something else."""
    bench.calls(1)
    said = Score(
        id="01890000-0000-7000-8000-000000000001",
        subject="record",
        subject_id=call_id(1),
        name="length",
        source="scorer",
        by="team-a",
        at=START,
        value="short",
    )
    bench.log.put_scores([said])
    report = bench.work(bench.ask("length"))
    assert (report.kept, report.comparisons[0].labels) == (0, {})
    assert {each.by for each in bench.scores("length")} == {"team-a", "length"}


def test_nobody_is_judged_who_is_to_be_forgotten_and_gone_calls_are_told(bench: Bench) -> None:
    """An erasure between the order and its turn, and a call that is too old to be kept then."""
    bench.calls(0, user="dan", started_at=START - timedelta(days=9))
    bench.calls(1, user="ann")
    bench.calls(2, user="bob")
    bench.calls(3, user="cleo")
    job = bench.ask(judge())
    assert b"ann" not in bytes(job.spec)
    bench.forgotten = {"ann"}
    bench.log.erase({"cleo": bench.clock.at})
    bench.log.expire(bodies_before=None, records_before=START - timedelta(days=8), limit=9)
    assert bench.work(job).gone == 1
    assert set(bench.judge.asked) == {"bob"}
    assert {each.subject_id for each in bench.scores("llm_judge") if each.value is not None} == {call_id(2)}


MEANING: list[tuple[Callable[[Bench], object], str]] = [
    (lambda bench: bench.ask("exact"), "compares with an expected answer"),
    (lambda bench: bench.ask("pairwise_judge:assistant"), "compares two answers"),
    (lambda bench: bench.ask("length", "length"), "two scorers are called 'length'"),
    (lambda bench: bench.ask(judge("nowhere")), "no deployment is called 'nowhere'"),
    (lambda bench: bench.ask(), "0 scorers"),
    (lambda bench: bench.ask("length", limit=0), "limit is 0"),
    (lambda bench: bench.ask("length", limit=CALLS_MAX + 1), "limit is 2001"),
    (lambda bench: bench.ask("length", seed=2**63), "seed is 9223372036854775808; give at most"),
    (lambda bench: bench.ask("length", seed=-(2**63)), "seed is -9223372036854775808"),
    (lambda bench: bench.ask("python:x.py:f"), "must be FILE.py:NAME"),
]


@pytest.mark.parametrize(("ask", "message"), MEANING)
def test_an_order_that_means_nothing_queues_nothing(
    bench: Bench, ask: Callable[[Bench], object], message: str
) -> None:
    """With what was seen, and nothing kept."""
    bench.calls(1)
    with pytest.raises(WrongCall, match=message):
        ask(bench)
    assert bench.jobs.list() == ()


def test_one_name_means_one_scorer(bench: Bench) -> None:
    """To jobs before and beside it: a mean of two would be of neither. It is taken once scores are made."""
    bench.calls(1)
    bench.ask("tone=contains:dear")  # cancelled before its turn, say
    second = bench.ask("tone=contains:thanks")
    bench.work(bench.ask("tone=contains:please"))
    with pytest.raises(WrongCall, match=r"'tone': it had other settings in scoring-\w+, .*such as 'tone-2'"):
        bench.ask("tone=contains:thanks")
    with pytest.raises(WrongCall, match="it had other settings"):
        bench.work(second)
    assert bench.work(bench.ask("tone=contains:please")).kept == 1


WATCHED = [
    ('[deployments.d]\nmodel = "m"\nscoring = { scorers = ["tone=refusal"] }\n', "live calls of 'd'"),
    ('[deployments.d]\nmodel = "m"\nrollout = { metrics = ["cost", "score:tone"] }\n', "rollouts of 'd'"),
    (
        '[deployments.d]\nmodel = "m"\n[alarms.a]\ndeployment = "d"\nmetric = "score:tone"\nbelow = 0.5\n',
        "the alarm 'a' goes by it",
    ),
]


@pytest.mark.parametrize(("written", "why"), WATCHED)
def test_no_alarm_or_rollout_goes_by_chosen_calls(bench: Bench, written: str, why: str) -> None:
    """A name that it goes by is refused, and ends a job that was under way when it came to be."""
    bench.calls(*range(2 * CHUNK))
    job = bench.ask("tone=refusal")
    took = bench.log.put_scores
    model = '[providers.p]\nkind = "openai"\napi_key = "env:K"\n[models.m]\nprovider = "p"\nmodel = "x"\n'

    def applied(scores: Sequence[Score]) -> int:
        bench.config = parse_config(model + written, source="x")
        return took(scores)

    bench.log.put_scores = applied  # type: ignore[method-assign]  # applied while the first chunk is kept
    with pytest.raises(WrongCall, match=f"cannot be called 'tone': .*{why}"):
        bench.work(job)
    assert len(bench.scores("tone")) == CHUNK
    with pytest.raises(WrongCall, match=why):
        bench.ask("tone=refusal")


def test_a_score_is_of_the_time_it_was_made(bench: Bench) -> None:
    """Not of its call's."""
    bench.calls(1)
    bench.work(bench.ask("length"))
    (found,) = bench.scores("length")
    assert found.at == bench.clock.at
