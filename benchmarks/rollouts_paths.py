"""Many rollouts at once: `airboss.rollouts.analysis` and the worlds it is tried in, on numpy arrays.

`Paths` repeats the arithmetic of `betting` for the two candidates that decide, for all runs in one array;
tests/rollouts/test_paths.py holds it to the original. numpy is a tool of the benchmark: the product's
analysis is plain Python, for it sees one outcome at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airboss.rollouts.betting import CAP, REACH, SIZES
from airboss.rollouts.metrics import HISTORY, WARM

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Tick = tuple[Floats, Flags, Floats, Flags]
"""One request in every run: its outcome, whether it went to the canary, its chance, whether it counts."""

World = Callable[[np.random.Generator, int], Iterator[Tick]]
"""Makes the requests of `runs` rollouts."""


class Paths:
    """The tallies of one metric in many runs."""

    def __init__(self, runs: int, *, margin: float = 0.0) -> None:
        """Start all runs; `margin` 0 leaves out non-inferiority."""
        self.margin = margin
        self.harm = np.zeros((runs, len(SIZES)))
        self.gain = np.zeros((runs, len(SIZES)))
        self.stable_n, self.canary_n, self.stable_sum, self.squares = np.zeros((4, runs))

    def observe(self, tick: Tick) -> None:
        """One outcome in every run in which it counts."""
        y, canary, p, counts = tick
        centre = (self.stable_sum + 0.5) / (self.stable_n + 1)
        spread = np.sqrt((self.squares + 0.25) / (self.stable_n + self.canary_n + 1))
        wanted = np.array(SIZES) / spread[:, None]
        x, v = (canary - p) * (y - centre), p * (1 - p)
        ends = np.maximum((1 - p) * (1 - centre), p * centre), np.maximum((1 - p) * centre, p * (1 - centre))
        bets = np.minimum(wanted, CAP / (ends[0] + v * REACH)[:, None])
        self.harm += np.log1p(bets * np.where(counts, -x, 0.0)[:, None])
        if self.margin:
            bets = np.minimum(wanted, CAP / (ends[1] + v * REACH)[:, None])
            self.gain += np.log1p(bets * np.where(counts, x + v * self.margin, 0.0)[:, None])
        self.stable_n += counts & ~canary
        self.canary_n += counts & canary
        self.stable_sum += np.where(counts & ~canary, y, 0.0)
        self.squares += np.where(counts, (y - centre) ** 2, 0.0)


def log_mean(wealths: Floats) -> Floats:
    """The log e-value of every run."""
    top = wealths.max(axis=1)
    return np.asarray(top + np.log(np.exp(wealths - top[:, None]).mean(axis=1)))


class ZTest:
    """What everyone does first: a one-sided test of two means, looked at after every request.

    From 30 outcomes of each arm on, with the variances of the samples.
    """

    def __init__(self, runs: int) -> None:
        """Start all runs."""
        self.n, self.sum, self.squares = np.zeros((3, 2, runs))

    def observe(self, tick: Tick) -> Flags:
        """One outcome in every run; in which of them the test says harm at 5% now."""
        y, canary, _, _ = tick
        for side, at in ((~canary, 0), (canary, 1)):
            self.n[at] += side
            self.sum[at] += y * side
            self.squares[at] += y * y * side
        mean = self.sum / np.maximum(self.n, 1)
        variance = (self.squares / np.maximum(self.n, 1) - mean**2) / np.maximum(self.n, 1)
        error = np.sqrt(np.maximum(variance.sum(axis=0), 1e-12))
        return np.asarray((self.n.min(axis=0) >= 30) & (mean[0] - mean[1] > 1.6449 * error))


@dataclass(frozen=True)
class Result:
    """What became of the runs.

    `aborted_at` and `promoted_at` are how many canary units had counted then, infinite for never;
    `promoted_first` is the share of runs that were promoted before they were aborted, if ever.
    """

    aborted_at: Floats
    promoted_at: Floats
    promoted_first: float
    z_aborted: float


def run(
    world: World, *, runs: int, seed: int, alpha: float, margin: float = 0.0, until_abort: bool = False
) -> Result:
    """Play a world out, looking after every request."""
    rng = np.random.default_rng(seed)
    paths, z = Paths(runs, margin=margin), ZTest(runs)
    aborted_at, promoted_at = np.full((2, runs), np.inf)
    z_aborted, promoted_first = np.zeros((2, runs), bool)
    need = -np.log(alpha)
    for tick in world(rng, runs):
        paths.observe(tick)
        z_aborted |= z.observe(tick)
        harm = (log_mean(paths.harm) >= need) & np.isinf(aborted_at)
        aborted_at[harm] = paths.canary_n[harm]
        if margin:
            gain = (log_mean(paths.gain) >= need) & np.isinf(promoted_at)
            promoted_at[gain] = paths.canary_n[gain]
            promoted_first |= gain & np.isinf(aborted_at)
        if until_abort and np.isfinite(aborted_at).mean() > 0.6:
            break
    return Result(
        aborted_at=aborted_at,
        promoted_at=promoted_at,
        promoted_first=float(promoted_first.mean()),
        z_aborted=float(z_aborted.mean()),
    )


Draw = Callable[[np.random.Generator, Flags], Floats]
"""Outcomes of one request in every run, given whether it went to the canary."""


def yes(stable: float, canary: float | None = None) -> Draw:
    """Outcomes 0 and 1; the rates of 1 of the two arms."""
    rates = np.array([stable, stable if canary is None else canary])
    return lambda rng, side: (rng.random(side.size) < rates[side.astype(int)]).astype(float)


def beta(a: float, b: float, *, worse: float = 0.0) -> Draw:
    """Beta scores; the canary's are multiplied so that their mean is lower by `worse`."""
    shrink = 1 - worse * (a + b) / a
    return lambda rng, side: rng.beta(a, b, side.size) * np.where(side, shrink, 1.0)


