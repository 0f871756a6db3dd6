"""An anytime-valid test that something got worse than it was, for what comes in steps and never ends.

Of the n calls of a step, k are bad. If every call is bad with a chance of at most m, given all before it, a
bet of 0 <= g <= CAP / m gives the factor (1 + g (1 - m))^k (1 - g m)^(n - k), whose mean is at most 1 for all
such chances. So the wealth of a gambler who began with 1 ever reaches 1 / alpha with a chance of at most
alpha, however often one looks (Ville). A call may be bad in part, with k the sum of the parts: as the
logarithm is concave, that understates the wealth.

A gambler who began long ago has lost it all by the time that something happens. So the stake is laid out
evenly over the steps of an epoch, 1 / steps at each, and the wealth after a step is (wealth + stake) times
the factor: it finds a change whenever it comes, at the price of log(steps). It is what Shiryaev and Roberts
add up. Gamblers with bets of CAP / m, half of it, and so on bet at once; the mean of their wealths is a
wealth too. Sources: `rollouts.betting`; for changes Shin, Ramdas and Rinaldo, "E-detectors", New England
Journal of Statistics in Data Science 2 (2024).

`m` comes from a baseline: what the share was, with what chance could have hidden (the upper end of a Wilson
interval), times SLACK. So the promise is: as long as no more calls are bad than m, a test of one epoch is
false with a chance of at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from airboss.evaluations.intervals import wilson_interval
from airboss.rollouts import betting

GAMBLERS: Final = 10
"""Bets from CAP / m down to 1/512 of it."""

SLACK: Final = 1.5
"""More than the baseline's share by this part is worse; less is weather."""

NOTHING: Final = -1e9
"""The log of no wealth; JSON knows no infinity."""


CALM_CHANCE: Final = 0.01
"""Of what is half as bad, or just too bad, to look well again."""


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """A test under way: `limit` is the share that is still well, `steps` how many there are at most, `logs`
    the gamblers' log wealths, `top` the largest log e-value so far. `n` calls were seen, `bad` were bad."""

    __test__ = False  # pytest takes it for one of its own

    limit: float
    steps: int
    logs: tuple[float, ...] = (NOTHING,) * GAMBLERS
    top: float = NOTHING
    taken: int = 0
    n: int = 0
    bad: float = 0.0

    @property
    def e_value(self) -> float:
        """The largest so far."""
        return betting.e_value(self.top)


def limit(bad: int, n: int, *, least: float) -> float:
    """The share of bad calls that is still well, after a baseline of `bad` in `n` calls; `least` at least. Of
    a large share what is left of all may shrink by SLACK."""
    high = wilson_interval(bad, n, confidence=0.99).high if n else 1.0
    return min(0.999, max(least, min(SLACK * high, 1 - (1 - high) / SLACK)))


def after(test: Test, *, n: int, bad: float) -> Test:
    """The test after a step of `n` calls, `bad` of them bad, in all or in part."""
    if not n:
        return test
    m = test.limit
    # Nothing is staked beyond the last step: then what is there goes on by itself.
    stake = -math.log(test.steps) if test.taken < test.steps else NOTHING
    logs = tuple(
        [
            max(
                NOTHING,
                _added(wealth, stake) + bad * math.log1p(g * (1 - m)) + (n - bad) * math.log1p(-g * m),
            )
            for wealth, g in zip(test.logs, (betting.CAP / m / 2**at for at in range(GAMBLERS)), strict=True)
        ]
    )
    return msgspec.structs.replace(
        test,
        logs=logs,
        top=max(test.top, betting.log_mean(logs)),
        taken=test.taken + 1,
        n=test.n + n,
        bad=test.bad + bad,
    )


def evidence(test: Test, *, n: int, bad: float) -> float:
    """The log factor of a middling bet on one step: above 0 where more was bad than the limit. Summed up, and
    begun anew below 0, it tells since when."""
    g = betting.CAP / test.limit / 4
    return bad * math.log1p(g * (1 - test.limit)) + (n - bad) * math.log1p(-g * test.limit)


def stretch(steps: Sequence[tuple[int, float]], limit: float) -> tuple[int, int] | None:
    """The stretch of these steps (calls, bad ones) that speaks most for more than the limit, from one up to
    another; None where none does."""
    test = Test(limit=limit, steps=1)
    best, sum_, begins, found = 0.0, 0.0, 0, None
    for at, (n, bad) in enumerate(steps):
        if sum_ <= 0:
            sum_, begins = 0.0, at
        sum_ += evidence(test, n=n, bad=bad)
        if sum_ > best:
            best, found = sum_, (begins, at + 1)
    return found


def calm(steps: Sequence[tuple[int, float]], limit: float) -> tuple[int, int] | None:
    """The `stretch` of these steps, if all is well after it: no more are bad than the limit, and so few that
    a share of half the stretch's, at least the limit, would do so with a chance of at most CALM_CHANCE
    (Chernoff). Else None."""
    found = stretch(steps, limit)
    if found is None:
        return None
    ill, well = steps[slice(*found)], steps[found[1] :]
    n, bad = sum(n for n, _ in well), sum(bad for _, bad in well)
    if not n or bad > limit * n:
        return None
    worse = max(limit, sum(bad for _, bad in ill) / sum(n for n, _ in ill) / 2)
    unlike = _divergence(bad / n, worse) * n
    return found if unlike >= -math.log(CALM_CHANCE) else None


def _divergence(p: float, q: float) -> float:
    """Kullback and Leibler's, of two coins; 0 < q < 1."""
    return (p * math.log(p / q) if p else 0.0) + (1 - p) * math.log((1 - p) / (1 - q))


def rejected(test: Test, alpha: float) -> bool:
    """Whether it ever said that more than the limit is bad."""
    return test.top >= -math.log(alpha)


def _added(a: float, b: float) -> float:
    """The log of a sum, from the logs."""
    top = max(a, b)
    return top + math.log1p(math.exp(min(a, b) - top))
