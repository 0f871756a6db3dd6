"""Score against tokens: every candidate a point, and the line of those that no other one beats in both.

Geometry only, in percent of the picture. Scores stand on 0 to 1 and tokens begin at 0, so that neither
axis flatters. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import msgspec

from airboss.console.picture import Tick, marks
from airboss.tuning.board import Standing

PAD = 0.08
"""Of the tokens, left free on the right."""

Role = Literal["today", "chosen", "frontier", "other"]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate; `left` and `top` in percent."""

    standing: Standing
    role: Role
    left: float
    top: float


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the frontier's line, in percent."""

    x1: float
    y1: float
    x2: float
    y2: float


class Scatter(msgspec.Struct, frozen=True, kw_only=True):
    """The picture. `untold` candidates have no place: nobody told how many tokens they take."""

    points: tuple[Point, ...]
    line: tuple[Segment, ...]
    scores: tuple[Tick, ...]
    tokens: tuple[Tick, ...]
    untold: int


def scatter(
    standings: Sequence[Standing], *, today: str, chosen: str | None, frontier: Sequence[str]
) -> Scatter | None:
    """The picture of candidates told apart by digest; None where no tokens are known at all."""
    placed = [(each, each.tokens_per_call) for each in standings if each.tokens_per_call is not None]
    most = max((tokens for _, tokens in placed), default=0.0) * (1 + PAD)
    if most <= 0:
        return None

    def role(digest: str) -> Role:
        if digest == chosen:
            return "chosen"
        return "today" if digest == today else "frontier" if digest in frontier else "other"

    points = tuple(
        Point(
            standing=each,
            role=role(each.release),
            left=round(100 * tokens / most, 2),
            top=height(each.score),
        )
        for each, tokens in placed
    )
    best = sorted((each for each in points if each.standing.release in frontier), key=lambda at: at.left)
    return Scatter(
        points=points,
        line=tuple(Segment(x1=a.left, y1=a.top, x2=b.left, y2=b.top) for a, b in itertools.pairwise(best)),
        scores=tuple(Tick(left=height(score), words=f"{score:g}") for score in (0.0, 0.25, 0.5, 0.75, 1.0)),
        tokens=tuple(
            Tick(left=round(100 * value / most, 2), words=f"{value:,.0f}") for value in marks(0.0, most)
        ),
        untold=len(standings) - len(placed),
    )


def height(score: float) -> float:
    """Where a score from 0 to 1 stands, in percent from the top."""
    return round(100 * (1 - min(max(score, 0.0), 1.0)), 2)
