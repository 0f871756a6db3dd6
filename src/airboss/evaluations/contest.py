"""Several releases held against one baseline: evaluations of their own, with one correction over all of them,
and the table that they make.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Self

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.compare import Comparison, Standing, standing
from airboss.evaluations.datasets import Part
from airboss.evaluations.gate import Conclusion
from airboss.evaluations.intervals import ALPHA_MIN, Mean, odd_alpha
from airboss.evaluations.plan import ArmTotals, EvalPlan, EvalReport, timed
from airboss.evaluations.ports import Target
from airboss.store.job_rows import JobState
from airboss.store.wording import many

PREFIX: Final = "contest-"
"""What ids of contests begin with."""

RELEASES_MIN: Final = 2
RELEASES_MAX: Final = 8
"""Each one more makes every interval wider, and its answers are paid for."""

USD_DIGITS: Final = 10
"""Decimals of a mean cost, as a call's has them (`providers.pricing`)."""

RANK: Final[dict[Standing | None, int]] = {"better": 0, "open": 1, "worse": 2, None: 3}
"""Which standing comes first in a table."""


class Contest(msgspec.Struct, frozen=True, kw_only=True):
    """`size` releases, each held against one baseline in an evaluation of its own, with `alpha` over all."""

    id: str
    size: int
    alpha: float

    @classmethod
    def drawn(cls, size: int, alpha: float) -> Self:
        """A new one."""
        return cls(id=f"{PREFIX}{secrets.token_hex(5)}", size=size, alpha=alpha)

    def evals(self) -> tuple[str, ...]:
        """The ids of its evaluations, in the order in which the releases were named."""
        return tuple(eval_id(self.id, number) for number in range(1, self.size + 1))


def eval_id(contest: str, number: int) -> str:
    """The id of a contest's evaluation, from 1: either leads to the other without being looked for."""
    return f"eval-{contest.removeprefix(PREFIX)}-{number}"


def shared(alpha: float, size: int) -> float:
    """The alpha of each of `size` comparisons, so that with a chance of at least 1 - alpha all their
    intervals hold at once and no test errs, however they depend on each other, as all that share a baseline
    do. A release's p-values are Holm's over its scorers already, so that this is so over releases and
    scorers. Sources: C. E. Bonferroni, Teoria statistica delle classi e calcolo delle
    probabilita, Pubbl. R. Ist. Sup. Sci. Econ. Comm. Firenze 8 (1936), 3-62; for intervals, O. J. Dunn,
    Multiple comparisons among means, JASA 56 (1961), 52-64. Raises WrongCall for an alpha that cannot be
    shared so."""
    wrong, why = odd_alpha(alpha)
    if wrong:
        raise WrongCall(why)
    each = alpha / size
    if each < ALPHA_MIN:
        least = size * ALPHA_MIN
        raise WrongCall(f"alpha is {alpha}, which {size} releases share; give {least:f} or more")
    return each


def check_sides(a: Target | None, sides: Sequence[Target], named: Sequence[str]) -> None:
    """Raises WrongCall unless these are several releases, all different, and none the baseline; `named` is
    how each was asked for."""
    if not RELEASES_MIN <= len(named) <= RELEASES_MAX:
        raise WrongCall(
            f"{many(len(named), 'release')}; name {RELEASES_MIN} to {RELEASES_MAX} to hold against one "
            "baseline, or a single one as `release`"
        )
    if a is None:
        raise WrongCall("several releases are held against a baseline, and there is none; name one")
    seen: dict[str, str] = {}
    for side, name in zip(sides, named, strict=True):
        if side.release in seen:
            before = seen[side.release]
            same = "is named twice" if before == name else f"and {before!r} are the same release"
            raise WrongCall(f"{name!r} {same}, {side.release[:12]}; name each once")
        seen[side.release] = name
        if side.release == a.release:
            raise WrongCall(
                f"{name!r} is the baseline, {a.release[:12]}: it is asked anyway; leave it out, or name "
                "another baseline"
            )


def check_untimed(plan: EvalPlan) -> None:
    """Raises WrongCall for a gate that a contest cannot hold anybody to: A answers once, beside one or two of
    the releases, and the others answer at another time, when all may be slower or faster."""
    for gate in plan.gates:
        if gate.metric in timed(plan):
            raise WrongCall(
                f"the gate on {gate.metric!r}: several releases answer at different times, which their "
                "latency would tell of, too; gate it in an evaluation of one release"
            )


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """What a release's answers took. `usd_per_answer` is the mean of those with a known price, None without
    any; `cost_unknown` counts the others. `ms_per_answer` is the mean, None without an answer."""

    answers: int
    errors: int
    usd_per_answer: Decimal | None
    cost_unknown: int
    ms_per_answer: float | None


