"""Bets on a difference between canary and stable, made so that nobody wins them by luck.

Unit i has a chance p of the canary that is known before its outcome y in [0, 1] (higher is better); a = 1 if
it went there. With any centre m fixed before unit i,

    x = (a - p) (y - m)        has        E[x | past] = p (1 - p) d = v d,

where d is the effect: the mean outcome on the canary less that on stable. So for any bet g >= 0 fixed before
unit i and small enough to keep the factor positive,

    harm:  1 + g (v d - x)     has mean <= 1 if the effect is d or more,
    gain:  1 + g (x - v d)     has mean <= 1 if the effect is d or less,

and the product of the factors, the wealth of a gambler who began with 1, is a nonnegative supermartingale:
by Ville's inequality it ever reaches 1/alpha with a chance of at most alpha, however often one looks. This
asks nothing of the outcomes but that arms were drawn as stated: their mean may drift and they may depend on
the past.

Seven gamblers bet at once, each 1/7 of the stake: g = size / s with s the spread of outcomes so far, for
effects of 1/32 s to 2 s. Their average is a wealth too. A mixture needs no guess of the effect and costs at
most log 7; as it averages bets, not candidate means, it is exact, whatever the grid.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86
(2024), section 4 (the capital process, predictable bets, a cap on them); Ville's inequality (1939) in the
form of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform Chernoff bounds via nonnegative
supermartingales", Probability Surveys 17 (2020); for mixtures Robbins, Annals of Mathematical Statistics 41
(1970). That x has mean v d under a known chance is inverse probability weighting without the division,
which keeps it bounded at 1%.
"""

from __future__ import annotations

import math

import msgspec

SIZES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
"""Effects, in spreads of the outcome, that the gamblers bet on."""

REACH = 0.5
"""Effects are resolved within [-REACH, REACH]; beyond it a sequence says only "at least that much"."""

CAP = 0.75
"""The share of its wealth that a gambler may lose to one outcome: factors stay at 0.25 or more."""

Rows = tuple[tuple[float, ...], ...]
"""Log wealths: one row for each effect of a grid, in it one entry for each of SIZES."""


class Bet(msgspec.Struct, frozen=True, kw_only=True):
    """What is at stake on one unit, fixed before its outcome: chance 0 < p < 1, centre, bets by side."""

    p: float
    centre: float
    harm: tuple[float, ...]
    gain: tuple[float, ...]


def bet(*, p: float, centre: float, spread: float) -> Bet:
    """Place the bets. 0 < p < 1, 0 <= centre <= 1 and spread > 0 may depend on the past only.

    The worst that can come, over both arms, outcomes 0 and 1 and effects within REACH: harm loses to a
    canary's 1 or a stable's 0, gain to a canary's 0 or a stable's 1.
    """
    slack = p * (1.0 - p) * REACH
    harm = CAP / (max((1.0 - p) * (1.0 - centre), p * centre) + slack)
    gain = CAP / (max((1.0 - p) * centre, p * (1.0 - centre)) + slack)
    wanted = [size / spread for size in SIZES]
    return Bet(
        p=p,
        centre=centre,
        harm=tuple([min(one, harm) for one in wanted]),
        gain=tuple([min(one, gain) for one in wanted]),
    )


def settle(rows: Rows, bets: tuple[float, ...], *, x: float, v: float, grid: tuple[float, ...]) -> Rows:
    """Log wealths of a `gain` side after an outcome; for a `harm` side pass -x and the grid's negatives."""
    log1p = math.log1p
    return tuple(
        [
            tuple([wealth + log1p(one * (x - v * d)) for wealth, one in zip(row, bets, strict=True)])
            for row, d in zip(rows, grid, strict=True)
        ]
    )


def start(grid: tuple[float, ...]) -> Rows:
    """Everybody's log wealth before the first outcome."""
    return ((0.0,) * len(SIZES),) * len(grid)


def log_mean(row: tuple[float, ...]) -> float:
    """The log of the mean wealth of a row: the log e-value."""
    top = max(row)
    return top + math.log(math.fsum([math.exp(one - top) for one in row]) / len(row))


def e_value(log: float) -> float:
    """An e-value from its logarithm, kept within what a float holds."""
    return math.exp(min(log, 700.0))
