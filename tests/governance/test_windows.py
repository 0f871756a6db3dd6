"""A limit a minute: no minute has more, wherever it is cut."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airboss.governance.windows import SLOT_S, SLOTS, WINDOW_S, Window, steady

GAPS = st.floats(min_value=0.0, max_value=90.0, allow_nan=False)
START = 1_790_000_000.0


def flood(window: Window, limit: int, until_s: float, *, rate: float) -> list[float]:
    """When calls were taken that come at a rate, as many as there is room for."""
    taken = []
    for number in range(int(until_s * rate)):
        now = START + number / rate
        if window.taken(now) < limit:
            window.take(1, now)
            taken.append(now)
    return taken


def test_a_window_kept_by_a_clock_that_was_ahead() -> None:
    """What it holds counts for the minute that it had left, and no longer."""
    window = Window()
    window.take(2, START - 30)
    window.take(3, START)
    window.no_later_than(START - 3_600)
    assert window.taken(START - 3_600) == 5
    assert window.taken(START - 3_600 + WINDOW_S - 29) == 3
    assert window.taken(START - 3_600 + WINDOW_S + 1) == 0


def test_a_steady_clock() -> None:
    """It begins with the wall clock's time and goes at the other's pace."""
    passed = [50.0]
    now = steady(START, lambda: passed[0])
    assert now() == START
    passed[0] += 1.5
    assert now() == START + 1.5


@settings(deadline=None)  # counted by what it does, on machines that are busy too
@given(
    limit=st.integers(min_value=1, max_value=40),
    calls=st.lists(st.tuples(GAPS, st.integers(min_value=1, max_value=12)), max_size=60),
)
@example(limit=1, calls=[(59.9, 1), (0.2, 1)])
def test_no_minute_has_more_than_the_limit(limit: int, calls: list[tuple[float, int]]) -> None:
    """Whatever is asked for and when, what is taken within any minute is at most the limit."""
    window, now = Window(), START
    taken: list[tuple[float, int]] = []
    for gap, need in calls:
        now += gap
        if window.taken(now) + need <= limit:
            window.take(need, now)
            taken.append((now, need))
    for end, _ in taken:
        assert sum(need for at, need in taken if end - WINDOW_S < at <= end) <= limit


@settings(deadline=None)  # counted by what it does, on machines that are busy too
@given(
    limit=st.integers(min_value=1, max_value=40),
    calls=st.lists(st.tuples(GAPS, st.integers(min_value=1, max_value=12)), max_size=40),
    need=st.integers(min_value=1, max_value=40),
)
def test_room_comes_when_it_is_promised(limit: int, calls: list[tuple[float, int]], need: int) -> None:
    """At the time that `room_at` tells there is room, and not before by more than a slot."""
    window, now = Window(), START
    for gap, amount in calls:
        now += gap
        if window.taken(now) + amount <= limit:
            window.take(amount, now)
    if need > limit:
        return
    at = window.room_at(need, limit, now)
    assert now <= at <= now + WINDOW_S + SLOT_S
    if at > now + SLOT_S:
        copy = Window(dict(window.slots))
        assert copy.taken(at - SLOT_S) + need > limit
    assert window.taken(at) + need <= limit


def test_a_burst_may_be_the_whole_limit() -> None:
    """Sixty calls at once are taken of sixty a minute, and the next one a minute later."""
    window = Window()
    taken = flood(window, 60, 0.1, rate=2000)
    assert len(taken) == 60
    assert 59.75 <= window.room_at(1, 60, START + 0.1) - START <= WINDOW_S + SLOT_S


def test_a_steady_rate_gets_the_limit_but_for_half_a_percent() -> None:
    """Ten minutes of calls at twice the rate: 99.5% to 100% of ten times the limit, after the first burst."""
    taken = flood(Window(), 600, 660.0, rate=20)
    later = sum(1 for at in taken if at >= START + 60)
    assert 5970 <= later <= 6000


@settings(deadline=None)  # counted by what it does, on machines that are busy too
@given(
    st.lists(st.tuples(GAPS, st.integers(min_value=-20, max_value=20)), max_size=40),
    st.integers(min_value=1, max_value=50),
)
def test_what_is_given_back_was_never_taken(changes: list[tuple[float, int]], first: int) -> None:
    """No slot ever has less than nothing, and the total is that of the slots."""
    window, now = Window(), START
    slot = window.take(first, now)
    for gap, back in changes:
        now += gap
        window.give_back(back, slot, now)
        assert window.taken(now) == sum(window.slots.values())
        assert all(amount >= 0 for amount in window.slots.values())
        assert len(window.slots) <= SLOTS + 1


def test_more_than_was_reserved_counts_now_where_its_slot_is_gone() -> None:
    """A call of two minutes that used more than it reserved: the rest counts when that is known."""
    window = Window()
    slot = window.take(10, START)
    assert window.taken(START + 120) == 0
    window.give_back(-5, slot, START + 120)
    assert window.taken(START + 120) == 5
    window.give_back(3, slot, START + 120)
    assert window.taken(START + 120) == 5


def test_a_clock_that_steps_back_keeps_the_order() -> None:
    """What is taken after a step back counts with the newest."""
    window = Window()
    window.take(1, START + 30)
    window.take(1, START)
    assert window.taken(START + 30 + 59) == 2
    assert window.taken(START + 30 + 61) == 0
