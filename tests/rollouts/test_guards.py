"""Nothing rises or is promoted before its guards have looked, and while nothing answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from airboss.rollouts.analysis import (
    AnalysisState,
    Outcome,
    begin,
    canary_units,
    conclude,
    evidence,
    guards,
    observe,
)
from airboss.rollouts.metrics import standards
from airboss.rollouts.stages import Decision, Look, Rules, Stage, decide

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WIDE = {"error_rate": 0.45}
METRICS = standards(["error_rate", "latency_p95", "cost"], WIDE)
UNITS = 50


def at(state: AnalysisState, *, steps: tuple[float, ...] = (0.5,), seconds: float = 1.0) -> Decision:
    """What a look at a running rollout's first step decides, so long after it began."""
    look = Look(
        at=NOON + timedelta(seconds=seconds),
        conclusion=conclude(state),
        evidence=evidence(state),
        units=canary_units(state),
        guards=guards(state, units=UNITS, weight=0.5),
    )
    rules = Rules(steps=steps, step_units=UNITS, step_s_max=100)
    return decide(rules, Stage(state="running", since=NOON), look)


def calls(seed: int, count: int, *, slow: float = 1.0, fails: float = 0.0) -> Iterator[list[Outcome]]:
    """Users of both arms and what each one's call showed; the canary's take `slow` times as long."""
    rng = random.Random(seed)
    for _ in range(count):
        canary = rng.random() < 0.5
        failed = rng.random() < fails
        said = {"error_rate": float(failed)}
        if not failed:
            said |= {"latency_p95": rng.lognormvariate(0, 0.5) * (slow if canary else 1), "cost": 0.1}
        yield [Outcome(metric=name, canary=canary, chance=0.5, value=value) for name, value in said.items()]


def outcome_of(
    state: AnalysisState, seen: Iterator[list[Outcome]], *, steps: tuple[float, ...] = (0.5,)
) -> Decision:
    """The first decision that ends a step."""
    for number, each in enumerate(seen):
        for one in each:
            state = observe(state, one)
        if number % 3:
            continue
        decided = at(state, steps=steps)
        if decided.stage.state != "running" or decided.stage.step:
            return decided
    raise AssertionError(f"the step did not end: {at(state).verdict}")


@pytest.mark.parametrize("steps", [(0.5,), (0.5, 0.9)])
def test_a_wide_margin_outruns_no_guard(steps: tuple[float, ...]) -> None:
    """Errors are within a margin of 45 points after a dozen users, and stable is known well enough to call
    an answer slow after 20: a canary that takes three times as long is taken back, and does not rise."""
    for seed in range(20):
        slow = outcome_of(begin(alpha=0.05, metrics=METRICS), calls(seed, 2_000, slow=3.0), steps=steps)
        assert (slow.stage.state, slow.stage.step) == ("aborted", 0), f"seed {seed}"
        like = outcome_of(begin(alpha=0.05, metrics=METRICS), calls(seed, 2_000), steps=steps)
        assert like.stage.state == ("promoted" if len(steps) == 1 else "running"), f"seed {seed}"
        assert like.verdict is not None
        assert min(each.canary_n for each in like.verdict.metrics) >= UNITS


def test_who_is_waited_for_is_told() -> None:
    """What lacks: stable's values to compare with, then units of the canary."""
    state, reasons = begin(alpha=0.05, metrics=METRICS), set()
    for each in calls(1, 250):
        for one in each:
            state = observe(state, one)
        verdict = at(state).verdict
        assert verdict is not None
        reasons.add(verdict.reason)
    shown = "within the margin in error_rate"
    assert f"{shown}; 16 of 50 units of this step" in reasons
    assert f"{shown}; waits for latency_p95 (41 of 50 units), cost (41 of 50 units)" in reasons
    assert shown in reasons


@pytest.mark.parametrize(("lacks", "arms"), [("stable", (True,)), ("the canary", (False,)), ("stable", ())])
def test_values_that_never_come_are_not_waited_for(lacks: str, arms: tuple[bool, ...]) -> None:
    """A model without a price has no cost: once as many users as a step wants have counted without one, the
    rollout goes on, and says so."""
    for seed in range(5):
        seen = (
            [one for one in each if one.metric != "cost" or one.canary in arms] for each in calls(seed, 2_000)
        )
        decided = outcome_of(begin(alpha=0.05, metrics=METRICS), seen)
        assert decided.stage.state == "promoted"
        assert decided.verdict is not None
        errors, latency, _ = decided.verdict.metrics
        assert min(errors.canary_n, latency.canary_n) >= UNITS
        assert decided.verdict.reason.endswith(f"; cost guards nothing, {lacks} has no values of it")


def test_a_guard_is_waited_for_as_long_as_the_step_may_last() -> None:
    """Of few users there may never be enough: then the bound in time ends the wait, and the verdict says of
    which there was too little."""
    state = begin(alpha=0.05, metrics=METRICS)
    for each in calls(3, 36):
        for one in each:
            state = observe(state, one)
    assert conclude(state) == "promote"
    assert at(state, seconds=99).stage.state == "running"
    for steps, ended in (((0.5,), ("promoted", 0)), ((0.5, 0.9), ("running", 1))):
        decided = at(state, seconds=100, steps=steps)
        assert (decided.stage.state, decided.stage.step) == ended
        assert decided.verdict is not None
        assert (
            " of 50 units of this step, its time was up; not enough of latency_p95 ("
            in decided.verdict.reason
        )


def test_while_nothing_answers_nothing_is_promoted() -> None:
    """In an outage a canary fails as often as stable, so that it is no worse, and nobody has seen what it
    answers. It waits, and is inconclusive in the end; when both answer again it is judged by that."""
    state = begin(alpha=0.05, metrics=METRICS)
    for each in calls(4, 3_000, fails=1.0):
        for one in each:
            state = observe(state, one)
    assert conclude(state) == "promote", "it is no worse than stable"
    for steps in ((0.5,), (0.5, 0.9)):
        held = at(state, steps=steps)
        assert (held.stage.state, held.stage.step) == ("running", 0)
        assert held.verdict is not None
        assert "100 % of the canary's units fail, which is never promoted" in held.verdict.reason
    assert at(state, seconds=100).stage.state == "inconclusive"
    well = state
    for each in calls(5, 4_000):
        for one in each:
            well = observe(well, one)
    assert at(well).stage.state == "promoted"
