"""What people of the house wrote in place of answers is what items of records expect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.from_records import Approved, gather, picked
from airboss.store.memory import MemoryRecordLog
from airboss.store.opinions import CORRECTED, CORRECTION
from airboss.store.sealed_marks import UNOPENED
from tests.evaluations.support import NOW
from tests.evaluations.test_from_records import record

ALL = RecordFilter()


def right(id: str, text: str | None, *, minutes: int = 1, **fields: Any) -> Score:
    """What would have been right of a record, written so many minutes later."""
    given: dict[str, Any] = {"source": "review", "by": "ann", "name": CORRECTION, "value": CORRECTED}
    return Score(
        id=f"{id}-{9 - minutes}",
        subject="record",
        subject_id=id,
        at=NOW + timedelta(minutes=minutes),
        comment=text,
        **given | fields,
    )


def kept(*records: InferenceRecord, scores: tuple[Score, ...]) -> MemoryRecordLog:
    """A log of these."""
    log = MemoryRecordLog()
    rows = tuple(map(msgspec.json.encode, records))
    log.apply(JournalMove(segment="s", start=0, end=1, records=rows))
    log.put_scores(scores)
    return log


def expected(log: MemoryRecordLog, **how: Any) -> dict[str, Any]:
    """What the items of all records expect, by id; those that people wrote stand in a list."""
    found = gather(log, ALL, limit=100, **how)
    return {each.id: [each.expected] if each.id in found.corrected else each.expected for each in found.items}


def test_it_is_expected_and_the_newest_counts() -> None:
    """Of several people's. What was not put right expects nothing."""
    texts = (right("1", "older"), right("1", "newer", minutes=2, by="bob"), right("2", "so"))
    log = kept(record("1", "a"), record("2", "b"), record("3", "c"), scores=texts)
    assert expected(log) == {"3": None, "2": ["so"], "1": ["newer"]}


def app(id: str, text: str, **fields: Any) -> Score:
    """What an app passed on."""
    return right(id, text, **{"source": "human", "by": "k", "minutes": 5, **fields})


def test_what_an_app_passed_on_is_expected_where_nobody_of_the_house_wrote() -> None:
    """Of several the newest counts."""
    texts = (
        app("1", "older"),
        app("1", "newer", minutes=6),
        app("2", "an app's"),
        right("2", "a reviewer's"),
    )
    log = kept(record("1", "a"), record("2", "b"), record("3", "c"), scores=texts)
    assert expected(log) == {"3": None, "2": ["a reviewer's"], "1": ["newer"]}


def test_who_wrote_what_an_item_expects_is_its_person() -> None:
    """So that it goes with who is forgotten: of a call that names nobody it is who wrote it, and what another
    than the caller wrote is not expected."""
    calls = [
        record(id, id, user=user) for id, user in (("1", "ann"), ("2", None), ("3", "bob"), ("4", "bob"))
    ]
    texts = [app(id, "so", user="ann") for id in "123"]
    log = kept(*calls, scores=(*texts, app("4", "by an app"), app("4", "of ann", minutes=6, user="ann")))
    found = {each.id: (each.user, each.expected) for each in gather(log, ALL, limit=9).items}
    assert found == {"1": ("ann", "so"), "2": ("ann", "so"), "3": ("bob", None), "4": ("bob", "by an app")}


def test_it_goes_before_what_was_approved() -> None:
    """And keeps its record in where the others are left out."""
    liked: dict[str, Any] = {"name": "liked", "value": True, "source": "human", "by": "k"}
    given = [right(id, None, minutes=3, **liked) for id in "12"]
    log = kept(
        *(record(id, id, "Hello") for id in "1234"), scores=(right("1", "so"), right("4", "right"), *given)
    )
    both = {"4": ["right"], "2": "Hello", "1": ["so"]}
    assert expected(log, approved=Approved(score="liked")) == {**both, "3": None}
    assert expected(log, approved=Approved(score="liked", only=True)) == both


def test_of_records_that_ask_the_same_one_that_was_put_right_is_taken() -> None:
    """Though it is older."""
    log = kept(record("1", "same"), record("2", "same"), scores=(right("1", "so"),))
    assert expected(log) == {"1": ["so"]}


def test_what_is_none_is_not_expected() -> None:
    """Erased, sealed and not opened, taken back, a scorer's own, or a judgement of that name from before."""
    none = (
        right("1", None),
        right("2", f"{UNOPENED}its key was destroyed]"),
        right("3", "so"),
        right("3", None, minutes=2, value=None, unscored="taken back"),
        right("4", "so", source="scorer", by="k"),
        right("5", "so", value=True),
    )
    log = kept(*(record(id, id) for id in "12345"), scores=none)
    assert expected(log) == dict.fromkeys("54321")


def test_records_that_are_named_expect_it_too() -> None:
    """Unless their answers, or nothing, are asked for."""
    log = kept(record("1", "a", "Hello"), record("2", "b", "Hello"), scores=(right("1", "so"),))

    def of(**how: Any) -> tuple[list[Any], frozenset[str]]:
        found = picked(log, ["1", "2"], **how)
        return [each.expected for each in found.items], found.corrected

    assert of() == (["so", None], {"1"})
    assert of(answered=True) == (["Hello", "Hello"], frozenset())
    assert of(corrected=False) == ([None, None], frozenset())


def test_every_page_is_looked_at() -> None:
    """However many records there are."""
    records = [record(f"{number:05}", str(number)) for number in range(1_200)]
    log = kept(*records, scores=tuple(right(each.id, each.id) for each in records[::100]))
    found = gather(log, ALL, limit=2_000)
    assert found.corrected == {each.id for each in records[::100]}
    assert {each.expected for each in found.items} == {None, *found.corrected}
