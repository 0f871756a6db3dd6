"""Which answers a person is given to judge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airboss.domain.ports import RecordFilter
from airboss.evaluations.from_records import OWN_KEY
from airboss.evaluations.sampling import Draw, draw
from airboss.store.memory import MemoryRecordLog
from tests.evaluations.test_judges import judged, said
from tests.store.samples import START, call_id, move

BEGUN = START + timedelta(hours=1)


def a_log(count: int = 60) -> MemoryRecordLog:
    """So many calls, and one of our own."""
    log = MemoryRecordLog()
    log.apply(move(*range(1, count + 1)))
    log.apply(move(500, start=100 * count, key=OWN_KEY))
    return log


def asked(**more: Any) -> Draw:
    """Ten of them, by chance, unless told otherwise."""
    given: dict[str, Any] = {
        "where": RecordFilter(),
        "by": "ann",
        "name": "right",
        "size": 10,
        "begun": BEGUN,
    }
    return Draw(**given | more)


def test_the_same_draw_gives_the_same_answers() -> None:
    """Another seed gives others; our own calls are never among them; a filter holds."""
    log = a_log()
    first = draw(log, asked(seed=3)).ids
    assert (len(first), draw(log, asked(seed=3)).ids) == (10, first)
    assert draw(log, asked(seed=4)).ids != first
    everything = draw(log, asked(size=500)).ids
    assert sorted(everything) == sorted(call_id(each) for each in range(1, 61))
    assert draw(log, asked(where=RecordFilter(id=call_id(7)))).ids == (call_id(7),)


def test_what_was_judged_since_it_began_stays_in_it() -> None:
    """With what was said; so that its number and its places stand still while it is gone through."""
    log = a_log()
    before = draw(log, asked())
    number = 900
    for place in (0, 4):
        record = int(before.ids[place].rpartition("-")[2], 16)
        log.put_scores([said(number + place, record, True, at=BEGUN + timedelta(seconds=place + 1))])
    after = draw(log, asked())
    assert after.ids == before.ids
    assert {each: score.value for each, score in after.said.items()} == {
        before.ids[0]: True,
        before.ids[4]: True,
    }
    later = draw(log, asked(begun=BEGUN + timedelta(hours=1)))
    assert not {before.ids[0], before.ids[4]} & set(later.ids)
    assert later.ids[:8] == tuple(each for each in before.ids if each not in after.said)


def test_by_chance_only_what_chance_gave_is_left_out() -> None:
    """Were what a person has picked left out, the rest would be no random sample any more; in the other modes
    it is, as there it would only be said twice."""
    log = a_log()
    first, second = draw(log, asked()).ids[:2]
    for number, record in ((900, first), (901, second)):
        source = "sample" if record == first else "review"
        log.put_scores([said(number, int(record.rpartition("-")[2], 16), True, source=source)])
    found = draw(log, asked()).ids
    assert (first in found, found[0], draw(log, asked()).said) == (False, second, {})
    log.put_scores([judged(1_000 + n, n, n / 60) for n in range(1, 61)])
    lowest = draw(log, asked(mode="lowest", judge="right", size=500)).ids
    assert not {first, second} & set(lowest)
    for other in ({"by": "bob"}, {"name": "tone"}):
        assert draw(log, asked(**other)).ids[:2] == (first, second)


@pytest.mark.parametrize(("mode", "wanted"), [("lowest", [3, 6, 9]), ("unsure", [30, 33, 27])])
def test_where_a_judge_errs_most_comes_first(mode: str, wanted: list[int]) -> None:
    """By its own scores alone; what it has not scored, or as no number, does not come."""
    log = a_log()
    log.put_scores([judged(1_000 + n, n, n / 60) for n in range(3, 61, 3)])
    log.put_scores([judged(2_000, 1, None, unscored="it broke"), judged(2_001, 2, "rude")])
    log.put_scores([said(2_002, 4, 0.0, by="bob"), judged(2_003, 5, 0.0, "other")])
    found = draw(log, asked(mode=mode, judge="right", size=500)).ids
    assert len(found) == 20
    assert found[0] == call_id(wanted[0])
    assert set(found[:3]) == {call_id(each) for each in wanted}


def test_every_answer_is_as_likely_as_any() -> None:
    """Of 200 seeds each of 20 answers is given about 100 times where half of them are asked for."""
    log = a_log(20)
    drawn = [draw(log, asked(seed=seed)).ids for seed in range(200)]
    for each in range(1, 21):
        times = sum(call_id(each) in ids for ids in drawn)
        assert 70 < times < 130, (each, times)
