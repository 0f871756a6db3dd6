"""What every record log does with scores, whichever it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter, RecordLog
from airboss.domain.score import Score, ScoreValue
from tests.store.samples import SEGMENT, START, call_id, closed_json, move, move_of, opened_json

MOVED = START + timedelta(minutes=5)


def score_id(number: int) -> str:
    """An id of the right shape, later for a higher number."""
    return f"019a3f01-{number // 65536:04x}-7{number % 4096:03x}-8000-{number:012x}"


def score(number: int, record: int, value: ScoreValue | None = 1.0, **fields: Any) -> Score:
    """Score `number`, given that many seconds after START, of call `record`."""
    given: dict[str, Any] = {
        "id": score_id(number),
        "subject": "record",
        "subject_id": call_id(record),
        "name": "helpfulness",
        "source": "human",
        "by": "team-a",
        "at": START + timedelta(seconds=number),
        "value": value,
    }
    return Score(**given | fields)


def feedback(*scores: Score, start: int = 0, segment: str = SEGMENT, at: datetime = MOVED) -> JournalMove:
    """A move of feedback alone."""
    payloads = tuple(msgspec.json.encode(each) for each in scores)
    return JournalMove(segment=segment, start=start, end=start + 10, scores=payloads, moved_at=at)


def shown(record_log: RecordLog, record: int) -> dict[str, ScoreValue | None]:
    """The `scores` of a record, listed with and without bodies."""
    where = RecordFilter(id=call_id(record))
    (bare,) = record_log.records(where, limit=1, bodies=False)
    (full,) = record_log.records(where, limit=1, bodies=True)
    assert bare.scores == full.scores
    return bare.scores


@pytest.mark.words
def test_a_score_comes_back_as_it_went_in(record_log: RecordLog) -> None:
    """Numbers, yes and no, labels, causes, comments and users survive, and a yes does not become 1."""
    record_log.apply(move(1))
    given = [
        score(1, 1, 0.25, comment="so \u2028 so", user="ann"),
        score(2, 1, True, name="helpful"),
        score(3, 1, False, name="polite"),
        score(4, 1, "rude", name="tone"),
        score(5, 1, None, name="judge", unscored="the judge said nothing", source="scorer", by="judge"),
        score(6, 1, -0.0, name="zero"),
    ]
    assert record_log.put_scores(given) == 6
    found = record_log.scores_of([call_id(1)])
    assert list(found) == given
    assert [type(each.value) for each in found] == [float, bool, bool, str, type(None), float]
    assert shown(record_log, 1) == {
        "helpfulness": 0.25,
        "helpful": True,
        "polite": False,
        "tone": "rude",
        "judge": None,
        "zero": 0.0,
    }


def test_repeating_a_score_does_nothing(record_log: RecordLog) -> None:
    """The id decides: the same id again changes and adds nothing, in one call or in two."""
    record_log.apply(move(1))
    assert record_log.put_scores([score(1, 1, 0.5), score(1, 1, 0.5)]) == 1
    assert record_log.put_scores([score(1, 1, 0.9), score(2, 1, 0.7)]) == 1
    assert [each.value for each in record_log.scores_of([call_id(1)])] == [0.5, 0.7]


def test_a_second_opinion_is_a_second_score_and_the_newest_is_shown(record_log: RecordLog) -> None:
    """The newest by its own time, not by its arrival."""
    record_log.apply(move(1))
    record_log.put_scores([score(9, 1, 0.9)])
    record_log.put_scores([score(3, 1, 0.3), score(4, 1, 0.4)])
    assert shown(record_log, 1) == {"helpfulness": 0.9}
    assert [each.value for each in record_log.scores_of([call_id(1)])] == [0.3, 0.4, 0.9]


def test_unscored_hides_no_value(record_log: RecordLog) -> None:
    """A failed second try leaves the value; a name with nothing but failures shows null, never a zero."""
    record_log.apply(move(1))
    record_log.put_scores([score(1, 1, 0.3), score(2, 1, None, unscored="it broke")])
    record_log.put_scores([score(3, 1, None, name="judge", unscored="it broke")])
    assert shown(record_log, 1) == {"helpfulness": 0.3, "judge": None}


def test_scores_of_no_record_are_left_out(record_log: RecordLog) -> None:
    """A record that is gone takes no scores, and a score of a dataset's item is refused."""
    record_log.apply(move(1))
    assert record_log.put_scores([score(1, 1), score(2, 77)]) == 1
    assert list(record_log.scores_of([call_id(77)])) == []
    with pytest.raises(ValueError, match="not of a record"):
        record_log.put_scores([score(3, 1, subject="item")])


