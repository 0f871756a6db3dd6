"""Judges held against people, out of a record log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airboss.domain.ports import RecordLog, ScoreStats
from airboss.domain.score import Score, ScoreValue
from airboss.evaluations.from_records import OWN_KEY
from airboss.evaluations.judges import Judge, judges, paired, pooled
from airboss.store.memory import MemoryRecordLog
from tests.store.samples import START, move
from tests.store.test_contract_scores import score

SINCE, UNTIL = START - timedelta(hours=1), START + timedelta(days=1)


def judged(number: int, record: int, value: ScoreValue | None, name: str = "right", **more: Any) -> Score:
    """What the judge says of a record."""
    return score(number, record, value, name=name, source="scorer", by=name, **more)


def said(number: int, record: int, value: ScoreValue, name: str = "right", **more: Any) -> Score:
    """What a person says of it, by chance unless told otherwise."""
    given: dict[str, Any] = {"source": "sample", "by": "ann", "name": name, **more}
    return score(number, record, value, **given)


def a_log() -> MemoryRecordLog:
    """Forty calls that the judge says yes to, but for every fifth; people judged ten by chance, and of those
    say no to every other yes."""
    log = MemoryRecordLog()
    log.apply(move(*range(1, 41)))
    log.put_scores([judged(n, n, n % 5 != 0) for n in range(1, 41)])
    log.put_scores([said(100 + n, n, n % 5 != 0 and n % 2 == 0) for n in range(1, 11)])
    return log


def one(log: RecordLog, **asked: Any) -> Judge:
    """The only judge."""
    (found,) = judges(log, SINCE, UNTIL, **asked)
    return found


def test_a_judge_is_held_against_people_of_the_same_name() -> None:
    """Counts by hand: of 10 both say yes 4 times and no 2 times, the judge alone yes 4 times; of all it says
    yes to 32 of 40."""
    found = one(a_log())
    assert (found.deployment, found.judge, found.people, found.sampled) == ("assistant", "right", "right", 10)
    assert found.agreement.agreement is not None
    assert found.agreement.agreement.estimate == 0.6
    assert found.agreement.sensitivity is not None
    assert found.agreement.sensitivity.estimate == 1.0
    assert found.agreement.specificity is not None
    assert found.agreement.specificity.estimate == pytest.approx(2 / 6)
    assert found.corrected is not None
    assert (found.corrected.scored, found.corrected.judge_mean) == (40, 0.8)
    assert found.corrected.corrected.estimate == pytest.approx(0.8 - 0.4)
    assert found.why is None


def test_only_the_sample_corrects_and_the_newest_opinion_counts() -> None:
    """Other judgements are compared and correct nothing; of two people's the newer is taken; callers'
    feedback and our own calls are passed over."""
    log = a_log()
    log.put_scores([said(200 + n, n, False, source="review") for n in range(11, 31)])
    log.put_scores([said(300, 2, False, by="bob"), score(301, 4, False, name="right")])
    log.apply(move(50, 51, start=4_000, key=OWN_KEY))
    log.put_scores([judged(400, 50, False), said(401, 50, True)])
    found = one(log)
    assert (found.agreement.n, found.sampled) == (30, 10)
    assert found.corrected is not None
    assert (found.corrected.scored, found.corrected.corrected.estimate) == (40, pytest.approx(0.8 - 0.5))


def test_why_a_mean_is_not_corrected() -> None:
    """There is no sample, or there are labels; the comparison stands all the same."""
    log = MemoryRecordLog()
    log.apply(move(1, 2, 3))
    log.put_scores([judged(n, n, True) for n in (1, 2, 3)])
    log.put_scores([judged(10 + n, n, "kind", "tone") for n in (1, 2, 3)])
    log.put_scores([said(20 + n, n, n == 1, source="review") for n in (1, 2, 3)])
    log.put_scores([said(30 + n, n, "kind", "tone") for n in (1, 2, 3)])
    right, tone = judges(log, SINCE, UNTIL)
    assert (right.corrected, right.agreement.n) == (None, 3)
    assert right.why is not None
    assert "random sample" in right.why
    assert (tone.corrected, tone.why) == (None, "labels have no mean")
    assert tone.agreement.agreement is not None
    assert tone.agreement.agreement.estimate == 1.0


def test_stars_beside_a_judge_of_0_to_1() -> None:
    """They are brought to its scale, and it is said."""
    log = MemoryRecordLog()
    log.apply(move(*range(1, 21)))
    log.put_scores([judged(n, n, 0.75, "quality") for n in range(1, 21)])
    log.put_scores([said(100 + n, n, 3.0, "stars") for n in range(1, 11)])
    assert judges(log, SINCE, UNTIL) == ()
    found = one(log, people="stars")
    assert (found.judge, found.people, found.rescaled) == ("quality", "stars", True)
    assert found.corrected is not None
    assert found.corrected.corrected.estimate == pytest.approx(0.5)


def test_numbers_that_are_all_1_are_told() -> None:
    """They may be a yes or one star of five: they are taken for a yes, and it is said."""
    log = MemoryRecordLog()
    log.apply(move(*range(1, 21)))
    log.put_scores([judged(n, n, 0.1) for n in range(1, 21)])
    log.put_scores([said(100 + n, n, 1.0) for n in range(1, 11)])
    found = one(log)
    assert (found.only_ones, found.rescaled) == (True, False)
    log.put_scores([said(200, 11, True), said(201, 12, 4.0)])
    assert (one(log).only_ones, one(log).rescaled) == (False, True)
    assert not one(a_log()).only_ones, "yes and no are no numbers"


def stats(name: str, **more: Any) -> ScoreStats:
    """What scores of a name say."""
    given: dict[str, Any] = {
        "deployment": "d",
        "release": "r",
        "n": 1,
        "mean": 1.0,
        "labelled": 0,
        "unscored": 0,
    }
    return ScoreStats(name=name, **given | more)


def test_who_is_held_against_whom() -> None:
    """The same name, or the one that is asked for; none that may ask something else."""
    a, b = stats("a", judged=5), stats("b", judged=5)
    assert paired([a, b, stats("b", judged=5, reviewed=2)]) == [("b", "b")]
    two = [a, b, stats("b", reviewed=2), stats("c", reviewed=2)]
    assert paired(two) == [("b", "b")]
    assert paired(two, judge="a") == []
    assert paired(two, judge="a", people="c") == [("a", "c")]
    assert paired(two, people="nobody") == []
    assert paired([a, b]) == []


def test_releases_are_added_up() -> None:
    """The mean and the variance of all, whoever answered."""
    found = pooled(
        [
            stats("a", judged=3, judge_mean=1.0, judge_variance=0.0),
            stats("a", judged=1, judge_mean=0.0, judge_variance=0.0, release="other"),
            stats("b", judged=9, judge_mean=0.0, judge_variance=0.0),
            stats("a"),
        ],
        "a",
    )
    assert found is not None
    assert (found.n, found.mean, found.variance) == (4, 0.75, pytest.approx(0.75 * 0.25))
    assert pooled([], "a") is None


def test_a_period_and_a_deployment_bound_what_is_read() -> None:
    """Nothing is said of another time or deployment."""
    log = a_log()
    assert judges(log, UNTIL, UNTIL + timedelta(days=1)) == ()
    assert judges(log, SINCE, UNTIL, deployment="other") == ()
    few = one(log, deployment="assistant")
    assert few.agreement.n == 10
    (part,) = judges(log, SINCE, START + timedelta(seconds=5))
    assert part.agreement.n == 4
