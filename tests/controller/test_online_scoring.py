"""A sample of live calls is scored behind the record log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airboss.config import ScoringConfig
from airboss.controller.online_scoring import CURSOR, LATE, LOST_EVERY_S, OnlineRule, OnlineScoring
from airboss.domain.errors import StoreUnavailable
from airboss.domain.score import Score
from airboss.evaluations.online import OnlineScorer, drawn, open_scorers, specs_of
from airboss.evaluations.ports import Answer, Call, Target
from airboss.evaluations.record_scoring import CHUNK
from airboss.store.alerts import SqlAlertStore
from airboss.store.memory import MemoryRecordLog
from airboss.store.opinions import ERASED
from tests.controller.journals import FixedClock
from tests.store.samples import START, call_id, move

ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"I am happy to help."}}]}'


class Killed(BaseException):
    """The controller's process ends here."""


class Log(MemoryRecordLog):
    """A log that counts scores kept twice, and kills before or after keeping some."""

    def __init__(self) -> None:
        super().__init__()
        self.kill_in: int | None = None
        self.after = False

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As a log; may kill."""
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in == 0:
                if self.after:
                    super().put_scores(scores)
                raise Killed
        return super().put_scores(scores)


class Judge:
    """A caller that gives the best grade, or fails."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: str | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    async def call(self, call: Call) -> Answer:  # noqa: ARG002 - as `Caller`
        """The best grade."""
        self.calls += 1
        self.meanwhile()
        if self.error is not None:
            return Answer(error=self.error)
        return Answer(text='{"reasoning":"fine","grade":5}')


class Scored:
    """A log, a ledger and the scoring between them, which can be killed and started again."""

    def __init__(self, root: Path) -> None:
        self.log = Log()
        self.store = SqlAlertStore(f"sqlite:///{root / 'ledger.db'}")
        self.clock = FixedClock()
        self.clock.at = START + timedelta(minutes=10)
        self.judge = Judge()
        self.rules: dict[str, OnlineRule] = {}
        self.brought: set[str] = set()
        self.forgotten: set[str] = set()
        self.since = START
        self.moved = 0
        self.restart()

    def restart(self) -> None:
        """A new process on what the old one left."""
        self.scoring = OnlineScoring(
            brought=self.brought,
            rules=lambda: self.rules,
            since=lambda: self.since,
            record_log=self.log,
            cursors=self.store,
            clock=self.clock,
            redact=lambda text: text.replace("secret", "[REDACTED]"),
            forgotten=lambda record: record.user in self.forgotten,
        )

    def rule(self, *scorers: Any, sample: float = 1.0, judge_per_minute: int = 60) -> OnlineRule:
        """How calls are scored."""
        opened: tuple[OnlineScorer, ...] = open_scorers(
            specs_of(ScoringConfig(scorers=scorers)),
            caller=self.judge,
            resolve=lambda name: Target(deployment=name, release="f" * 64),
            folder=Path(),
        )
        return OnlineRule(sample=sample, judge_per_minute=judge_per_minute, scorers=opened)

    def calls(self, *numbers: int, **fields: Any) -> None:
        """These calls come into the log."""
        import msgspec  # noqa: PLC0415 - only for the raw body

        given = {"response": msgspec.Raw(ANSWER)} | fields
        self.log.apply(move(*numbers, start=self.moved, **given))
        self.moved += 100 * len(numbers)

    def run(self) -> None:
        """Tick until there is nothing left to do."""

        async def until_done() -> None:
            while await self.scoring.tick():
                pass

        asyncio.run(until_done())

    def scores(self) -> list[Score]:
        """Every score of every call."""
        return list(self.log.scores_of([call_id(number) for number in range(2_000)]))


@pytest.fixture
def scored(tmp_path: Path) -> Iterator[Scored]:
    """Nothing in the log yet, and every call of `assistant` to be scored for refusal."""
    made = Scored(tmp_path)
    made.rules = {"assistant": made.rule("refusal")}
    made.run()
    yield made
    made.store.close()