def test_scores_of_many_records_far_apart(record_log: RecordLog) -> None:
    """Records of different days are all found, and nobody else's scores with them."""
    numbers = [1, 2, 70_000, 5_000_000]
    record_log.apply(move(*numbers))
    record_log.put_scores([score(index, number, index / 10) for index, number in enumerate(numbers)])
    found = record_log.scores_of([call_id(1), call_id(5_000_000), "no id", ""])
    assert [each.subject_id for each in found] == [call_id(1), call_id(5_000_000)]
    assert list(record_log.scores_of([])) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("helpfulness<0.5", [1]),
        ("helpfulness <= 0.5", [1, 2]),
        ("helpfulness>=0.5", [2, 3]),
        ("helpfulness>0.5", [3]),
        ("helpfulness!=0.5", [1, 3]),
        ("helpfulness=true", [3]),
        ("helpfulness", [1, 2, 3, 4]),
        ("helpfulness=rude", [4]),
        ("helpfulness!=rude", []),
        ("nothing", []),
        ("nothing>0", []),
    ],
)
def test_records_are_found_by_their_scores(record_log: RecordLog, asked: str, expected: list[int]) -> None:
    """A condition is on what the record shows; yes is 1, and unscored answers to nothing."""
    record_log.apply(move(1, 2, 3, 4, 5, 6))
    record_log.put_scores(
        [
            score(10, 1, 0.9),
            score(11, 1, 0.1),
            score(12, 2, 0.5),
            score(13, 3, True),
            score(14, 4, "rude"),
            score(15, 5, None, unscored="it broke"),
        ]
    )
    where = RecordFilter(score=asked)
    found = record_log.records(where, limit=10, bodies=False)
    assert [each.id for each in reversed(found)] == [call_id(number) for number in expected]
    assert record_log.count(where) == len(expected)


def test_a_condition_that_is_none_is_refused(record_log: RecordLog) -> None:
    """What was meant is not guessed."""
    for wrong in ("", "<0.5", "a b", "tone<rude", "name=", "x" * 65):
        with pytest.raises(ValueError):
            record_log.count(RecordFilter(score=wrong))


def test_feedback_after_its_record_is_attached_at_once(record_log: RecordLog) -> None:
    """A move of feedback on a record that is there."""
    record_log.apply(move(1))
    assert record_log.apply(feedback(score(1, 1, 0.5), start=100)) == 110
    assert shown(record_log, 1) == {"helpfulness": 0.5}
    assert list(record_log.stray_scores(MOVED + timedelta(days=1), limit=10)) == []


def test_feedback_before_its_record_waits_for_it(record_log: RecordLog) -> None:
    """It is attached by the move that brings the record, in whichever of the two ways it comes."""
    other = "1-0190/000001"
    record_log.apply(feedback(score(1, 1, 0.5), score(2, 2, 0.7), segment=other))
    assert list(record_log.scores_of([call_id(1), call_id(2)])) == []
    record_log.apply(move(1))
    opened = JournalMove(segment=SEGMENT, start=100, end=110, opened={call_id(2): opened_json(2)})
    record_log.apply(opened)
    assert list(record_log.scores_of([call_id(2)])) == []
    record_log.apply(JournalMove(segment=SEGMENT, start=110, end=120, closed={call_id(2): closed_json(2)}))
    assert [each.value for each in record_log.scores_of([call_id(1), call_id(2)])] == [0.5, 0.7]
    assert list(record_log.stray_scores(MOVED + timedelta(days=1), limit=10)) == []


def test_much_feedback_can_wait(record_log: RecordLog) -> None:
    """More than is looked through at once, most of it on one record: all of it is attached."""
    given = [score(number, 2 if number > 3 else number) for number in range(1, 1_202)]
    record_log.apply(feedback(*given, segment="1-0190/000001"))
    record_log.apply(move(1, 2, 3))
    assert len(record_log.scores_of([call_id(1), call_id(2), call_id(3)])) == len(given)


def test_feedback_and_its_record_in_one_move(record_log: RecordLog) -> None:
    """A stretch of the journal may hold both."""
    both = msgspec.structs.replace(move(1), scores=(msgspec.json.encode(score(1, 1)),), moved_at=MOVED)
    record_log.apply(both)
    assert shown(record_log, 1) == {"helpfulness": 1.0}


def test_feedback_moved_again_is_there_once(record_log: RecordLog) -> None:
    """A repeated move does nothing, as with records."""
    record_log.apply(move(1))
    given = feedback(score(1, 1), start=100)
    assert record_log.apply(given) == record_log.apply(given) == 110
    assert len(record_log.scores_of([call_id(1)])) == 1


