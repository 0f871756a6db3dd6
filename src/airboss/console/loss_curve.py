"""How a model's loss fell while it was trained, on one axis from 0. Geometry only, in percent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from airboss.console.picture import Tick
from airboss.tuning.ports import Loss

WIDTH, HEIGHT = 1_000, 100
DOTS_MAX = 40
"""Points that get a mark of their own; of more only the line is drawn."""

TICKS = 5


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A step, `x` and `y` in percent of the picture."""

    x: float
    y: float
    step: int
    loss: float


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """The loss on one part: `line` as SVG points in a picture of `WIDTH` x `HEIGHT`."""

    part: Literal["training", "validation"]
    line: str
    points: tuple[Point, ...]
    first: float
    last: float


class LossCurve(msgspec.Struct, frozen=True, kw_only=True):
    """The picture; `high` is the top of its axis, `steps` are marks below it."""

    courses: tuple[Course, ...]
    high: float
    steps: tuple[Tick, ...]


def loss_curve(losses: Sequence[Loss]) -> LossCurve | None:
    """The picture of a training; None where nobody told of losses."""
    parts: dict[Literal["training", "validation"], list[tuple[int, float]]] = {
        "training": [(each.step, each.training) for each in losses if each.training is not None],
        "validation": [(each.step, each.validation) for each in losses if each.validation is not None],
    }
    every = [value for found in parts.values() for _, value in found]
    if not every:
        return None
    high = max(*every, 1e-9)
    first, last = losses[0].step, losses[-1].step
    courses = tuple(
        _course(part, found, first=first, last=last, high=high) for part, found in parts.items() if found
    )
    marks = {round(first + (last - first) * at / (TICKS - 1)) for at in range(TICKS)}
    steps = tuple(Tick(left=_across(step, first, last), words=f"{step:,}") for step in sorted(marks))
    return LossCurve(courses=courses, high=high, steps=steps)


def _course(
    part: Literal["training", "validation"],
    found: Sequence[tuple[int, float]],
    *,
    first: int,
    last: int,
    high: float,
) -> Course:
    points = tuple(
        Point(
            x=round(_across(step, first, last), 2),
            y=round(100 * (1 - loss / high), 2),
            step=step,
            loss=loss,
        )
        for step, loss in found
    )
    return Course(
        part=part,
        line=" ".join(f"{each.x * WIDTH / 100:.1f},{each.y * HEIGHT / 100:.1f}" for each in points),
        points=points if len(points) <= DOTS_MAX else (),
        first=found[0][1],
        last=found[-1][1],
    )


def _across(step: int, first: int, last: int) -> float:
    return 100 * (step - first) / (last - first) if last > first else 50.0
