"""Scores over time, by deployment, name and release. It reads the record log a bounded number of times."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from airboss.console.desk import Desk
from airboss.console.marks import Placed, placed
from airboss.console.query import Period
from airboss.console.shares import TimeMark, step_of, time_marks
from airboss.domain.ports import RecordFilter, ScoreStats
from airboss.domain.score import Score
from airboss.evaluations.from_records import OWN_KEY

STEPS = 24
"""Steps of a curve at most: the log is asked once for each."""

WIDTH, HEIGHT = 1_000, 100

LOOKED_AT = 200
"""Calls, the newest, among which one is looked for that a scorer failed at."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of one step, `x` and `y` in percent of the picture; `n` calls had a number."""

    x: float
    y: float
    mean: float
    n: int
    start: datetime
    end: datetime


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One release. `runs` are stretches without a gap, as SVG points in a picture of `WIDTH` x `HEIGHT`."""

    release: str
    whole: ScoreStats
    points: tuple[Point, ...]
    runs: tuple[str, ...]


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One score of one deployment. `low` and `high` are the ends of its axis; a score that lies in 0 to 1 has
    an axis from 0 to 1, so that no small change looks large. `changed` is what changed meanwhile."""

    deployment: str
    name: str
    low: float
    high: float
    curves: tuple[Curve, ...]
    marks: tuple[TimeMark, ...]
    changed: tuple[Placed, ...]

    @property
    def n(self) -> int:
        """Calls with a number."""
        return sum(each.whole.n for each in self.curves)

    @property
    def unscored(self) -> int:
        """Calls without a score, where not one has it; else 0."""
        given = self.n or any(each.whole.labelled for each in self.curves)
        return 0 if given else sum(each.whole.unscored for each in self.curves)


def last_failure(desk: Desk, period: Period, panel: Panel) -> Score | None:
    """The newest score of a panel without any, which says why; None where the newest calls have none."""
    where = RecordFilter(since=period.since, until=period.until, deployment=panel.deployment)
    ids = [each.id for each in desk.log.records(where, limit=LOOKED_AT, bodies=False)]
    failed = [each for each in desk.log.scores_of(ids) if each.name == panel.name and each.unscored]
    return failed[-1] if failed else None


def panels(desk: Desk, period: Period, *, deployment: str | None) -> tuple[Panel, ...]:
    """Every score of the period, or of one deployment; our own calls do not count. Raises
    StoreUnavailable."""
    whole = [
        each
        for each in desk.log.score_stats(period.since, period.until, without_key=OWN_KEY)
        if deployment in (None, each.deployment)
    ]
    if not whole:
        return ()
    step = step_of(period, points=STEPS)
    first = int(period.since.timestamp() // step) * step
    steps: list[tuple[datetime, datetime, list[ScoreStats]]] = []
    for at in range(first, int(period.until.timestamp()) + 1, step):
        start = max(period.since, datetime.fromtimestamp(at, UTC))
        end = min(period.until, datetime.fromtimestamp(at + step, UTC))
        if start < end:
            found = desk.log.score_stats(start, end, without_key=OWN_KEY)
            steps.append((start, end, list(found)))
    keys = sorted({(each.deployment, each.name) for each in whole})
    changed = {name: placed(desk, period, deployment=name) for name in {key[0] for key in keys}}
    return tuple(panel(key, whole, steps, period, changed[key[0]]) for key in keys)


def panel(
    key: tuple[str, str],
    whole: list[ScoreStats],
    steps: list[tuple[datetime, datetime, list[ScoreStats]]],
    period: Period,
    changed: tuple[Placed, ...],
) -> Panel:
    """One score of one deployment."""
    means = [
        each.mean
        for _, _, found in steps
        for each in found
        if (each.deployment, each.name) == key and each.mean is not None
    ]
    low, high = min([0.0, *means]), max([1.0, *means])
    return Panel(
        deployment=key[0],
        name=key[1],
        low=low,
        high=high,
        curves=tuple(
            curve(each, steps, period, low=low, high=high)
            for each in whole
            if (each.deployment, each.name) == key
        ),
        marks=time_marks(period),
        changed=changed,
    )


def curve(
    whole: ScoreStats,
    steps: list[tuple[datetime, datetime, list[ScoreStats]]],
    period: Period,
    *,
    low: float,
    high: float,
) -> Curve:
    """One release's curve."""
    points: list[Point] = []
    runs: list[list[str]] = [[]]
    for start, end, found in steps:
        own = next(
            (
                each
                for each in found
                if (each.deployment, each.name, each.release) == (whole.deployment, whole.name, whole.release)
            ),
            None,
        )
        if own is None or own.mean is None:
            runs.append([])
            continue
        middle = start + (end - start) / 2
        x = 100 * (middle - period.since).total_seconds() / period.seconds
        y = 100 * (high - own.mean) / (high - low)
        points.append(Point(x=round(x, 2), y=round(y, 2), mean=own.mean, n=own.n, start=start, end=end))
        runs[-1].append(f"{x * WIDTH / 100:.1f},{y * HEIGHT / 100:.1f}")
    return Curve(
        release=whole.release,
        whole=whole,
        points=tuple(points),
        runs=tuple(" ".join(run) for run in runs if len(run) > 1),
    )