def test_feedback_of_another_key_is_never_attached(record_log: RecordLog) -> None:
    """Whether it comes before its record or after it; and it can be dropped."""
    record_log.apply(feedback(score(1, 1, by="team-b"), segment="1-0190/000001"))
    record_log.apply(move(1))
    record_log.apply(feedback(score(2, 1, by="team-b"), start=100))
    assert shown(record_log, 1) == {}
    stray = record_log.stray_scores(MOVED + timedelta(seconds=1), limit=10)
    assert [each.id for each in stray] == [score_id(1), score_id(2)]
    record_log.drop_scores([score_id(1), score_id(2), "unknown"])
    assert list(record_log.stray_scores(MOVED + timedelta(seconds=1), limit=10)) == []


def test_feedback_is_stray_only_after_its_time_and_its_call(record_log: RecordLog) -> None:
    """While a call is open, or the deadline has not passed, it waits."""
    record_log.apply(
        JournalMove(segment="1-0190/000001", start=0, end=9, opened={call_id(1): opened_json(1)})
    )
    record_log.apply(feedback(score(1, 1), score(2, 2), score(3, 3)))
    assert list(record_log.stray_scores(MOVED, limit=10)) == []
    later = MOVED + timedelta(seconds=1)
    assert [each.id for each in record_log.stray_scores(later, limit=10)] == [score_id(2), score_id(3)]
    assert [each.id for each in record_log.stray_scores(later, limit=1)] == [score_id(2)]
    record_log.drop_scores([score_id(2), score_id(3)])
    record_log.apply(
        JournalMove(segment="1-0190/000001", start=9, end=20, closed={call_id(1): closed_json(1)})
    )
    assert shown(record_log, 1) == {"helpfulness": 1.0}


def test_feedback_that_is_none_spoils_its_move(record_log: RecordLog) -> None:
    """The log takes nothing of a move with JSON that is no score: the mover then finds the frame."""
    broken = JournalMove(segment=SEGMENT, start=0, end=10, scores=(b'{"id":1}',), moved_at=MOVED)
    with pytest.raises(ValueError):
        record_log.apply(broken)
    assert record_log.offset(SEGMENT) == 0


def test_statistics_of_scores(record_log: RecordLog) -> None:
    """By deployment, release and name; each record counts once, by what it shows."""
    record_log.apply(move(1, 2, 3, 4, 5))
    record_log.apply(move(6, start=500, release="e" * 64))
    record_log.apply(move(7, start=600, deployment="alone", key="airboss"))
    record_log.put_scores(
        [
            score(11, 1, 0.0),
            score(12, 1, 0.5),
            score(13, 2, True),
            score(14, 3, None, unscored="it broke"),
            score(15, 4, 0.25),
            score(16, 4, "odd"),
            score(17, 5, None, unscored="it broke", name="judge"),
            score(18, 6, 1.0),
            score(19, 7, 1.0),
        ]
    )
    alone, d_help, d_judge, e_help = record_log.score_stats(START, START + timedelta(hours=1))
    assert (alone.deployment, alone.n) == ("alone", 1)
    assert (d_help.deployment, d_help.release, d_help.name) == ("assistant", "d" * 64, "helpfulness")
    assert (d_help.n, d_help.mean, d_help.labelled, d_help.unscored) == (2, 0.75, 1, 1)
    assert (d_judge.name, d_judge.n, d_judge.mean, d_judge.unscored) == ("judge", 0, None, 1)
    assert (e_help.release, e_help.n, e_help.mean) == ("e" * 64, 1, 1.0)
    ours = record_log.score_stats(START, START + timedelta(hours=1), without_key="airboss")
    assert [each.deployment for each in ours] == ["assistant"] * 3


def test_statistics_of_scores_by_either_time(record_log: RecordLog) -> None:
    """A period is of when calls began, or of when scores were given."""
    record_log.apply(move(1, 2))
    record_log.put_scores([score(100, 1, 0.0), score(200, 1, 1.0), score(100, 2, 0.5, id=score_id(3))])
    begun = record_log.score_stats(START, START + timedelta(seconds=2))
    assert [(each.n, each.mean) for each in begun] == [(1, 1.0)]
    at = START + timedelta(seconds=100)
    given = record_log.score_stats(at, at + timedelta(seconds=1), by_score_time=True)
    assert [(each.n, each.mean) for each in given] == [(2, 0.25)]
    assert list(record_log.score_stats(START, START)) == []


def test_statistics_leave_out_a_key(record_log: RecordLog) -> None:
    """Our own calls do not count where they are not wanted."""
    record_log.apply(move(1))
    record_log.apply(move(2, start=100, key="airboss", status="refused"))
    until = START + timedelta(hours=1)
    (every,) = record_log.stats(START, until)
    (theirs,) = record_log.stats(START, until, without_key="airboss")
    assert (every.requests, every.refused, theirs.requests, theirs.refused) == (2, 1, 1, 0)


