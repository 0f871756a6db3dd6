"""What every record log does with judgements by people of the house, whichever it is."""

from __future__ import annotations

from datetime import timedelta
from hashlib import md5
from typing import Any

import pytest

from airboss.domain.ports import RecordFilter, RecordLog
from airboss.domain.score import Score, ScoreValue
from airboss.store.opinions import CORRECTED, CORRECTION, corrections
from tests.store.samples import START, call_id, move
from tests.store.test_contract_scores import feedback, score, shown

DAY = (START - timedelta(hours=1), START + timedelta(days=1))


def review(number: int, record: int, value: ScoreValue | None = None, **fields: Any) -> Score:
    """Judgement `number`; without a value it takes back what was said."""
    given: dict[str, Any] = {"source": "review", "by": "ann", "name": "right"}
    if value is None:
        given["unscored"] = "taken back"
    return score(number, record, value, **given | fields)


def said(record_log: RecordLog, record: int) -> list[tuple[str, str, Any, str | None]]:
    """Who said what of a record."""
    return [
        (each.by, each.name, each.value, each.comment) for each in record_log.scores_of([call_id(record)])
    ]


def test_judging_again_replaces(record_log: RecordLog) -> None:
    """One judgement a record, name and person stands, the newest, whichever comes first, words and all;
    others' stay, and so do feedback and scorers' scores of the same name."""
    record_log.apply(move(1, 2))
    others = [
        score(1, 1, True, name="right", by="team-a"),
        score(2, 1, False, name="right", source="scorer", by="right"),
        review(3, 1, True, by="bob"),
        review(4, 1, "rude", name="tone"),
        review(5, 2, False),
    ]
    record_log.put_scores(others)
    assert record_log.put_scores([review(6, 1, True, comment="fine")]) == 1
    assert record_log.put_scores([review(7, 1, False, comment="no, it lacks the year", source="sample")]) == 1
    assert record_log.put_scores([review(6, 1, True, comment="fine")]) == 0  # an older one comes again
    assert record_log.put_scores([review(7, 1, False, comment="no, it lacks the year", source="sample")]) == 0
    assert said(record_log, 1) == [
        ("team-a", "right", True, None),
        ("right", "right", False, None),
        ("bob", "right", True, None),
        ("ann", "tone", "rude", None),
        ("ann", "right", False, "no, it lacks the year"),
    ]
    assert said(record_log, 2) == [("ann", "right", False, None)]
    assert shown(record_log, 1)["right"] is False
    assert [each.source for each in record_log.scores_of([call_id(1)])][-2:] == ["review", "sample"]


def test_two_at_once_leave_one(record_log: RecordLog) -> None:
    """In one call the newer one of a person stands, too."""
    record_log.apply(move(1))
    assert record_log.put_scores([review(2, 1, 4.0), review(1, 1, 3.0)]) == 1
    assert said(record_log, 1) == [("ann", "right", 4.0, None)]
    same = {"at": START + timedelta(hours=2)}
    record_log.put_scores([review(8, 1, 1.0, **same), review(9, 1, 2.0, **same)])
    assert said(record_log, 1) == [("ann", "right", 2.0, None)], "of one moment the later id, as in every log"


def test_a_judgement_is_taken_back(record_log: RecordLog) -> None:
    """Nothing is left of it, nor of its being taken back; the same can be said again."""
    record_log.apply(move(1))
    record_log.put_scores([review(1, 1, True, comment="oh"), review(2, 1, True, by="bob")])
    assert record_log.put_scores([review(3, 1, None)]) == 0
    assert said(record_log, 1) == [("bob", "right", True, None)]
    assert record_log.put_scores([review(4, 1, None)]) == 0
    assert record_log.put_scores([review(5, 1, False)]) == 1
    assert said(record_log, 1)[-1] == ("ann", "right", False, None)


def test_a_record_that_is_not_there_takes_none(record_log: RecordLog) -> None:
    """It may still be in a journal: nothing is kept for it."""
    record_log.apply(move(1))
    assert record_log.put_scores([review(1, 77, True)]) == 0
    assert said(record_log, 77) == []


def test_stats_tell_scorers_from_people(record_log: RecordLog) -> None:
    """What scorers gave is added up by itself, whatever people said since; reviews are counted."""
    record_log.apply(move(1, 2, 3, 4))
    judge: dict[str, Any] = {"name": "right", "source": "scorer", "by": "right"}
    record_log.put_scores(
        [
            score(1, 1, True, **judge),
            score(2, 2, False, **judge),
            score(3, 3, True, **judge),
            score(4, 4, None, unscored="it broke", **judge),
            score(5, 3, False, name="right"),
            review(6, 1, False),
            review(7, 2, False, by="bob", source="sample"),
            review(8, 2, "rude", name="tone"),
        ]
    )
    right, tone = record_log.score_stats(*DAY)
    assert (right.n, right.mean, right.unscored) == (3, 0.0, 1)
    assert (right.judged, right.judge_mean, right.judge_variance, right.reviewed) == (
        3,
        pytest.approx(2 / 3),
        pytest.approx(2 / 9),
        2,
    )
    assert (tone.judged, tone.judge_mean, tone.judge_variance, tone.reviewed) == (0, None, None, 1)


