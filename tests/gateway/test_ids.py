"""Record ids are UUIDv7 and grow."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from airboss.gateway.ids import RecordIds


@given(st.lists(st.integers(0, 2**47), min_size=1, max_size=200))
def test_ids_grow_whatever_the_clock_does(times_ms: list[int]) -> None:
    """Each id is a version 7 UUID greater than the one before, though the clock stands or steps back for up
    to an hour; after a longer step they have the clock's time at once."""
    ids = RecordIds()
    made = [ids.next(t) for t in times_ms]
    assert len(set(made)) == len(made)
    for before, after, t in zip(made, made[1:], times_ms[1:], strict=False):
        assert before < after if _ms(before) - t <= 3_600_000 else _ms(after) == t
    for text in made:
        value = uuid.UUID(text)
        assert (value.version, value.variant) == (7, uuid.RFC_4122)


def _ms(text: str) -> int:
    return int(text.replace("-", "")[:12], 16)


def test_ids_of_a_new_life_are_later_than_those_of_the_last() -> None:
    """Though the clock stepped back in between; once it has caught up, its time counts again."""
    old = RecordIds().next(50_000)
    ids = RecordIds()
    ids.begin_after(51_000)
    first = ids.next(20_000)
    assert old < first < ids.next(20_000) < ids.next(60_000)
    assert int(ids.next(70_000).replace("-", "")[:12], 16) == 70_000


def test_ids_of_two_workers_differ() -> None:
    """Though both make as many in the same milliseconds."""
    one, other = RecordIds(), RecordIds()
    made = [ids.next(ms) for ids in (one, other) for ms in (1_000, 1_000, 1_001)]
    assert len(set(made)) == 6


def test_spans_of_one_millisecond_differ() -> None:
    """A call's span has the last 16 digits of its id, and an app may make many calls of one trace at once."""
    ids = RecordIds()
    made = [ids.next(1_000) for _ in range(10_000)]
    assert len({each.replace("-", "")[16:] for each in made}) == len(made)


def test_a_full_millisecond_spills_into_the_next() -> None:
    """More than 4,096 ids in one millisecond still grow."""
    ids = RecordIds()
    made = [ids.next(1_000) for _ in range(10_000)]
    assert made == sorted(set(made))