def test_nobody_is_judged_who_is_to_be_forgotten(scored: Scored) -> None:
    """Their calls are there until the erasure is done, which may take as long as a store is away: a judge's
    call would begin after it was asked for, name them, and be found by none."""
    scored.rules = {"assistant": scored.rule({"kind": "llm_judge", "deployment": "grader"}, "refusal")}
    scored.calls(1, user="ann")
    scored.calls(2, user="bob")
    scored.forgotten = {"ann"}
    scored.run()
    assert scored.judge.calls == 1
    assert {each.subject_id for each in scored.scores()} == {call_id(2)}


def test_answered_calls_are_scored_once(scored: Scored) -> None:
    """Each by each scorer; looking again adds nothing."""
    scored.rules = {"assistant": scored.rule("refusal", "length:words")}
    scored.calls(*range(1, 20))
    scored.run()
    scored.run()
    assert Counter(each.name for each in scored.scores()) == {"refusal": 19, "length": 19}
    assert {each.value for each in scored.scores()} == {False, 5.0}
    assert (scored.scoring.scored, scored.scoring.unscored, scored.scoring.lag_s) == (38, 0, 0.0)


def test_what_is_not_to_be_scored_is_not(scored: Scored) -> None:
    """Our own calls, failed ones, other deployments, and those not drawn."""
    scored.rules = {"assistant": scored.rule("refusal", sample=0.2)}
    scored.calls(*range(1, 101))
    scored.calls(*range(101, 201), key="airboss")
    scored.calls(*range(201, 301), status="error")
    scored.calls(*range(301, 401), deployment="other")
    scored.run()
    expected = {call_id(number) for number in range(1, 101) if drawn(call_id(number), 0.2)}
    assert {each.subject_id for each in scored.scores()} == expected
    assert 5 < len(expected) < 40


def test_calls_from_before_are_not_scored(tmp_path: Path) -> None:
    """Scoring begins with the first call after it was switched on, also when it was off in between."""
    made = Scored(tmp_path)
    made.calls(1, 2)
    made.run()
    made.rules, made.since = {"assistant": made.rule("refusal")}, START + timedelta(seconds=3)
    made.run()
    made.calls(3)
    made.run()
    made.rules = {}
    made.calls(4)
    made.run()
    made.rules, made.since = {"assistant": made.rule("refusal")}, START + timedelta(seconds=5)
    made.run()
    made.calls(5)
    made.run()
    assert [each.subject_id for each in made.scores()] == [call_id(3), call_id(5)]
    made.store.close()


def test_calls_from_before_the_first_look_are_scored(tmp_path: Path) -> None:
    """They came after it was switched on, however late or often the one who looks begins: while the store is
    away, or when it is killed before there was anything to keep."""
    made = Scored(tmp_path)
    made.calls(1, 2)
    made.rules, made.since = {"assistant": made.rule("refusal")}, START + timedelta(seconds=2, milliseconds=1)
    made.calls(4, 3)
    made.run()
    made.calls(5)
    made.restart()
    made.run()
    assert {each.subject_id for each in made.scores()} == {call_id(3), call_id(4), call_id(5)}
    made.store.close()


