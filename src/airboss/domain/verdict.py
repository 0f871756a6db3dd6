"""What a rollout concluded, with the numbers that it rests on."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Conclusion = Literal["promote", "hold", "abort", "inconclusive"]
"""What to do with a canary. `hold`: go on watching. `inconclusive`: the bound came before the evidence."""

Authority = Literal["evidence", "gate", "person"]
"""What a verdict rests on: live traffic, the evaluation before it, or somebody's word."""

Finding = Literal["harm", "non_inferior", "open"]
"""What one metric shows. `harm`: the canary is worse. `non_inferior`: it is not worse by the margin."""


class MetricEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one metric at one look, in the metric's own units.

    Counts are units (users, sessions or requests) that counted. `effect` is canary minus stable and
    `[low, high]` its confidence sequence, valid at every look at once: each end fails with a chance of at
    most the level that its own decision has (`alpha_harm` towards harm, `alpha_promote` towards promotion).
    Means and effect are None while there is nothing to take them of. The effect weighs each unit by
    chance * (1 - chance), so it may differ from the difference of the means where weights changed. `harm_e`
    is the largest e-value so far against "not worse", `promote_e` the present one against "worse by the
    margin"; they decide at 1 / `alpha_harm` and 1 / `alpha_promote`. With a `margin` of None the metric
    only guards. `beyond` values were not in [0, 1]: for promotion they are the worst there could be."""

    metric: str
    finding: Finding
    higher_is_better: bool
    stable_n: int
    canary_n: int
    stable_mean: float | None
    canary_mean: float | None
    effect: float | None
    low: float
    high: float
    margin: float | None
    alpha_harm: float
    alpha_promote: float
    harm_e: float
    promote_e: float | None
    beyond: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A conclusion on a canary at `at`, in step `step` (from 0) at `weight` (0 to 1), and why. `reason` is
    one sentence for people. `metrics` is the evidence at that moment, empty before any traffic."""

    conclusion: Conclusion
    authority: Authority
    reason: str
    at: datetime
    step: int
    weight: float
    metrics: tuple[MetricEvidence, ...] = ()
