"""What a canary's outcomes show, looked at after every one of them.

A fold: `begin`, then `observe` each outcome in order of admission, and `conclude` or `evidence` whenever
one likes. The state is a value: store it, die, load it and go on, or replay the outcomes from the first,
and the same comes out. `betting` holds the statistics, `metrics` what counts as an outcome, `units` who
counts when.

- **Harm** of any metric aborts. Its e-value tests "not worse" (effect >= 0) and decides at 1 / alpha_k,
  where alpha_k = alpha * share_k / (sum of shares): by the union bound some metric of a canary that is no
  worse in any ever says harm with a chance of at most alpha. Once crossed it stays crossed: the metric
  counts no more, so that the numbers and the interval that are shown are those that decided.
- **Promotion** needs every metric that has a margin to be non-inferior at the same look: its e-value
  against "worse by the margin or more" (effect <= -margin) is 1 / alpha or more now. A canary that is worse
  by the margin in some metric must fool that metric's own test, so each has the whole alpha and the chance
  of a false promotion is at most alpha too (an intersection-union test: Berger, Technometrics 24, 1982).
- The two errors have an alpha each and are never added: a canary cannot be both no worse and worse by the
  margin.

The centre is the mean of stable so far, the spread that of outcomes about it; both begin with one imagined
outcome (0.5, variance 1/4). Units whose chance is 0 or 1 tell nothing about the effect and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from airboss.domain.verdict import Conclusion, Finding, MetricEvidence
from airboss.rollouts import betting, sequences
from airboss.rollouts.betting import REACH, Rows
from airboss.rollouts.metrics import HISTORY, WARM, Metric, natural, natural_mean, outcome


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One unit's value of one metric in one step.

    `chance` is what the unit's chance of the canary was, given all that was known of it before
    (`units.chance`). `value` is in the metric's own units.
    """

    metric: str
    canary: bool
    chance: float
    value: float


DRY_CALLS = 100
"""After so many calls that bring a metric nothing it is not waited for."""


class Dry(msgspec.Struct, frozen=True, kw_only=True):
    """How long one metric has learnt nothing. `idle`: calls of the canary in a row, in the step of `weight`,
    since a unit of either arm counted. `blank`: calls of either arm in a row that had no value of it."""

    weight: float = 0.0
    idle: int = 0
    blank: int = 0


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of one metric; its size does not grow with traffic.

    Sums are of outcomes in [0, 1], `squares` of their distances to the centre. A unit's weight on its arm is
    the chance that it had of the other one.
    `history` holds the last stable values of a rank or tail. `harm_top` is the largest log e-value of harm.
    `early` counts the canary's values that came before there was a history. `beyond` counts values of a mean
    that are not between 0 and 1: nobody knows what they are worth, so that for promotion they are the worst
    there could be, and for harm nothing.
    """

    harm: Rows
    gain: Rows
    stable_n: int = 0
    canary_n: int = 0
    stable_sum: float = 0.0
    canary_sum: float = 0.0
    squares: float = 0.0
    stable_weight: float = 0.0
    stable_weighted: float = 0.0
    canary_weight: float = 0.0
    canary_weighted: float = 0.0
    harm_top: float = 0.0
    history: tuple[float, ...] = ()
    early: int = 0
    beyond: int = 0
    dry: Dry = Dry()


class Guards(msgspec.Struct, frozen=True, kw_only=True):
    """Guards that are `awaited`, and those that are `silent`: in words, with how far each has come."""

    awaited: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


class AnalysisState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the analysis of one rollout stands: what it watches and a tally for each, in the same order."""

    alpha: float
    metrics: tuple[Metric, ...]
    tallies: tuple[Tally, ...]


def grid(metric: Metric) -> tuple[float, ...]:
    """The effects on outcomes whose wealth is kept: the two that decide, and some to draw an interval by."""
    margin = () if metric.margin is None else (-metric.margin,)
    return tuple(sorted({-REACH, -0.1, *margin, 0.0, 0.1, REACH}))


def begin(*, alpha: float, metrics: tuple[Metric, ...]) -> AnalysisState:
    """The state before the first outcome; raises ValueError for an alpha or metrics that decide nothing."""
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 0.5, such as 0.05")
    names = [metric.name for metric in metrics]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a rollout watches one or more metrics, each once; these are {names}")
    rows = [betting.start(grid(metric)) for metric in metrics]
    return AnalysisState(
        alpha=alpha, metrics=metrics, tallies=tuple(Tally(harm=one, gain=one) for one in rows)
    )


