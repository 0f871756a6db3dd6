"""The fold over outcomes."""

from __future__ import annotations

import json
import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from airboss.domain.errors import WrongCall
from airboss.rollouts.analysis import (
    AnalysisState,
    Outcome,
    begin,
    canary_units,
    conclude,
    evidence,
    harm_level,
    observe,
)
from airboss.rollouts.metrics import HISTORY, Metric, standard, standards

METRICS = standards(["error_rate", "cost", "latency_p95", "score:tone"], {})

outcomes = st.builds(
    Outcome,
    metric=st.sampled_from([metric.name for metric in METRICS]),
    canary=st.booleans(),
    chance=st.sampled_from([0.0, 0.01, 0.25, 0.5, 1.0]),
    value=st.floats(0, 1),
)


def fold(state: AnalysisState, seen: list[Outcome]) -> AnalysisState:
    """The state after all of them."""
    for one in seen:
        state = observe(state, one)
    return state


def traffic(seed: int, count: int, rates: dict[str, tuple[float, float]]) -> list[Outcome]:
    """Outcomes 0 and 1 of metrics whose rates on stable and canary are given."""
    rng, chance = random.Random(seed), 0.5
    seen = []
    for _ in range(count):
        canary = rng.random() < chance
        seen += [
            Outcome(metric=name, canary=canary, chance=chance, value=float(rng.random() < pair[canary]))
            for name, pair in rates.items()
        ]
    return seen


@settings(max_examples=50, deadline=None)
@given(seen=st.lists(outcomes, max_size=150), cut=st.integers(0, 150))
def test_a_stored_state_goes_on_as_if_nothing_had_happened(seen: list[Outcome], cut: int) -> None:
    """Stored at any outcome and loaded again, the analysis ends in the same state."""
    whole = fold(begin(alpha=0.05, metrics=METRICS), seen)
    half = fold(begin(alpha=0.05, metrics=METRICS), seen[:cut])
    for module in (msgspec.json, msgspec.msgpack):
        loaded = module.decode(module.encode(half), type=AnalysisState)
        assert loaded == half
        assert fold(loaded, seen[cut:]) == whole


@settings(max_examples=30, deadline=None)
@given(seen=st.lists(outcomes, max_size=80))
def test_metrics_do_not_meet(seen: list[Outcome]) -> None:
    """How the outcomes of different metrics interleave makes no difference."""
    mixed = fold(begin(alpha=0.05, metrics=METRICS), seen)
    sorted_ = fold(begin(alpha=0.05, metrics=METRICS), sorted(seen, key=lambda one: one.metric))
    assert mixed == sorted_


def test_a_certain_chance_says_nothing() -> None:
    """A unit that could not have gone elsewhere leaves the state as it is."""
    state = fold(begin(alpha=0.05, metrics=METRICS), traffic(1, 50, {"error_rate": (0.1, 0.1)}))
    for chance in (0.0, 1.0):
        seen = Outcome(metric="error_rate", canary=True, chance=chance, value=1.0)
        assert observe(state, seen) == state


def test_the_state_stays_small() -> None:
    """For four metrics it takes under 16 KB, after thousands of outcomes as after hundreds."""
    rng, state, sizes = random.Random(2), begin(alpha=0.05, metrics=METRICS), []
    for count in range(2_000):
        for metric in METRICS:
            value = rng.lognormvariate(0, 1) if metric.kind != "mean" else rng.random()
            seen = Outcome(metric=metric.name, canary=rng.random() < 0.2, chance=0.2, value=value)
            state = observe(state, seen)
        if count in (500, 1_999):
            sizes.append(len(msgspec.msgpack.encode(state)))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert sizes[1] < 16_384
    assert len(state.tallies[1].history) == HISTORY


def test_history_is_of_stable_alone() -> None:
    """A canary's costs are measured against stable's and never become the measure."""
    state = begin(alpha=0.05, metrics=(standard("cost"),))
    for at in range(30):
        seen = Outcome(metric="cost", canary=at % 2 == 1, chance=0.5, value=float(at % 2))
        state = observe(state, seen)
    assert set(state.tallies[0].history) == {0.0}
    assert canary_units(state) == 0, "there are 15 stable values, and 20 are needed"


