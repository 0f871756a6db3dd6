"""What a worker remembers of the last minute."""

from __future__ import annotations

from airboss.governance.counting import Change, Denied, Grant, Want
from airboss.governance.recent import PART_SLOTS, SPENT_MAX, Recent
from airboss.governance.windows import SLOTS

REQUESTS = Want("key/a/requests", "minute", 100, 1)
TOKENS = Want("key/b/tokens", "minute", 100, 1)
CALLS = Want("key/a/concurrency", "running", 5, 1)


def grant(amount: int, slot: int) -> Grant:
    """So much of a minute, in that slot."""
    return Grant(amount, slot, 0, 0)


def test_what_was_taken_is_remembered_by_slot_for_a_minute_or_two() -> None:
    """What went back or was used besides is in it; what is held and not taken is not."""
    recent = Recent()
    recent.given([REQUESTS, CALLS], [grant(3, 1000), grant(1, 0)])
    recent.given([REQUESTS, TOKENS], [grant(2, 1001), grant(50, 1001)])
    recent.told([Change("key/b/tokens", back=20, slot=1001), Change("key/a/concurrency", freed=1)])
    recent.told([Change("key/b/tokens", back=-5, slot=1001), Change("key/c/tokens", back=3, slot=1001)])
    assert list(recent.parts()) == [
        [("key/a/requests", [1000, 3, 1001, 2], 0), ("key/b/tokens", [1001, 35], 0)]
    ]
    recent.given([REQUESTS], [grant(1, 1001 + SLOTS)])
    assert list(recent.parts()) == [
        [("key/a/requests", [1001, 2, 1001 + SLOTS, 1], 0), ("key/b/tokens", [1001, 35], 0)]
    ]
    recent.given([REQUESTS], [grant(1, 1001 + 2 * SLOTS)])
    assert list(recent.parts()) == [[("key/a/requests", [1001 + SLOTS, 1, 1001 + 2 * SLOTS, 1], 0)]]


def test_much_is_told_in_parts() -> None:
    """Each of about so many slots, together everything, and the same ones each time."""
    recent = Recent()
    assert list(recent.parts()) == []
    for number in range(250):
        for slot in range(100):
            recent.given([Want(f"key/{number}/tokens", "minute", 100, 1)], [grant(1, 1000 + slot)])
    parts = list(recent.parts())
    assert [sum(len(slots) // 2 for _, slots, _ in part) for part in parts] == [PART_SLOTS, PART_SLOTS, 5_000]
    assert len({counter for part in parts for counter, *_ in part}) == 250
    assert list(recent.parts()) == parts


def test_what_was_spent_is_what_was_heard_last_and_told_since() -> None:
    """By a grant or a refusal; less than that does not come back. Of too many budgets the newest stay."""
    recent, money = Recent(), Want("key/a/usd/2026-11", "money", 100, 1)
    recent.told([Change("key/a/usd/2026-11", spent=9)])
    assert list(recent.parts()) == []
    recent.given([CALLS, money], [grant(1, 0), Grant(1, 0, 60, 0, 40)])
    recent.told([Change("key/a/usd/2026-11", freed=1, spent=5)])
    assert list(recent.parts()) == [[("key/a/usd/2026-11", [], 45)]]
    recent.given([money], [Grant(1, 0, 60, 0, 41)])
    recent.denied([CALLS, money], Denied(0, 1.0, 0))
    assert list(recent.parts()) == [[("key/a/usd/2026-11", [], 45)]]
    recent.denied([CALLS, money], Denied(1, None, 0, 101))
    assert list(recent.parts()) == [[("key/a/usd/2026-11", [], 101)]]
    for number in range(SPENT_MAX):
        recent.given([Want(f"user/{number}/usd", "money", 100, 1)], [Grant(1, 0, 60, 0, 7)])
    parts = list(recent.parts())
    assert len(parts) == SPENT_MAX / PART_SLOTS
    assert {counter for part in parts for counter, *_ in part} == {f"user/{n}/usd" for n in range(SPENT_MAX)}