def test_records_are_found_by_what_people_said(record_log: RecordLog) -> None:
    """As by any score."""
    record_log.apply(move(1, 2))
    record_log.put_scores([review(1, 1, False), review(2, 2, True)])
    found = record_log.records(RecordFilter(score="right=false"), limit=10, bodies=False)
    assert [each.id for each in found] == [call_id(1)]


def test_a_person_is_taken_out_of_what_was_said_of_their_calls(record_log: RecordLog) -> None:
    """The words go, the judgement stays."""
    record_log.apply(move(1, user="eve"))
    record_log.put_scores([review(1, 1, False, comment="about them")])
    record_log.erase({"eve": START + timedelta(days=1)})
    assert said(record_log, 1) == [("ann", "right", False, None)]


def test_what_would_have_been_right_is_a_judgement_like_any(record_log: RecordLog) -> None:
    """However long it is: a person's newest stands, of several people's the newest counts, calls are found by
    it, and its text goes with the person whose call it is."""
    text = "so it would have been right. " * 690
    record_log.apply(move(1, 2, user="eve"))
    given = {"name": CORRECTION, "value": CORRECTED}
    record_log.put_scores(
        [review(1, 1, comment="so?", **given), review(2, 1, comment="so", **given | {"by": "bob"})]
    )
    record_log.put_scores([review(3, 1, comment=text, **given), review(4, 2, comment="no", **given)])
    stands = corrections(record_log.scores_of([call_id(1), call_id(2)]))
    assert {each: score.comment for each, score in stands.items()} == {call_id(1): text, call_id(2): "no"}
    assert shown(record_log, 1) == {CORRECTION: CORRECTED}
    record_log.put_scores([review(5, 2, None, name=CORRECTION)])
    assert found(record_log, score=CORRECTION) == [call_id(1)]
    (stats,) = record_log.score_stats(*DAY)
    assert (stats.n, stats.mean, stats.labelled, stats.reviewed) == (0, None, 1, 1)
    record_log.erase({"eve": START + timedelta(days=1)})
    assert corrections(record_log.scores_of([call_id(1)])) == {}


def test_what_an_app_passed_on_yields_to_a_review(record_log: RecordLog) -> None:
    """However much later it is. It waits for its record as feedback does, each stays, and all go with the
    person whose call it is, or who wrote it."""
    given = {"name": CORRECTION, "value": CORRECTED}
    app = [score(n, 1, comment=f"app {n}", user="eve", **given) for n in (7, 8)]
    record_log.apply(feedback(*app, segment="1-0190/000001"))
    record_log.apply(move(1, 2))
    right = [corrections(record_log.scores_of([call_id(1)]))[call_id(1)].comment]
    record_log.put_scores([review(1, 1, comment="so", **given)])
    right.append(corrections(record_log.scores_of([call_id(1)]))[call_id(1)].comment)
    assert right == ["app 8", "so"]
    assert found(record_log, score="feedback:correction") == [call_id(1)]
    record_log.erase({"eve": START + timedelta(days=1)})
    texts = [(each.source, each.comment) for each in record_log.scores_of([call_id(1)])]
    assert texts == [("review", "so"), ("human", None), ("human", None)]


def found(record_log: RecordLog, **where: Any) -> list[str]:
    """The records that match, as they are listed."""
    return [each.id for each in record_log.records(RecordFilter(**where), limit=100, bodies=False)]


def test_a_condition_may_be_about_whose_score_it_is(record_log: RecordLog) -> None:
    """People of the house, scorers, or callers: what the others say of that name is passed over."""
    record_log.apply(move(1, 2, 3, 4))
    record_log.put_scores(
        [
            score(1, 1, True, name="right", source="scorer", by="right"),
            review(2, 1, False),
            score(3, 2, False, name="right", source="scorer", by="right"),
            score(4, 3, True, name="right"),
            review(5, 4, "unsure", source="sample"),
        ]
    )
    for asked, numbers in {
        "right": [4, 3, 2, 1],
        "review:right": [4, 1],
        "review:right=false": [1],
        "review:right=unsure": [4],
        "scorer:right": [2, 1],
        "scorer:right=true": [1],
        "feedback:right": [3],
        "feedback:right=false": [],
        "right=false": [2, 1],
    }.items():
        assert found(record_log, score=asked) == [call_id(each) for each in numbers], asked
        assert record_log.count(RecordFilter(score=asked)) == len(numbers), asked
    with pytest.raises(ValueError, match="is no condition"):
        record_log.count(RecordFilter(score="nobody:right"))


def test_an_order_of_chance_is_the_same_everywhere(record_log: RecordLog) -> None:
    """By the seed and the id alone, whatever log it is, so that a sample can be drawn again; it is no order
    of time, and what comes later changes nothing about the order of what is there."""
    record_log.apply(move(*range(1, 31)))
    order = found(record_log, sort="shuffled", seed=7)
    wanted = sorted(
        (call_id(each) for each in range(1, 31)), key=lambda each: md5(f"7:{each}".encode()).digest()
    )
    assert order == wanted
    assert found(record_log, sort="shuffled", seed=8) != order
    record_log.apply(move(*range(31, 41), start=3_000))
    late = {call_id(each) for each in range(31, 41)}
    assert [each for each in found(record_log, sort="shuffled", seed=7) if each not in late] == order