class ContestCell(msgspec.Struct, frozen=True, kw_only=True):
    """One release by one scorer: its `mean`, how far from the baseline, and how it stands to it (None where
    nothing can be said: labels, too few items, time). The interval holds with those of the other releases;
    `p_adjusted` is corrected for scorers and releases. It rests on `units`, of `scored` items; `unscored`
    items lack a mark on either side."""

    scorer: str
    standing: Standing | None
    mean: Mean | None
    difference: Mean | None
    p_adjusted: float | None
    units: int
    scored: int
    unscored: int


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """A release of a contest. `eval` is its evaluation, whose job's `state` and `error` these are;
    `conclusion` is that of its gates. Without a report there are no `cells`, and `took` is None."""

    eval: str
    release: Target
    state: JobState
    error: str | None
    done: int
    total: int
    conclusion: Conclusion | None
    cells: tuple[ContestCell, ...] = ()
    took: Took | None = None


class ContestTable(msgspec.Struct, frozen=True, kw_only=True):
    """A contest as it stands. `releases` come best first: by how they stand by the first scorer, then by
    their distance from the baseline there. `alpha` is that of the whole, `confidence` that of each interval.
    `means` are the baseline's by scorer, where anything is done. By the scorers `not_judged` numbers are told
    and nobody is called better or worse."""

    id: str
    dataset: str
    part: Part
    alpha: float
    confidence: float
    scorers: tuple[str, ...]
    less_is_better: tuple[str, ...]
    not_judged: tuple[str, ...]
    baseline: Target
    means: dict[str, float]
    took: Took | None
    releases: tuple[Contender, ...]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation as a table is made of it. `ms_a` and `ms_b` are mean times of an answer; `report` is None
    until it is done."""

    contender: Contender
    plan: EvalPlan
    report: EvalReport | None
    ms_a: float | None = None
    ms_b: float | None = None


def table(contest: Contest, entries: Sequence[Entry]) -> ContestTable:
    """The table of a contest, from one evaluation of it at least."""
    plan = entries[0].plan
    assert plan.a is not None  # nobody contends against nothing
    done = [(entry, entry.report) for entry in entries if entry.report is not None]
    found = [each for _, report in done for each in report.comparisons]
    # Of several counts of the baseline's answers, the fullest: a run that was cut short has fewer.
    fullest = max(done, key=lambda each: each[1].a.answers if each[1].a is not None else 0, default=None)
    return ContestTable(
        id=contest.id,
        dataset=plan.dataset_name,
        part=plan.part,
        alpha=contest.alpha,
        confidence=1 - plan.alpha,
        scorers=tuple(spec.name for spec in plan.scorers),
        less_is_better=tuple(
            sorted({each.metric.name for each in found if not each.metric.higher_is_better})
        ),
        not_judged=timed(plan),
        baseline=plan.a,
        means=_means(plan, found),
        took=_took(fullest[1].a, fullest[0].ms_a) if fullest is not None else None,
        releases=tuple(
            _row(entry, contest) for entry in sorted(entries, key=lambda each: _place(each, plan))
        ),
    )


def _means(plan: EvalPlan, found: Sequence[Comparison]) -> dict[str, float]:
    """The baseline's mean by each scorer, in their order; of several the one of the most answers."""
    fullest = {
        each.metric.name: each.mean_a.estimate
        for each in sorted(found, key=lambda one: one.pairs)
        if each.mean_a is not None
    }
    return {spec.name: fullest[spec.name] for spec in plan.scorers if spec.name in fullest}


def _row(entry: Entry, contest: Contest) -> Contender:
    report = entry.report
    if report is None:
        return entry.contender
    cells = tuple(_cell(each, entry.plan, contest) for each in report.comparisons)
    by_name = {cell.scorer: cell for cell in cells}
    return msgspec.structs.replace(
        entry.contender,
        cells=tuple(by_name[spec.name] for spec in entry.plan.scorers if spec.name in by_name),
        took=_took(report.b, entry.ms_b),
    )


def _standing(found: Comparison, plan: EvalPlan) -> Standing | None:
    return None if found.metric.name in timed(plan) else standing(found, plan.alpha)


def _cell(found: Comparison, plan: EvalPlan, contest: Contest) -> ContestCell:
    p = found.p_adjusted
    return ContestCell(
        scorer=found.metric.name,
        standing=_standing(found, plan),
        mean=found.mean_b,
        difference=found.difference,
        p_adjusted=None if p is None else min(1.0, contest.size * p),
        units=found.units,
        scored=found.pairs,
        unscored=found.items - found.pairs,
    )


def _place(entry: Entry, plan: EvalPlan) -> tuple[int, float]:
    """Where a release stands among others, by the first scorer; less comes first."""
    for found in entry.report.comparisons if entry.report is not None else ():
        if found.metric.name == plan.scorers[0].name:
            gap = found.difference.estimate if found.difference is not None else 0.0
            return RANK[_standing(found, entry.plan)], -gap if found.metric.higher_is_better else gap
    return RANK[None] + (entry.report is None), 0.0


def _took(totals: ArmTotals | None, ms: float | None) -> Took | None:
    if totals is None:
        return None
    priced = totals.answers - totals.cost_unknown
    return Took(
        answers=totals.answers,
        errors=totals.errors,
        usd_per_answer=round(totals.cost_usd / priced, USD_DIGITS).normalize() if priced else None,
        cost_unknown=totals.cost_unknown,
        ms_per_answer=ms,
    )
