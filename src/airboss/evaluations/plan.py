"""What an evaluation is to do, and what it found."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.compare import Comparison
from airboss.evaluations.datasets import Json, Part
from airboss.evaluations.few import Unit
from airboss.evaluations.gate import Decision, Gate, check_gates
from airboss.evaluations.intervals import odd_alpha
from airboss.evaluations.marks import Mark
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.pairwise import PairwiseJudge, PositionBias
from airboss.evaluations.scorers.spec import Spec

REPEATS_MAX = 20


class EvalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that an evaluation's numbers rest on, kept with it so that it can be resumed and made again.

    `a` is held against, `b` is judged; without `a`, `b` is only scored. Each is asked every item of the
    dataset's `part` `repeats` times; an item's marks are averaged over its repeats. `params` go into every
    request and win over the item's. `judges` are the releases of the judging deployments at the start.
    `folder` is what paths of scorers are relative to. With `anew` nothing that was answered before is taken;
    `held_to` is a run whose B stands for A, which is not asked then. Of an app, on either side, nothing is
    asked at all: what it answered is kept, once for each item. Once `max_usd` is spent nothing more is
    asked; calls under way then end.
    """

    dataset: str
    dataset_name: str
    part: Part
    a: Target | None = None
    b: Target
    scorers: tuple[Spec, ...]
    gates: tuple[Gate, ...] = ()
    params: Json = {}
    repeats: int = 1
    alpha: float = 0.05
    seed: int = 0
    judges: dict[str, Target] = {}
    folder: str = "."
    anew: bool = False
    held_to: str = ""
    max_usd: Decimal | None = None


class ItemResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an item on one side (`key` finds the answer), or of a pair (only `marks`)."""

    marks: dict[str, Mark]
    key: str | None = None
    error: str | None = None
    latency_ms: float | None = 0.0
    cost_usd: Decimal | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    record: str | None = None

    @property
    def complete(self) -> bool:
        """Whether there is nothing to try again: it was answered, and every scorer scored it."""
        return self.error is None and all(mark.unscored is None for mark in self.marks.values())


class ArmTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One side's answers: how many there are, and calls without one. `cost_usd` is what the answers cost
    when they were paid for; `cost_unknown` counts those without a known price."""

    answers: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    cost_unknown: int


class EvalReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluation found. `a` is None where there was none. `decision` is None without gates.
    `position_bias` is by pairwise judge. `unit` is what counts once in it."""

    items: int
    a: ArmTotals | None
    b: ArmTotals
    comparisons: tuple[Comparison, ...]
    decision: Decision | None = None
    position_bias: dict[str, PositionBias] = {}
    unit: Unit = "group"


def timed(plan: EvalPlan) -> tuple[str, ...]:
    """The scorers of time: what they say of two releases holds where both answered at the same time."""
    return tuple(spec.name for spec in plan.scorers if isinstance(spec, Latency))


def with_app(plan: EvalPlan) -> bool:
    """Whether an app is on either side."""
    return plan.b.app or (plan.a is not None and plan.a.app)


def not_judged(plan: EvalPlan, *, contest: bool) -> tuple[str, ...]:
    """The scorers by which neither side is judged, as both answered at different times: those of time, in a
    contest and against an app or by one."""
    return timed(plan) if plan.a is not None and (contest or with_app(plan)) else ()


def check_plan(plan: EvalPlan) -> None:
    """Raises WrongCall for a plan that means nothing: no scorers, two of one name, a gate on none of them,
    a release against itself, numbers out of range, an app that would be asked twice or timed."""
    names = [spec.name for spec in plan.scorers]
    double = sorted({name for name in names if names.count(name) > 1})
    wrong: list[tuple[bool, Any]] = [
        (not names, "an evaluation needs a scorer"),
        (bool(double), f"two scorers are called {', '.join(double)}; give them names of their own"),
        (
            plan.a is not None and plan.a.release == plan.b.release and not plan.held_to,
            f"A and B are both release {plan.b.release}; name two different ones",
        ),
        (
            plan.a is None and bool(plan.gates),
            "a gate compares two releases, and there is one; name a baseline",
        ),
        (
            plan.a is None and any(isinstance(spec, PairwiseJudge) for spec in plan.scorers),
            "a pairwise judge compares two releases, and there is one; name a baseline",
        ),
        (
            not 1 <= plan.repeats <= REPEATS_MAX,
            f"{plan.repeats} repeats; give 1 to {REPEATS_MAX}",
        ),
        (
            with_app(plan) and plan.repeats > 1,
            f"{plan.repeats} repeats, and an app has answered each item once; leave `repeats` out",
        ),
        (
            any(gate.metric in not_judged(plan, contest=False) for gate in plan.gates),
            "an app answers at another time than what it is held against; leave the gate on latency out",
        ),
        odd_alpha(plan.alpha),
    ]
    for is_wrong, message in wrong:
        if is_wrong:
            raise WrongCall(message)
    check_gates(plan.gates, names)
