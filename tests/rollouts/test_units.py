"""Who counts, when, and with which chance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.rollouts.analysis import Outcome
from airboss.rollouts.assign import arm, place
from airboss.rollouts.metrics import Metric, standard
from airboss.rollouts.units import Counted, Sighting, Waiting, chance, entering, sight

ERRORS = standard("error_rate")
SCORE = Metric(name="score:tone")
STEPS = (0.01, 0.05, 0.25, 0.5)


def test_a_new_unit_has_the_steps_weight() -> None:
    """Of a unit that was never seen nothing is known."""
    assert chance(sight(None, weight=0.25, canary=False), weight=0.25) == 0.25


def test_a_unit_on_stable_has_the_conditional_weight() -> None:
    """Seen on stable at 10%, a unit goes to the canary of 50% with 0.4 / 0.9, in whichever arm it is then."""
    last = sight(None, weight=0.1, canary=False)
    for canary in (False, True):
        now = sight(last, weight=0.5, canary=canary)
        assert chance(now, weight=0.5) == pytest.approx(0.4 / 0.9)
        assert chance(sight(now, weight=0.5, canary=canary), weight=0.5) == pytest.approx(0.4 / 0.9)


def test_a_unit_on_the_canary_tells_nothing_later() -> None:
    """Once on the canary a unit stays there: at every later step its chance is 1."""
    now = sight(None, weight=0.1, canary=True)
    assert chance(now, weight=0.1) == 0.1
    for weight in (0.25, 0.5):
        now = sight(now, weight=weight, canary=True)
        assert chance(now, weight=weight) == 1.0


def test_a_straggler_of_an_older_plan_tells_nothing() -> None:
    """A call under a lower weight than the unit was seen at changes nothing and does not count."""
    now = sight(None, weight=0.5, canary=False)
    assert sight(now, weight=0.1, canary=False) == now
    assert chance(now, weight=0.1) == 1.0


@given(visits=st.lists(st.booleans(), min_size=4, max_size=4), seed=st.integers(0, 2**32))
def test_chances_are_the_true_shares(visits: list[bool], seed: int) -> None:
    """A unit's chances in the steps that it visits multiply to how likely its arms were."""
    where, seen, likely = place("salt", str(seed)), None, 1.0
    for weight, visit in zip(STEPS, visits, strict=True):
        if visit:
            canary = arm("salt", str(seed), weight) == "canary"
            seen = sight(seen, weight=weight, canary=canary)
            p = chance(seen, weight=weight)
            likely *= p if canary else 1 - p
    visited = [weight for weight, visit in zip(STEPS, visits, strict=True) if visit]
    above = next((weight for weight in visited if where < weight), 1.0)
    below = max([weight for weight in visited if where >= weight], default=0.0)
    assert likely == pytest.approx(above - below)


def call(unit: str, *, admitted_s: float = 0.0, settled: bool = True, value: float | None = 1.0) -> Waiting:
    """A call in a queue."""
    return Waiting(
        unit=unit, weight=0.5, canary=False, chance=0.5, admitted_s=admitted_s, settled=settled, value=value
    )


def enter(metric: Metric, queue: list[Waiting], *, now_s: float = 1.0, counted=frozenset()):
    """What enters of a queue with a deadline of 10 s."""
    return entering(metric, queue, counted=counted, now_s=now_s, deadline_s=10.0)


def test_a_unit_counts_once_per_step() -> None:
    """The first call that brings a value counts; in the next step the unit counts again."""
    found = enter(ERRORS, [call("a", value=None), call("a", value=1.0), call("a", value=0.0)])
    assert [one.value for one in found.outcomes] == [1.0]
    assert (found.counted, found.taken) == ((("a", 0.5),), 3)
    assert not enter(ERRORS, [call("a")], counted=frozenset(found.counted)).outcomes
    assert enter(ERRORS, [call("a")], counted=frozenset({("a", 0.1)})).outcomes


def test_an_open_call_holds_up_those_behind_it() -> None:
    """Outcomes enter in order of admission, so the queue stops at a call whose value may still come."""
    queue = [call("a"), call("b", settled=False, value=None), call("c")]
    found = enter(ERRORS, queue)
    assert (len(found.outcomes), found.taken) == (1, 1)


def test_an_open_call_of_a_counted_unit_holds_up_nobody() -> None:
    """Only what could count is waited for."""
    queue = [call("a"), call("a", settled=False, value=None), call("c")]
    assert enter(ERRORS, queue).taken == 3


@pytest.mark.parametrize(("metric", "values"), [(ERRORS, [1.0, 0.0]), (SCORE, [0.0])])
def test_the_deadline_ends_the_wait(metric: Metric, values: list[float]) -> None:
    """At its deadline an open call is an error, or, for a score that never came, nothing."""
    queue = [call("a", settled=False, value=None), call("b", value=0.0)]
    assert not enter(metric, queue, now_s=9.9).outcomes
    assert [one.value for one in enter(metric, queue, now_s=10.0).outcomes] == values


@given(
    calls=st.lists(
        st.tuples(st.sampled_from("abcd"), st.booleans(), st.none() | st.floats(0, 1)), max_size=20
    ),
    cuts=st.lists(st.integers(0, 20), max_size=4),
)
def test_cutting_the_queue_changes_nothing(calls, cuts: list[int]) -> None:
    """Taken in any pieces, with death in between, the same outcomes enter."""
    queue = [call(unit, settled=settled, value=value if settled else None) for unit, settled, value in calls]
    whole = enter(ERRORS, queue, now_s=20.0)
    outcomes: list[Outcome] = []
    counted: frozenset[Counted] = frozenset()
    start = 0
    for end in [*sorted(min(cut, len(queue)) for cut in cuts), len(queue)]:
        part = enter(ERRORS, queue[start:end], now_s=20.0, counted=counted)
        outcomes += part.outcomes
        counted |= set(part.counted)
        start = end
    assert tuple(outcomes) == whole.outcomes


def test_units_who_come_and_go_are_counted_fairly() -> None:
    """Over 20,000 users who skip steps at random, the arm less its chance averages to nothing."""
    rng, excess, variance = random.Random(1), 0.0, 0.0
    for number in range(20_000):
        seen: Sighting | None = None
        for weight in STEPS:
            if rng.random() < 0.5:
                canary = arm("fair", str(number), weight) == "canary"
                seen = sight(seen, weight=weight, canary=canary)
                p = chance(seen, weight=weight)
                excess += canary - p if p < 1 else 0.0
                variance += p * (1 - p)
    assert abs(excess) < 4 * variance**0.5
