"""How many replicas, case by case, and over a simulated day."""

from __future__ import annotations

import math
import random

import pytest

from airboss.replicas.autoscale import Decision, Facts, Load, Rules, Sample, covers, decide, peak

RULES = Rules(min=1, max=4, slots=4, target=0.7, window_s=60)
NOW = 1000.0


def steady(calls: float, *, seconds: float = 60.0, until: float = NOW) -> list[Sample]:
    """So many calls at one replica, every half second."""
    n = int(seconds * 2)
    return [Sample(until - (n - 1 - i) / 2, (Load(int(calls), 0),)) for i in range(n)]


def facts(
    wanted: int = 1, *, ready: int | None = None, held_s: float = 600, panic: float | None = None
) -> Facts:
    """So many wanted, all of them ready, for ten minutes."""
    return Facts(
        now=NOW, wanted=wanted, ready=wanted if ready is None else ready, held_s=held_s, panic_until=panic
    )


def test_what_fits_stays() -> None:
    """Two calls at four slots are below the target: one replica is enough."""
    assert decide(RULES, steady(2), facts()) == Decision(wanted=1, reason="steady")


def test_more_than_the_target_adds_one() -> None:
    """Three calls over the whole window are more than 0.7 of four slots."""
    found = decide(RULES, steady(3), facts())
    assert (found.wanted, found.panic_until) == (2, NOW + 60)
    assert found.reason == "3.0 calls at once in the last 6 s, for 2.8 a replica"


def test_queued_calls_count() -> None:
    """An engine never runs more than it has slots; what waits is what says that it is too small."""
    samples = [Sample(each.at, (Load(4, 8),)) for each in steady(0)]
    assert decide(RULES, samples, facts(2)).wanted == 4


def test_a_burst_is_answered_within_the_panic_window() -> None:
    """After a quiet minute, six seconds of ten calls are enough; the stable window alone would not see it."""
    samples = [*steady(0, seconds=54, until=NOW - 6), *steady(10, seconds=6)]
    found = decide(RULES, samples, facts())
    assert (found.wanted, found.panic_until) == (4, NOW + 60)
    later = facts(4, panic=NOW + 60)
    assert decide(RULES, steady(0), later).reason == "a burst is under way"


def test_the_slow_way_up() -> None:
    """Load that is half again too much is no panic, and is answered by the stable window."""
    found = decide(RULES, steady(8), facts(2))
    assert (found.wanted, found.panic_until) == (3, None)
    assert found.reason == "8.0 calls at once in the last 60 s, for 2.8 a replica"


def test_down_only_if_the_rest_can_hold() -> None:
    """Five calls fit two replicas, but with too little to spare; four fit."""
    assert decide(RULES, steady(6), facts(3)).reason == "steady"
    found = decide(RULES, steady(5), facts(3))
    assert (found.wanted, found.reason) == (
        2,
        "at most 5.0 calls at once in the last 60 s, for 2.8 a replica",
    )


def test_one_peak_in_the_window_keeps_them() -> None:
    """The highest panic window counts, not the mean."""
    samples = [*steady(0, seconds=30, until=NOW - 30), *steady(10, seconds=6, until=NOW - 24)]
    samples += steady(0, seconds=24)
    assert decide(RULES, samples, facts(4)).reason == "steady"


def test_no_more_than_half_goes_at_once() -> None:
    """Without any load four go to two, and only later to one."""
    assert decide(RULES, steady(0), facts(4)).wanted == 2
    assert decide(RULES, steady(0), facts(2)).wanted == 1


@pytest.mark.parametrize(
    ("samples", "given", "reason"),
    [
        ([], facts(3), "the load is not known"),
        ([Sample(NOW, None)], facts(3), "the load is not known"),
        (steady(0, seconds=30), facts(3), "the load is not known for long enough"),
        (steady(0), facts(3, held_s=20), "3 for 20 s, of at least 60"),
    ],
)
def test_what_is_not_known_takes_nothing_away(samples: list[Sample], given: Facts, reason: str) -> None:
    """Unknown is not zero, a window that is not full decides nothing downwards, nor does a new number."""
    assert decide(RULES, samples, given) == Decision(wanted=3, reason=reason)


def test_bounds_bind_at_once() -> None:
    """A configuration that allows less or wants more is followed without looking at any load."""
    assert decide(RULES, [], facts(9)) == Decision(wanted=4, reason="max is 4")
    assert decide(Rules(min=2, max=4, slots=4), [], facts(1)) == Decision(wanted=2, reason="min is 2")


def test_gaps_are_seen() -> None:
    """A window with a hole in it longer than a panic window does not count as known."""
    whole = steady(0)
    assert covers(whole, NOW, 60, RULES)
    assert not covers([each for each in whole if not NOW - 30 < each.at < NOW - 20], NOW, 60, RULES)


def test_the_peak_is_of_a_stretch() -> None:
    """The highest mean of so many seconds, wherever they lie."""
    samples = [Sample(float(i), (Load(n, 0),)) for i, n in enumerate([0, 0, 4, 6, 5, 0, 0])]
    assert peak(samples, 3) == 5.0
    assert peak(samples, 1) == 6.0
    assert peak([], 3) == 0.0


def test_a_simulated_day() -> None:
    """A day of 24 h with a noon peak and a burst at 15:00: the number follows, calls seldom find no slot, and
    it changes a dozen times rather than all the time."""
    rules = Rules(min=1, max=6, slots=4, target=0.7, window_s=60)
    rng = random.Random(7)
    wanted, held_from, panic, changes, short = 1, 0.0, None, 0, 0
    window: list[Sample] = []
    seconds = range(0, 86_400, 2)
    for second in seconds:
        base = 6.5 * (1 - math.cos(2 * math.pi * second / 86_400)) / 2
        burst = 9 if 54_000 <= second < 54_600 else 0
        calls = max(0, round(rng.gauss(base + burst, 0.7)))
        short += calls > wanted * rules.slots
        window = [*(each for each in window if each.at >= second - 60), Sample(second, (Load(calls, 0),))]
        given = Facts(now=second, wanted=wanted, ready=wanted, held_s=second - held_from, panic_until=panic)
        found = decide(rules, window, given)
        if found.wanted != wanted:
            changes, held_from = changes + 1, float(second)
        wanted, panic = found.wanted, found.panic_until
    assert wanted == 1
    assert changes <= 30
    assert short / len(seconds) < 0.002
