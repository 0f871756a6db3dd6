"""What a rollout watches: each metric turns a value into an outcome in [0, 1], higher is better.

- `mean`: values from 0 to 1 (errors, scores, feedback). The effect is one of means. What one beyond
  them is worth nobody knows: for promotion the worst (`analysis`).
- `rank`: heavy tails such as cost. The outcome is the share of the last stable values that lie above the
  value (ties half). One call of 1,000 times the usual cost moves it no further than the dearest of the
  usual ones.
- `tail`: `latency_p95` and the like. The outcome is whether the value is at or under that quantile of the
  last stable values. The effect is minus the difference of shares that are slower than that.

Rank and tail compare with past values of stable only, so that the transform is fixed before the outcome and,
were both arms alike, gives both the same distribution: the test stays exact, whatever the tails. These two
may abort; they never have a margin, so that they never promote.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import msgspec

from airboss.domain.errors import WrongCall

Kind = Literal["mean", "rank", "tail"]
"""How values become outcomes."""

HISTORY = 256
"""So many stable values are remembered for rank and tail."""
WARM = 20
"""So many must be known before outcomes of rank and tail count."""

LARGEST = 1e300
"""What a value that never came is taken for where larger is worse: a call that hangs is slow."""

MARGINS = {"error_rate": 0.01}
"""Margins of non-inferiority where none is configured; scores have SCORE_MARGIN."""
SCORE_MARGIN = 0.05


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one rollout.

    `margin` is in the values' units, None: guard only. `quantile` belongs to `tail`. `late` is what an
    outcome counts as that has not come at its deadline: the worst, or nothing. Raises ValueError for what
    cannot be.
    """

    name: str
    kind: Kind = "mean"
    higher_is_better: bool = True
    margin: float | None = None
    quantile: float = 0.95
    late: Literal["worst", "nothing"] = "nothing"

    def __post_init__(self) -> None:
        """Refuse what the statistics could not hold."""
        if self.margin is not None and (self.kind != "mean" or not 0 < self.margin <= 0.5):
            raise ValueError(
                f"metric {self.name!r} has the margin {self.margin}; only means have one, above 0 and up to "
                "half of their range, 0.5"
            )
        if not 0 < self.quantile < 1:
            raise ValueError(f"metric {self.name!r}: 0 < quantile < 1 is needed")


def standard(name: str, *, margin: float | None = None, less_is_better: Collection[str] = ()) -> Metric:
    """The metric of a name in the configuration; raises WrongCall for one that means nothing.

    `error_rate` (value 1.0 for an error, 0.0 else), `latency_pNN`, `ttft_pNN`, `cost`, `score:NAME`. Of
    scores of these names less is better.
    """
    tail = re.fullmatch(r"(?:latency|ttft)_p([1-9]\d)", name)
    if margin is not None and (tail or name == "cost"):
        raise WrongCall(
            f"metric {name!r} has the margin {margin}, but latency and cost only guard: take the margin away"
        )
    if tail:
        quantile = int(tail[1]) / 100
        return Metric(name=name, kind="tail", higher_is_better=False, quantile=quantile, late="worst")
    if name == "cost":
        return Metric(name=name, kind="rank", higher_is_better=False)
    if name == "error_rate":
        margin = MARGINS[name] if margin is None else margin
        return Metric(name=name, higher_is_better=False, margin=margin, late="worst")
    if name.startswith("score:") and len(name) > len("score:"):
        return Metric(
            name=name,
            higher_is_better=name.removeprefix("score:") not in less_is_better,
            margin=SCORE_MARGIN if margin is None else margin,
        )
    raise WrongCall(
        f"no metric is called {name!r}; there are error_rate, latency_pNN, ttft_pNN, cost and score:NAME"
    )


def standards(
    names: Sequence[str], margins: Mapping[str, float], *, less_is_better: Collection[str] = ()
) -> tuple[Metric, ...]:
    """The metrics of a deployment's `rollout`, alpha shared equally. Raises WrongCall as `standard` does."""
    unknown = sorted(set(margins) - set(names))
    if unknown:
        raise WrongCall(f"a margin is given for {unknown[0]!r}, which is not among the metrics {list(names)}")
    return tuple(standard(name, margin=margins.get(name), less_is_better=less_is_better) for name in names)


def worst(metric: Metric) -> float:
    """The value that an outcome counts as which never came."""
    if metric.kind != "mean":
        return -LARGEST if metric.higher_is_better else LARGEST
    return 0.0 if metric.higher_is_better else 1.0


def outcome(metric: Metric, value: float, *, history: Sequence[float]) -> float | None:
    """The outcome of a value in [0, 1], higher is better; None while the history is too short."""
    if metric.kind == "mean":
        y = min(max(value, 0.0), 1.0)
        return y if metric.higher_is_better else 1.0 - y
    if len(history) < WARM:
        return None
    sign = 1.0 if metric.higher_is_better else -1.0
    if metric.kind == "tail":
        ordered = sorted([sign * one for one in history])  # best last
        limit = ordered[min(int((1.0 - metric.quantile) * len(ordered)), len(ordered) - 1)]
        return 1.0 if sign * value >= limit else 0.0
    beaten = sum([(sign * one < sign * value) + 0.5 * (one == value) for one in history])
    return beaten / len(history)


def natural(metric: Metric, effect: float) -> float:
    """An effect on outcomes as one in the metric's own units and direction."""
    return effect if metric.higher_is_better else 0.0 - effect  # never -0.0


def natural_mean(metric: Metric, mean: float) -> float:
    """A mean of outcomes in the metric's own units: for ranks and tails the share that was worse than it."""
    return mean if metric.higher_is_better else 1.0 - mean