def observe(state: AnalysisState, seen: Outcome) -> AnalysisState:
    """The state after one more outcome. Raises ValueError for an unknown metric or a value that is no number.

    Outcomes of one metric must come in order of admission (`units.entering`); metrics may interleave freely.
    """
    if not (0.0 <= seen.chance <= 1.0 and math.isfinite(seen.value)):
        raise ValueError(f"{seen.metric}: a value of {seen.value} at a chance of {seen.chance} cannot count")
    for at, metric in enumerate(state.metrics):
        if metric.name == seen.metric:
            if state.tallies[at].harm_top >= -math.log(harm_level(state)):
                return state
            tally = _observe(metric, state.tallies[at], seen)
            tallies = (*state.tallies[:at], tally, *state.tallies[at + 1 :])
            return AnalysisState(alpha=state.alpha, metrics=state.metrics, tallies=tallies)
    raise ValueError(f"{seen.metric!r} is not watched; {[metric.name for metric in state.metrics]} are")


def _observe(metric: Metric, tally: Tally, seen: Outcome) -> Tally:
    """One metric's tally after an outcome of it."""
    p, history = seen.chance, tally.history
    if not 0.0 < p < 1.0:
        return tally
    tally = _weighed(tally, p)
    beyond = metric.kind == "mean" and not 0.0 <= seen.value <= 1.0
    y = float(not seen.canary) if beyond else outcome(metric, seen.value, history=history)
    if metric.kind != "mean" and not seen.canary:
        history = (*history[-HISTORY + 1 :], seen.value)
    if y is None:
        return msgspec.structs.replace(tally, history=history, early=tally.early + seen.canary)
    n = tally.stable_n + tally.canary_n
    centre = (tally.stable_sum + 0.5) / (tally.stable_n + 1)
    placed = betting.bet(p=p, centre=centre, spread=math.sqrt((tally.squares + 0.25) / (n + 1)))
    x, v = (seen.canary - p) * (y - centre), p * (1.0 - p)
    points = grid(metric)
    gain = betting.settle(tally.gain, placed.gain, x=x, v=v, grid=points)
    if beyond:
        return msgspec.structs.replace(tally, gain=gain, beyond=tally.beyond + 1)
    harm = betting.settle(tally.harm, placed.harm, x=-x, v=v, grid=tuple([-d for d in points]))
    canary = int(seen.canary)
    return Tally(
        harm=harm,
        gain=gain,
        stable_n=tally.stable_n + 1 - canary,
        canary_n=tally.canary_n + canary,
        stable_sum=tally.stable_sum + y * (1 - canary),
        canary_sum=tally.canary_sum + y * canary,
        squares=tally.squares + (y - centre) ** 2,
        stable_weight=tally.stable_weight + p * (1 - canary),
        stable_weighted=tally.stable_weighted + p * (1 - canary) * y,
        canary_weight=tally.canary_weight + (1 - p) * canary,
        canary_weighted=tally.canary_weighted + (1 - p) * canary * y,
        harm_top=max(tally.harm_top, betting.log_mean(harm[points.index(0.0)])),
        history=history,
        early=tally.early,
        beyond=tally.beyond,
        dry=tally.dry,
    )


def dried(state: AnalysisState, metric: str, after: Callable[[Dry], Dry]) -> AnalysisState:
    """The state after calls of which this metric may have learnt nothing (`units.dried`)."""
    tallies = [
        msgspec.structs.replace(tally, dry=after(tally.dry)) if each.name == metric else tally
        for each, tally in zip(state.metrics, state.tallies, strict=True)
    ]
    return AnalysisState(alpha=state.alpha, metrics=state.metrics, tallies=tuple(tallies))


def _weighed(tally: Tally, p: float) -> Tally:
    """A tally kept by a version that did not weigh units yet, with all of them weighed as the next one is."""
    if tally.stable_weight or tally.canary_weight:
        return tally
    return msgspec.structs.replace(
        tally,
        stable_weight=p * tally.stable_n,
        stable_weighted=p * tally.stable_sum,
        canary_weight=(1 - p) * tally.canary_n,
        canary_weighted=(1 - p) * tally.canary_sum,
    )


def conclude(state: AnalysisState) -> Conclusion:
    """`abort` on harm of any metric, `promote` if all that have a margin are within it, else `hold`."""
    findings = [
        finding(metric, tally, state.alpha, harm_level(state))
        for metric, tally in zip(state.metrics, state.tallies, strict=True)
    ]
    if "harm" in findings:
        return "abort"
    deciding = [
        found for metric, found in zip(state.metrics, findings, strict=True) if metric.margin is not None
    ]
    return "promote" if deciding and all(found == "non_inferior" for found in deciding) else "hold"


def canary_units(state: AnalysisState) -> int:
    """How many units have counted on the canary, by the metric that has counted most."""
    return max(tally.canary_n for tally in state.tallies)


def exhausted(state: AnalysisState, *, weight: float) -> bool:
    """Whether nobody new comes: in the step of `weight` no metric has learnt anything for long, though calls
    have values and the canary has been counted."""
    seen = any(tally.canary_n and tally.dry.blank < DRY_CALLS for tally in state.tallies)
    return seen and all(_idle(tally, weight) for tally in state.tallies)