def test_following_can_begin_at_the_beginning(record_log: RecordLog) -> None:
    """After "" come all records, in the order of their arrival."""
    record_log.apply(move(5))
    record_log.apply(move(2, start=100))
    found = record_log.records(RecordFilter(after=""), limit=10, bodies=False)
    assert [each.id for each in found] == [call_id(5), call_id(2)]


@pytest.mark.words
def test_causes_that_may_quote_a_person_go_with_them(record_log: RecordLog) -> None:
    """Why a judge gave no value to their calls; what it says of others' stays, and so does a second time."""
    judge = {"name": "judge", "source": "scorer", "by": "judge"}
    record_log.apply(move(1, user="ann"))
    record_log.apply(move(2, start=100, user="bob"))
    record_log.put_scores(
        [
            score(1, 1, None, unscored="no grade in 'Ann lives in Rome'", **judge),
            score(2, 1, 0.5, name="other"),
            score(3, 2, None, unscored="no grade in 'Bob'", **judge),
        ]
    )
    assert record_log.erase({"ann": START + timedelta(days=1)})["ann"].scores == 1
    assert record_log.erase({"ann": START + timedelta(days=1)})["ann"].scores == 0
    assert [(each.unscored, each.value) for each in record_log.scores_of([call_id(1)])] == [
        ("erased", None),
        (None, 0.5),
    ]
    assert [each.unscored for each in record_log.scores_of([call_id(2)])] == ["no grade in 'Bob'"]
    assert shown(record_log, 1) == {"judge": None, "other": 0.5}


@pytest.mark.words
def test_labels_that_callers_gave_go_with_them(record_log: RecordLog) -> None:
    """Whoever's call it is, and whoever gave it to theirs: a label is a caller's own words. Those of scorers
    and reviewers are verdicts, and stay as numbers do."""
    record_log.apply(move(1, user="ann"))
    record_log.apply(move(2, start=100, user="bob"))
    labels = [
        score(1, 1, "Ann in Rome is cross", name="app"),
        score(2, 1, "rude", name="tone", source="scorer"),
        score(3, 1, "rude", name="seen", source="review"),
        score(4, 2, "Ann likes Bob's", name="by_ann", user="ann"),
        score(5, 2, "Bob", name="by_bob", user="bob"),
    ]
    record_log.put_scores(labels)
    record_log.apply(feedback(score(6, 8, "x", user="ann"), score(7, 8, "Bob", name="other"), start=200))
    assert record_log.erase({"ann": START + timedelta(days=1)})["ann"].scores == 3
    assert record_log.erase({"ann": START + timedelta(days=1)})["ann"].scores == 0
    assert shown(record_log, 1) == {"app": None, "tone": "rude", "seen": "rude"}
    assert shown(record_log, 2) == {"by_ann": None, "by_bob": "Bob"}
    assert record_log.scores_of([call_id(2)])[0].unscored == "erased"
    record_log.apply(move(8, start=210))
    assert shown(record_log, 8) == {"helpfulness": None, "other": "Bob"}


def test_what_scores_say_is_narrowed_by_their_records(record_log: RecordLog) -> None:
    """By what the records have, whenever they began and whichever time counts; by nothing it is of all."""
    fields: list[dict[str, Any]] = [
        {"key": "app", "tags": {"by": "me"}},
        {"key": "app", "model": "large", "status": "error"},
        {"key": "other", "release": "r" * 64, "arm": "canary"},
    ]
    record_log.apply(move_of(fields))
    record_log.put_scores(
        [score(at, at - 1, at / 10, source="scorer", by="judge", at=MOVED) for at in range(1, 4)]
    )

    def means(since: datetime = MOVED, *, by_score_time: bool = True, **where: Any) -> list[float]:
        until = since + timedelta(minutes=1)
        asked = RecordFilter(**where) if where else None
        found = record_log.score_stats(since, until, by_score_time=by_score_time, where=asked)
        return sorted(each.mean for each in found if each.mean is not None)

    assert means(tag="by=me") == means(key="app", status="ok") == [pytest.approx(0.1)]
    assert means(deployment="assistant", key="app") == [pytest.approx(0.15)]
    assert means(arm="canary") == means(release="r" * 64) == [pytest.approx(0.3)]
    assert means(keys=("other", "nobody")) == means(START, by_score_time=False, key="other")
    assert means(model="none") == means(START, key="app") == []
    assert len(means()) == 2
    narrowed = record_log.score_stats(
        MOVED,
        MOVED + timedelta(minutes=1),
        by_score_time=True,
        without_key="other",
        where=RecordFilter(arm="canary"),
    )
    assert list(narrowed) == []
