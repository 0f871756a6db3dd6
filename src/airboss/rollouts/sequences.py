"""A confidence sequence for the effect, from the same bets that decide: what is drawn is what is done.

Candidates d are kept as wealths on a grid. Each gambler's log wealth is a sum of log(1 + g (x - v d)),
which is monotone and concave in d: between two points of the grid its chord lies at or below it. Reading
chords instead of the curve therefore understates the wealth and can only widen the interval, so that a
coarse grid is conservative (which a grid of means for two unknown arms is not). The mean over gamblers of
monotone wealths is monotone, so the refused candidates are a half-line and bisection finds its end.

The set of d not refused at level alpha covers the effect at all looks at once with chance 1 - alpha, if the
effect is constant. Source: Waudby-Smith and Ramdas (2024), section 4: a confidence sequence
is the set of candidates whose wealth is below 1 / alpha.
"""

from __future__ import annotations

import math

from airboss.rollouts.betting import Rows, log_mean

_HALVINGS = 40


def lower(rows: Rows, grid: tuple[float, ...], *, alpha: float) -> float:
    """The end of `d or less` that is refused at level alpha, by the wealths of a gain side.

    The grid ascends. Returns -1.0, the trivial bound, where nothing is refused, and the grid's last point
    where all of it is.
    """
    need = -math.log(alpha)
    logs = [log_mean(row) for row in rows]
    if logs[0] < need:
        return -1.0
    last = max(at for at, log in enumerate(logs) if log >= need)
    if last == len(grid) - 1:
        return grid[-1]
    near, far = rows[last], rows[last + 1]
    inside, outside = 0.0, 1.0  # the share of the way to `far`: still refused, no longer refused
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        chord = tuple([a + middle * (b - a) for a, b in zip(near, far, strict=True)])
        inside, outside = (middle, outside) if log_mean(chord) >= need else (inside, middle)
    return grid[last] + inside * (grid[last + 1] - grid[last])


def upper(rows: Rows, grid: tuple[float, ...], *, alpha: float) -> float:
    """The end of `d or more` that is refused at level alpha, by a harm side; 1.0 where nothing is."""
    return -lower(rows[::-1], tuple([-d for d in reversed(grid)]), alpha=alpha)