def test_one_harmed_metric_aborts() -> None:
    """Harm of any metric is an abort, though all others are well; it stays one, whatever comes after."""
    state = begin(alpha=0.05, metrics=METRICS)
    state = fold(state, traffic(3, 400, {"error_rate": (0.01, 0.01), "score:tone": (0.9, 0.5)}))
    assert conclude(state) == "abort"
    assert [one.finding for one in evidence(state)][-1] == "harm"
    state = fold(state, traffic(4, 2_000, {"score:tone": (0.2, 0.9)}))
    assert conclude(state) == "abort"


def test_promotion_needs_every_metric_with_a_margin() -> None:
    """One metric within its margin is not enough; all of them are."""
    metrics = standards(["error_rate", "score:tone"], {"error_rate": 0.05, "score:tone": 0.1})
    state = fold(begin(alpha=0.05, metrics=metrics), traffic(5, 1_500, {"error_rate": (0.02, 0.02)}))
    assert evidence(state)[0].finding == "non_inferior"
    assert conclude(state) == "hold"
    state = fold(state, traffic(6, 3_000, {"score:tone": (0.8, 0.82)}))
    assert conclude(state) == "promote"


def test_guards_abort_and_never_promote() -> None:
    """However cheap and quick a canary is, that alone promotes nothing; dear or slow, it is aborted."""
    metrics = standards(["cost", "latency_p95"], {})
    for factor, expected in ((0.3, "hold"), (3.0, "abort")):
        rng, state = random.Random(7), begin(alpha=0.05, metrics=metrics)
        for _ in range(1_500):
            canary = rng.random() < 0.5
            for metric in metrics:
                value = rng.paretovariate(0.9) * (factor if canary else 1.0)
                state = observe(state, Outcome(metric=metric.name, canary=canary, chance=0.5, value=value))
        assert conclude(state) == expected


@pytest.mark.parametrize("value", [5.0, -1.0, 1.5])
def test_what_is_beyond_the_range_promotes_nobody(value: float) -> None:
    """A scale of 1 to 5, say: nobody takes such values for the best there is. They are told, alone they
    promote nobody, a few hold up nothing, and of harm they say nothing."""
    metrics, few = (standard("score:stars"),), traffic(5, 20, {"score:stars": (0.8, 0.8)})
    many = traffic(5, 3_000, {"score:stars": (0.8, 0.8)})
    stars = fold(begin(alpha=0.05, metrics=metrics), [replace(one, value=value) for one in many])
    (found,) = evidence(stars)
    assert (conclude(stars), found.beyond, found.canary_n) == ("hold", 3_000, 0)
    some = fold(begin(alpha=0.05, metrics=metrics), [replace(one, value=value) for one in few] + many)
    assert (conclude(some), evidence(some)[0].beyond) == ("promote", 20)
    assert conclude(fold(stars, traffic(6, 3_000, {"score:stars": (0.8, 0.4)}))) == "abort"


def test_promotion_is_taken_back_harm_is_not() -> None:
    """Non-inferiority counts as it stands now: a canary that turns bad later is not promoted."""
    metrics = (standard("error_rate", margin=0.05),)
    state = fold(begin(alpha=0.05, metrics=metrics), traffic(8, 800, {"error_rate": (0.02, 0.02)}))
    assert conclude(state) == "promote"
    state = fold(state, traffic(9, 400, {"error_rate": (0.02, 0.3)}))
    assert conclude(state) != "promote"


def test_alpha_is_shared() -> None:
    """Each metric may say harm at its part of alpha; promotion of each has the whole."""
    metrics = (Metric(name="a"), Metric(name="b", margin=0.1))
    state = begin(alpha=0.04, metrics=metrics)
    assert harm_level(state) == 0.02
    assert [one.alpha_promote for one in evidence(state)] == [0.04, 0.04]


def test_golden_numbers() -> None:
    """A fixed sequence of outcomes has these e-values: a change of the bets is a change of the method."""
    metric = Metric(name="error_rate", higher_is_better=False, margin=0.05)
    seen = [
        Outcome(metric="error_rate", canary=at % 3 == 0, chance=0.25, value=float(at % 7 == 0))
        for at in range(120)
    ]
    one = evidence(fold(begin(alpha=0.05, metrics=(metric,)), seen))[0]
    assert (one.stable_n, one.canary_n) == (80, 40)
    assert (one.harm_e, one.promote_e, one.low, one.high, one.effect) == pytest.approx(GOLDEN, rel=1e-9)


GOLDEN = (
    1.5138938290732247,
    0.752916633752106,
    -0.2191450041140342,
    0.26738286338586476,
    0.0,
)