def _idle(tally: Tally, weight: float) -> bool:
    return tally.dry.weight == weight and tally.dry.idle >= DRY_CALLS


def stopped(state: AnalysisState) -> tuple[str, ...]:
    """The metrics that have counted and have had no value for long: a scorer that broke, for example."""
    return tuple(
        metric.name
        for metric, tally in zip(state.metrics, state.tallies, strict=True)
        if tally.dry.blank >= DRY_CALLS and tally.stable_n + tally.canary_n
    )


def guards(state: AnalysisState, *, units: int, weight: float) -> Guards:
    """The metrics without a margin that have not guarded `units` units of the canary.

    Of which an arm has no value when so many have counted by another metric, none is waited for: a model
    without a price has no cost, however long one waits. Nor is one that learns nothing any more in the step
    of `weight`: of sixty users thirty have the canary, however often they call.
    """
    awaited, silent = [], []
    for metric, tally in zip(state.metrics, state.tallies, strict=True):
        if metric.margin is not None or tally.canary_n >= units:
            continue
        lacks = "stable" if not tally.history else "" if tally.canary_n + tally.early else "the canary"
        if lacks and canary_units(state) >= units:
            silent.append(f"{metric.name} guards nothing, {lacks} has no values of it")
            continue
        far = f"{tally.canary_n} of {units} units"
        if len(tally.history) < WARM:
            far = f"stable has {len(tally.history)} of {WARM} values to compare with"
        if _idle(tally, weight):
            brought = f"{DRY_CALLS} calls of the canary in a row brought it nothing new"
            silent.append(f"{metric.name} ({far}) is not waited for, {brought}")
        else:
            awaited.append(f"{metric.name} ({far})")
    return Guards(awaited=tuple(awaited), silent=tuple(silent))


def harm_level(state: AnalysisState) -> float:
    """The part of alpha at which one metric may say harm."""
    return state.alpha / len(state.metrics)


def finding(metric: Metric, tally: Tally, alpha: float, alpha_harm: float) -> Finding:
    """What one metric shows; harm outweighs non-inferiority where both are shown."""
    if tally.harm_top >= -math.log(alpha_harm):
        return "harm"
    log = promote_log(metric, tally)
    return "non_inferior" if log is not None and log >= -math.log(alpha) else "open"


def promote_log(metric: Metric, tally: Tally) -> float | None:
    """The present log e-value against "worse by the margin"; None for a metric that only guards."""
    if metric.margin is None:
        return None
    return betting.log_mean(tally.gain[grid(metric).index(-metric.margin)])


def effect(metric: Metric, tally: Tally) -> float | None:
    """Canary less stable, of means weighted so that users on both arms are alike; None while one has nobody.

    At one chance for all it is the difference of the plain means. A unit's weight is its chance of the other
    arm: overlap weights, Li, Morgan and Zaslavsky, JASA 113 (2018).
    """
    tally = _weighed(tally, 0.5)
    if not (tally.stable_weight and tally.canary_weight):
        return None
    canary, stable = tally.canary_weighted / tally.canary_weight, tally.stable_weighted / tally.stable_weight
    return natural(metric, canary - stable)


def evidence(state: AnalysisState) -> tuple[MetricEvidence, ...]:
    """Every metric's numbers now, in its own units, in the order of the state's metrics."""
    return tuple(
        _evidence(metric, tally, state.alpha, harm_level(state))
        for metric, tally in zip(state.metrics, state.tallies, strict=True)
    )


def _evidence(metric: Metric, tally: Tally, alpha: float, alpha_harm: float) -> MetricEvidence:
    points, promote = grid(metric), promote_log(metric, tally)
    ends = (
        natural(metric, sequences.lower(tally.gain, points, alpha=alpha)),
        natural(metric, sequences.upper(tally.harm, points, alpha=alpha_harm)),
    )
    return MetricEvidence(
        metric=metric.name,
        finding=finding(metric, tally, alpha, alpha_harm),
        higher_is_better=metric.higher_is_better,
        stable_n=tally.stable_n,
        canary_n=tally.canary_n,
        stable_mean=natural_mean(metric, tally.stable_sum / tally.stable_n) if tally.stable_n else None,
        canary_mean=natural_mean(metric, tally.canary_sum / tally.canary_n) if tally.canary_n else None,
        effect=effect(metric, tally),
        low=min(ends),
        high=max(ends),
        margin=metric.margin,
        alpha_harm=alpha_harm,
        alpha_promote=alpha,
        harm_e=betting.e_value(tally.harm_top),
        promote_e=None if promote is None else betting.e_value(promote),
        beyond=tally.beyond,
    )
