"""How values become outcomes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import WrongCall
from airboss.rollouts.metrics import (
    HISTORY,
    LARGEST,
    WARM,
    Metric,
    natural,
    outcome,
    standard,
    standards,
    worst,
)

finite = st.floats(-LARGEST, LARGEST)
kinds = st.sampled_from(
    [
        Metric(name="error_rate", higher_is_better=False),
        Metric(name="helpfulness"),
        Metric(name="cost", kind="rank", higher_is_better=False),
        Metric(name="length", kind="rank"),
        Metric(name="latency_p95", kind="tail", higher_is_better=False),
    ]
)
histories = st.lists(finite, min_size=WARM, max_size=HISTORY)


@given(metric=kinds, value=finite, history=histories)
def test_outcomes_are_bounded(metric: Metric, value: float, history: list[float]) -> None:
    """Whatever the value, its outcome lies in [0, 1]."""
    y = outcome(metric, value, history=history)
    assert y is not None
    assert 0 <= y <= 1


@given(metric=kinds, one=finite, other=finite, history=histories)
def test_better_values_are_no_worse_outcomes(
    metric: Metric, one: float, other: float, history: list[float]
) -> None:
    """Outcomes follow the metric's own direction."""
    worse, better = sorted((one, other), reverse=not metric.higher_is_better)
    low, high = (outcome(metric, value, history=history) for value in (worse, better))
    assert low is not None
    assert high is not None
    assert low <= high


def test_ranks_and_tails_wait_for_a_history() -> None:
    """There is no outcome before 64 stable values are known."""
    cost = standard("cost")
    assert outcome(cost, 1.0, history=[1.0] * (WARM - 1)) is None
    assert outcome(cost, 1.0, history=[1.0] * WARM) == 0.5


def test_a_rank_is_the_share_that_it_beats() -> None:
    """Costing less than 30 of 100 and the same as 10 is worth 0.35."""
    history = [1.0] * 60 + [2.0] * 10 + [3.0] * 30
    assert outcome(standard("cost"), 2.0, history=history) == pytest.approx(0.35)
    assert outcome(standard("cost"), LARGEST, history=history) == 0.0


@pytest.mark.parametrize("name", ["latency_p95", "ttft_p50", "latency_p99"])
def test_a_tail_is_slower_as_often_as_its_name_says(name: str) -> None:
    """With both arms alike, as many are slower as the name says, within 2 points."""
    metric, rng = standard(name), random.Random(3)
    slow = 0
    for _ in range(100):
        history = [rng.lognormvariate(0, 1) for _ in range(HISTORY)]
        for _ in range(50):
            slow += outcome(metric, rng.lognormvariate(0, 1), history=history) == 0.0
    assert slow / 5_000 == pytest.approx(1 - metric.quantile, abs=0.02)


def test_names_of_the_configuration() -> None:
    """The names mean what the configuration's reference says."""
    errors, latency, cost, score = standards(
        ["error_rate", "latency_p95", "cost", "score:helpfulness"], {"error_rate": 0.02}
    )
    assert (errors.margin, errors.higher_is_better, errors.late) == (0.02, False, "worst")
    assert (latency.kind, latency.quantile, latency.margin, latency.late) == ("tail", 0.95, None, "worst")
    assert (cost.kind, cost.margin) == ("rank", None)
    assert (score.kind, score.higher_is_better, score.late) == ("mean", True, "nothing")
    assert score.margin is not None
    refusal, other = standards(["score:refusal", "score:tone"], {}, less_is_better={"refusal"})
    assert (refusal.higher_is_better, other.higher_is_better) == (False, True)


@pytest.mark.parametrize("name", ["score:", "latency", "latency_p5", "errors", ""])
def test_other_names_are_refused(name: str) -> None:
    """A name that means nothing is refused, with those that do."""
    with pytest.raises(WrongCall, match="error_rate, latency_pNN"):
        standard(name)


def test_guards_have_no_margin() -> None:
    """Latency and cost never promote: a margin for them is refused, or for a metric not watched."""
    with pytest.raises(WrongCall, match="only guard"):
        standard("cost", margin=0.1)
    with pytest.raises(WrongCall, match="only guard"):
        standard("latency_p95", margin=0.1)
    with pytest.raises(WrongCall, match="not among"):
        standards(["error_rate"], {"score:x": 0.1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": 0.0},
        {"margin": 0.6},
        {"kind": "rank", "margin": 0.1},
        {"quantile": 1.0},
    ],
)
def test_metrics_that_cannot_be(wrong) -> None:
    """Margins and quantiles that the statistics could not hold are refused."""
    with pytest.raises(ValueError, match="metric 'm'"):
        Metric(name="m", **wrong)


@given(metric=kinds, history=histories)
def test_what_never_came_is_the_worst(metric: Metric, history: list[float]) -> None:
    """No value has a worse outcome than the one taken for a value that never came."""
    last = outcome(metric, worst(metric), history=history)
    assert last is not None
    assert last <= 0.5 * sum(one == worst(metric) for one in history) / len(history) or metric.kind == "tail"


def test_effects_read_in_the_metrics_direction() -> None:
    """Better outcomes are fewer errors and better scores."""
    assert natural(Metric(name="error_rate", higher_is_better=False), 0.1) == -0.1
    assert natural(Metric(name="helpfulness"), 0.1) == 0.1