def test_the_effect_is_the_difference_of_the_means_that_stand_beside_it() -> None:
    """At one chance for all, however few and uneven the arms are; so 0 where nobody saw an error."""
    for values in ([0.0] * 9, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]):
        seen = [
            Outcome(metric="error_rate", canary=at % 3 > 0, chance=0.5, value=value)
            for at, value in enumerate(values)
        ]
        one = evidence(
            fold(begin(alpha=0.05, metrics=(Metric(name="error_rate", higher_is_better=False),)), seen)
        )[0]
        assert (one.stable_mean, one.canary_mean, one.effect) != (None, None, None)
        assert one.effect == pytest.approx((one.canary_mean or 0) - (one.stable_mean or 0), abs=1e-12)


def test_a_day_that_is_bad_for_both_arms_is_no_effect() -> None:
    """At 10% a fifth of calls fail, at 50% half, on both arms alike: only the plain means differ."""
    seen = [
        Outcome(
            metric="error_rate", canary=at % arms == 0, chance=1 / arms, value=float(at // arms % bad == 0)
        )
        for arms, bad in ((10, 5), (2, 2))
        for at in range(1000)
    ]
    one = evidence(
        fold(begin(alpha=0.05, metrics=(Metric(name="error_rate", higher_is_better=False),)), seen)
    )[0]
    assert one.canary_mean is not None
    assert one.stable_mean is not None
    assert one.effect is not None
    assert one.canary_mean - one.stable_mean > 0.1
    assert abs(one.effect) < 0.001


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0, math.nan])
def test_alpha_must_be_a_small_chance(alpha: float) -> None:
    """An alpha of nothing or of a half decides nothing."""
    with pytest.raises(ValueError, match="alpha is"):
        begin(alpha=alpha, metrics=METRICS)


def test_metrics_are_named_once() -> None:
    """No metrics, or one twice, is refused, and so is an outcome of an unknown one or without a number."""
    with pytest.raises(ValueError, match="each once"):
        begin(alpha=0.05, metrics=())
    with pytest.raises(ValueError, match="each once"):
        begin(alpha=0.05, metrics=(METRICS[0], METRICS[0]))
    state = begin(alpha=0.05, metrics=METRICS)
    with pytest.raises(ValueError, match="not watched"):
        observe(state, Outcome(metric="speed", canary=True, chance=0.5, value=1.0))
    with pytest.raises(ValueError, match="cannot count"):
        observe(state, Outcome(metric="cost", canary=True, chance=0.5, value=math.inf))
    with pytest.raises(WrongCall):
        standards(["speed"], {})


@pytest.mark.parametrize("after", [0, 150, 3_000])
def test_harm_stands_beside_the_interval_that_found_it(after: int) -> None:
    """A batch may go on long after harm was found, and what comes then may speak for the canary: what is
    shown is what decided, all of it on harm's side of 0."""
    low, high = (0.02, 0.3), (0.3, 0.02)
    for metric, bad, good in (
        (Metric(name="errors", higher_is_better=False), low, high),
        (Metric(name="tone"), high, low),
    ):
        seen = traffic(3, 300, {metric.name: bad}) + traffic(4, after, {metric.name: good})
        (found,) = evidence(fold(begin(alpha=0.05, metrics=(metric,)), seen))
        assert found.finding == "harm"
        assert found.low > 0.0 if metric.name == "errors" else found.high < 0.0
        assert found.effect is not None
        assert found.low <= found.effect <= found.high


def test_a_rollout_goes_on_with_the_units_that_an_older_version_counted() -> None:
    """One that was begun before units were weighed: the effect is of all of them, not of the new ones."""
    metric = Metric(name="error_rate", higher_is_better=False)
    seen = traffic(11, 60, {metric.name: (0.2, 0.3)})
    whole = fold(begin(alpha=0.05, metrics=(metric,)), seen)
    for cut in (60, 40):
        kept = fold(begin(alpha=0.05, metrics=(metric,)), seen[:cut])
        old = json.loads(msgspec.json.encode(kept))
        for name in ("stable_weight", "stable_weighted", "canary_weight", "canary_weighted", "early"):
            del old["tallies"][0][name]
        loaded = msgspec.json.decode(json.dumps(old), type=AnalysisState)
        (now,), (known,) = evidence(fold(loaded, seen[cut:])), evidence(whole)
        assert now.effect == pytest.approx(known.effect)
        assert replace(now, effect=None) == replace(known, effect=None)