def two_point(low: float, high: float, share: float) -> Draw:
    """Scores of two values, `high` with the given share."""
    return lambda rng, side: np.where(rng.random(side.size) < share, high, low)


def requests(draw: Draw, *, schedule: Sequence[tuple[float, int]]) -> World:
    """Requests without user or session: `schedule` is the weight of each step and its requests."""

    def world(rng: np.random.Generator, runs: int) -> Iterator[Tick]:
        every = np.ones(runs, bool)
        for weight, count in schedule:
            p = np.full(runs, weight)
            for _ in range(count):
                side = rng.random(runs) < weight
                yield draw(rng, side), side, p, every

    return world


def ranked(values: Callable[[np.random.Generator, int], Floats], *, weight: float, count: int) -> World:
    """Heavy-tailed values, as ranks in the last stable ones; both arms alike, lower is better."""

    def world(rng: np.random.Generator, runs: int) -> Iterator[Tick]:
        ring, filled = np.full((runs, HISTORY), np.nan), np.zeros(runs, int)
        p, every = np.full(runs, weight), np.arange(runs)
        for _ in range(count):
            side, value = rng.random(runs) < weight, values(rng, runs)
            known = np.minimum(filled, HISTORY)
            y = (ring > value[:, None]).sum(axis=1) / np.maximum(known, 1)  # NaN is not above anything
            yield y, side, p, known >= WARM
            stable = every[~side]
            ring[stable, filled[stable] % HISTORY] = value[stable]
            filled[stable] += 1

    return world


def sticky(
    *,
    schedule: Sequence[tuple[float, int]],
    users: int = 200,
    counting: str = "conditional",
    rates: tuple[float, float] = (1.0, 9.0),
) -> World:
    """Users who keep their arm and have a failure rate of their own, from a beta distribution; arms alike.

    `counting`: `conditional`, each user once per step with the chance given earlier arms (what Airboss does);
    `plain`, once per step with the step's weight; `every`, each request.
    """

    def world(rng: np.random.Generator, runs: int) -> Iterator[Tick]:
        place, rate = rng.random((runs, users)), rng.beta(*rates, (runs, users))
        seen_at = np.zeros((runs, users))  # the highest weight that a user was seen at before this step
        every = np.arange(runs)
        for weight, count in schedule:
            met = np.zeros((runs, users), bool)
            for _ in range(count):
                user = rng.integers(0, users, runs)
                side = place[every, user] < weight
                y = (rng.random(runs) >= rate[every, user]).astype(float)
                before = seen_at[every, user]
                moved = place[every, user] < before  # on the canary in an earlier step, and seen there
                first = ~met[every, user]
                met[every, user] = True
                p = np.full(runs, weight)
                if counting == "conditional":
                    p = np.where(moved, weight, (weight - before) / (1 - before))
                    yield y, side, p, first & ~moved
                else:
                    yield y, side, p, first | (counting == "every")
            seen_at[met] = weight

    return world
