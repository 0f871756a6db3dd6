"""What alarms keep of the runs that they make so often: probes of bias, and evaluations."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from airboss.store.alert_rows import AlarmRule


class ProbeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a probe ended: how many `differences` it found, or why it has no answer."""

    differences: int | None
    words: str


class EvalOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an evaluation ended: the `mean` of its scores, or why there is none. `before` is that of its
    baseline and `worse` whether it is surely worse, where it was held to one. `run` is the evaluation, None
    of one that could not be begun; `baseline` is what later ones are held to."""

    mean: float | None
    words: str
    run: str | None = None
    before: float | None = None
    worse: bool | None = None
    baseline: str | None = None


T = TypeVar("T", ProbeOutcome, EvalOutcome)


class Runs(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The runs of an alarm: `run` counts them. `job` is the one that has not ended, planned `at`; once it is
    `begun` somebody works at it. `last` is how the last ended, `refused` that it could not be begun.
    `baseline` is the run that others are held to."""

    run: int
    job: str | None
    at: datetime
    last: T | None = None
    begun: bool = True
    refused: bool = False
    baseline: str | None = None


def under_way(rule: AlarmRule, memory: object) -> str | None:
    """The job of an alarm's run that has not ended; `memory` as in `AlarmRow`."""
    if rule.kind not in ("probe", "eval") or not isinstance(memory, dict):
        return None
    job = memory.get("job")
    return job if isinstance(job, str) else None


def evaluation_of(rule: AlarmRule, memory: object) -> str | None:
    """The evaluation that an alarm's value is of; None where there is none."""
    last = memory.get("last") if rule.kind == "eval" and isinstance(memory, dict) else None
    run = last.get("run") if isinstance(last, dict) else None
    return run if isinstance(run, str) else None


def evaluation_page(rule: AlarmRule, memory: object) -> str | None:
    """The page of that evaluation: its items, and where it has a baseline those that got worse. None of an
    alarm of another kind."""
    if rule.kind != "eval":
        return None
    run = evaluation_of(rule, memory)
    if run is None or not isinstance(memory, dict):
        return "evaluations"
    held = memory["last"].get("before") is not None
    return f"evaluations/{run}{'?side=worse' if held else ''}#items"