def test_a_deployment_switched_on_during_a_look_loses_no_call(
    scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes to it is read and scored under one rule, whichever came first."""
    listed = scored.log.records

    def slow(*args: Any, **options: Any) -> Sequence[Any]:
        if "other" not in scored.rules:
            scored.rules = scored.rules | {"other": scored.rule("refusal")}
            scored.calls(1, deployment="other")
        return listed(*args, **options)

    monkeypatch.setattr(scored.log, "records", slow)
    scored.run()
    assert [each.subject_id for each in scored.scores()] == [call_id(1)]


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_anywhere_neither_loses_nor_doubles(scored: Scored, after: bool) -> None:
    """Killed at each keeping in turn, before it and after it: every call has each score once, and a judgement
    that was kept is not paid for again."""
    numbers = range(1, 6 * CHUNK)
    scored.rules = {"assistant": scored.rule("refusal", "llm_judge:grader", judge_per_minute=6_000)}
    scored.calls(*numbers)
    kills = 0
    for nth in range(1, 8):
        scored.log.kill_in, scored.log.after = 1 + nth % 2, after
        try:
            scored.run()
        except Killed:
            kills += 1
            scored.restart()
    scored.log.kill_in = None
    scored.run()
    assert kills >= 3
    counted = Counter((each.subject_id, each.name) for each in scored.scores())
    assert set(counted.values()) == {1}
    assert len(counted) == 2 * len(numbers)
    assert scored.judge.calls <= len(numbers) + (0 if after else kills * CHUNK)


def test_a_judge_that_fails_leaves_calls_unscored(scored: Scored) -> None:
    """With the cause, and without secrets in it."""
    scored.judge.error = "the secret is out"
    scored.rules = {"assistant": scored.rule("llm_judge:grader")}
    scored.calls(1)
    scored.run()
    (found,) = scored.scores()
    assert found.value is None
    assert found.unscored == "the judge grader gave no answer: the [REDACTED] is out"
    assert scored.scoring.unscored == 1


def test_judges_are_bounded_by_the_minute_of_the_calls(scored: Scored) -> None:
    """Over the bound calls are unscored, which is said; other scorers go on; the next minute is another."""
    scored.rules = {"assistant": scored.rule("refusal", "llm_judge:grader", judge_per_minute=3)}
    scored.calls(*range(10))
    scored.calls(60, 61)
    scored.run()
    judged = [each for each in scored.scores() if each.name == "llm_judge"]
    assert sum(each.value is not None for each in judged) == 3 + 2
    assert {each.unscored for each in judged if each.value is None} == {
        "over judge_per_minute = 3; raise it, or lower sample"
    }
    assert scored.judge.calls == 5
    assert sum(each.name == "refusal" for each in scored.scores()) == 12


def test_calls_from_long_ago_are_unscored(scored: Scored) -> None:
    """After a long stop, what is scored now matters more; what was passed over says so."""
    scored.calls(1)
    scored.clock.at = START + LATE + timedelta(minutes=1)
    scored.run()
    (found,) = scored.scores()
    assert found.unscored == "scoring was more than 1 h behind"


def test_calls_that_an_import_brought_are_left_alone(scored: Scored) -> None:
    """They are no live ones: neither scored nor, for being old, unscored."""
    scored.brought.update({call_id(1), call_id(2)})
    scored.calls(1, 2, 3)
    scored.run()
    assert {each.subject_id for each in scored.scores()} == {call_id(3)}


@pytest.mark.parametrize("error", [None, "words of ann"])
def test_who_is_forgotten_while_a_judge_thinks_leaves_no_words(scored: Scored, error: str | None) -> None:
    """What it says may quote them, and an erasure that is done looks at nothing that comes after it."""
    scored.rules = {"assistant": scored.rule("refusal", "llm_judge:grader")}
    scored.calls(1, user="ann")
    scored.calls(2, user="bob")
    scored.judge.error = error
    scored.judge.meanwhile = lambda: scored.log.erase({"ann": START + timedelta(hours=1)})
    scored.run()
    of = {(each.subject_id, each.name): each for each in scored.scores()}
    assert len(of) == 4
    theirs, other = (of[call_id(number), "llm_judge"] for number in (1, 2))
    assert theirs.value == other.value
    assert (theirs.comment, other.comment) == (None, None if error else "fine")
    if error is not None:
        assert theirs.unscored == ERASED
        assert "words of ann" in (other.unscored or "")


def test_a_store_that_is_away_is_waited_for(scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is passed over while scores cannot be kept, and nothing judged again."""
    monkeypatch.setattr("airboss.evaluations.record_scoring.WAIT_S", (0.01, 0.02))
    scored.rules = {"assistant": scored.rule({"kind": "llm_judge", "deployment": "assistant"})}
    scored.calls(1, 2)
    keep, away = scored.log.put_scores, [True, True]

    def down(scores: Sequence[Score]) -> int:
        if away:
            away.pop()
            raise StoreUnavailable("away")
        return keep(scores)

    monkeypatch.setattr(scored.log, "put_scores", down)
    scored.run()
    assert (len(scored.scores()), scored.judge.calls) == (2, 2)


def test_a_cursor_whose_record_is_gone_is_found_again(scored: Scored) -> None:
    """Records that retention took away hold nothing up."""
    scored.calls(1)
    scored.run()
    gone = "01990000-0000-7000-8000-000000000000"
    scored.store.put_cursor(CURSOR, gone)
    scored.calls(2)
    scored.clock.at += timedelta(seconds=LOST_EVERY_S + 1)
    scored.run()
    scored.run()
    assert [each.subject_id for each in scored.scores()] == [call_id(1), call_id(2)]
    assert scored.store.cursor(CURSOR) == call_id(2)
