"""Who answered: a deployment's calls by release over time, stacked. Geometry only. Pure.

A step without a call is a gap: no share of nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from airboss.console.query import STEPS_S, Period
from airboss.domain.ports import ReleaseBucket

WIDTH, HEIGHT = 1_000, 100
"""Of the picture, in its own units; it is stretched to the place it has."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One release on one arm: what it answered in all, and its blocks as an SVG path. `share` is 0 to 1."""

    release: str
    arm: str
    requests: int
    errors: int
    counted: int
    share: float
    path: str


class TimeMark(msgspec.Struct, frozen=True, kw_only=True):
    """A time on the axis, in percent of the width; of steps of days, `day` is what there is to say."""

    left: float
    at: datetime
    day: bool


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment's picture, stable at the bottom; `requests` is all that is drawn, `own` counts the calls
    of our own, which are not."""

    parts: tuple[Part, ...]
    requests: int
    own: int
    marks: tuple[TimeMark, ...]


DAY_S = 86_400
ARMS = ("stable", "never", "canary", "always", "preview", "override")
OWN_ARMS = frozenset({"shadow", "override"})
"""Of our own calls alone: what they do is no traffic."""


def step_of(period: Period, *, points: int) -> int:
    """The shortest step that gives at most `points` of them."""
    return next((step for step in STEPS_S if period.seconds / step <= points), 7 * 86_400)


def shares(buckets: Sequence[ReleaseBucket], period: Period, *, step_s: int) -> Shares:
    """The picture of the buckets of one deployment; calls of our own are left out."""
    taken = [each for each in buckets if each.arm not in OWN_ARMS]
    since, until = period.since.timestamp(), period.until.timestamp()
    total: dict[int, int] = {}
    for each in taken:
        at = int(each.start.timestamp())
        total[at] = total.get(at, 0) + each.requests
    order = sorted(
        {(ARMS.index(each.arm) if each.arm in ARMS else 1, each.arm, each.release) for each in taken}
    )
    height = dict.fromkeys(total, 0.0)
    parts = []
    for _, arm, release in order:
        mine = [each for each in taken if (each.arm, each.release) == (arm, release)]
        blocks = []
        for each in mine:
            at = int(each.start.timestamp())
            tall = HEIGHT * each.requests / total[at]
            left = WIDTH * (max(at, since) - since) / (until - since)
            right = WIDTH * (min(at + step_s, until) - since) / (until - since)
            top = HEIGHT - height[at] - tall
            height[at] += tall
            wide = max(0.5, right - left - min(1.5, 0.15 * (right - left)))
            blocks.append(f"M{left:.1f} {top:.2f}h{wide:.1f}v{tall:.2f}h-{wide:.1f}z")
        parts.append(
            Part(
                release=release,
                arm=arm,
                requests=sum(each.requests for each in mine),
                errors=sum(each.errors for each in mine),
                counted=sum(each.counted for each in mine),
                share=sum(each.requests for each in mine) / max(1, sum(total.values())),
                path="".join(blocks),
            )
        )
    whole = sum(total.values())
    own = sum(each.requests for each in buckets) - whole
    return Shares(parts=tuple(parts), requests=whole, own=own, marks=time_marks(period))


def time_marks(period: Period) -> tuple[TimeMark, ...]:
    """At most eight round times within a period."""
    step = step_of(period, points=8)
    since, until = period.since.timestamp(), period.until.timestamp()
    first = int(since // step + 1) * step
    return tuple(
        TimeMark(
            left=round(100 * (at - since) / (until - since), 2),
            at=datetime.fromtimestamp(at, UTC),
            day=step >= DAY_S,
        )
        for at in range(first, int(until), step)
    )
