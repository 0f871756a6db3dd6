"""Evaluations that alarms make: what is asked, looked up when it is due, and what a run that ended says."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from airboss.config import Config
from airboss.config.locate import line_of
from airboss.domain.errors import ConfigError, WrongCall
from airboss.evaluations.compare import Comparison, standing
from airboss.evaluations.datasets import Json, Part
from airboss.evaluations.few import of_units
from airboss.evaluations.gate import UNSCORED_SHARE_MAX
from airboss.evaluations.marks import unquoted
from airboss.evaluations.online import scorer_of
from airboss.evaluations.orders import KIND, Orders, check_function, judges_of
from airboss.evaluations.plan import EvalPlan, EvalReport, check_plan
from airboss.evaluations.ports import Target
from airboss.evaluations.run import NOT_HELD, held
from airboss.evaluations.scorers.llm_judge import LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge
from airboss.evaluations.scorers.python_function import PythonFunction
from airboss.evaluations.scorers.spec import Spec
from airboss.evaluations.splits import because
from airboss.evaluations.targets import Served
from airboss.store.wording import many

BY: Final = "alarm"
"""Who asks for them."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an alarm asks, as its rule keeps it (`config.EvalConfig`)."""

    dataset: str
    scorer: str | dict[str, Any]
    part: Part = "validation"
    repeats: int = 1
    params: Json = {}
    baseline: str | None = None


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls a run may make, judges' included, what it may cost, and with which chance it may call a
    release worse that is not."""

    calls: int
    usd: float | None
    alpha: float


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says: the mean of B, or none, and in words what there is to know. `before` is the mean in
    the baseline over the same items, and `worse` whether B is surely worse; both None without a baseline."""

    mean: float | None
    words: str
    before: float | None = None
    worse: bool | None = None


class ScheduledEvals(Orders):
    """Begins evaluations for alarms."""

    def start(
        self,
        asked: Asked,
        deployment: str,
        bounds: Bounds,
        *,
        job_id: str,
        held_to: str | None,
    ) -> None:
        """Queue the evaluation of the deployment's stable release under this id, but where it is there. It is
        held to the run that is `asked` for, or else to `held_to` where that was made alike. Raises
        WrongCall, with nothing queued, for what cannot be done."""
        if self._jobs.get(job_id) is not None:
            return
        plan, wanted = self._plan(asked, deployment, bounds), asked.baseline or held_to
        if wanted is not None:
            then, unlike = self._held(plan, wanted)
            if unlike is not None and asked.baseline is not None:
                raise WrongCall(f"the baseline {wanted} {unlike}; name another, or leave `baseline` out")
            plan = then if unlike is None else plan
        self._jobs.add(KIND, self._task(plan), BY, self._now(), job_id=job_id)

    def _plan(self, asked: Asked, deployment: str, bounds: Bounds) -> EvalPlan:
        dataset, served = self._library.find(asked.dataset), Served.of(self._ledger)
        if not dataset.sizes[asked.part]:
            why = because(self._library.uneven(dataset), asked.part)
            raise WrongCall(f"the {asked.part} part of dataset {dataset.name!r} is empty{why}")
        spec = checked(asked.scorer)
        if isinstance(spec, PythonFunction):
            check_function(spec, self._scorers)
        _check_calls(dataset.name, dataset.sizes[asked.part], asked, spec, bounds.calls)
        plan = EvalPlan(
            dataset=dataset.digest,
            dataset_name=dataset.name,
            part=asked.part,
            b=served.meant(deployment, None),
            scorers=(spec,),
            params=asked.params,
            repeats=asked.repeats,
            alpha=bounds.alpha,
            judges=judges_of(served, (spec,)),
            folder=str(self._scorers),
            anew=True,
            max_usd=None if bounds.usd is None else Decimal(str(bounds.usd)),
        )
        check_plan(plan)
        return plan

    def _held(self, plan: EvalPlan, run_id: str) -> tuple[EvalPlan, str | None]:
        """The plan held to a run, and why it cannot be."""
        row = self._store.run(run_id)
        if row is None or row.report is None:
            return plan, "is no evaluation that is done"
        then = msgspec.json.decode(row.content, type=EvalPlan)
        a = Target(deployment=then.b.deployment, release=then.b.release, name=then.b.name)
        wanted = msgspec.structs.replace(plan, a=a, held_to=run_id)
        unlike = _unlike(then, plan)
        items = self._library.items(self._library.find(plan.dataset), plan.part)
        if unlike is None and not held(self._store, wanted, items):
            unlike = f"has no item in common with dataset {plan.dataset_name!r} as it is now"
        return wanted, unlike


def _unlike(then: EvalPlan, plan: EvalPlan) -> str | None:
    """Why an evaluation that was made can be no baseline for one to be made."""
    then_by = {name: each.release for name, each in then.judges.items()}
    judges = [name for name, each in plan.judges.items() if then_by.get(name) != each.release]
    if then.part != plan.part:
        return f"is of part {then.part}, not {plan.part}"
    if plan.scorers[0] not in then.scorers:
        return f"has no scorer {plan.scorers[0].name!r} that is set as it is here"
    if judges:
        return f"was judged by another release of {judges[0]}"
    if then.params != plan.params or then.repeats < plan.repeats:
        return "asked with other `params`, or fewer `repeats`"
    return None


def checked(written: str | dict[str, Any]) -> Spec:
    """The scorer of an alarm. Raises WrongCall for one that is none, or compares two answers."""
    spec = scorer_of(written)
    if isinstance(spec, PairwiseJudge):
        raise WrongCall(
            f"the scorer {spec.name!r} compares two answers, and one release is asked; use llm_judge"
        )
    return spec


def check_evals(
    config: Config, was: Config, *, text: str, source: str, look: Callable[[Spec], object] = bool
) -> None:
    """Look at the scorers of alarms, but of those that were so before; `look` looks at what is not in the
    text. Raises ConfigError, naming the line."""
    for name, alarm in config.alarms.items():
        if alarm.eval is None or alarm == was.alarms.get(name):
            continue
        try:
            spec = checked(alarm.eval.scorer)
            look(spec)
            _check_judge(spec, config)
        except WrongCall as error:
            line = line_of(text, ("alarms", name, "eval", "scorer"))
            raise ConfigError(f"{source}:{line}: alarms.{name}.eval.scorer: {error}") from error


def _check_judge(spec: Spec, config: Config) -> None:
    if isinstance(spec, LlmJudge) and spec.deployment not in config.deployments:
        raise WrongCall(f"{spec.name!r} asks deployment {spec.deployment!r}, which is not there")


def look_in(folder: Path) -> Callable[[Spec], None]:
    """Looks for Python scorers. What it gives raises WrongCall."""

    def look(spec: Spec) -> None:
        if isinstance(spec, PythonFunction):
            check_function(spec, folder)

    return look


def _check_calls(dataset: str, items: int, asked: Asked, spec: Spec, most: int) -> None:
    each = asked.repeats * (2 if isinstance(spec, LlmJudge) else 1)
    if items * each > most:
        judged = ", a judge's included" if isinstance(spec, LlmJudge) else ""
        raise WrongCall(
            f"the {asked.part} part of dataset {dataset!r} has {many(items, 'item')}, which takes "
            f"{items * each:,} calls{judged}, of at most {most:,}; raise `calls`, or take fewer items"
        )


def said(plan: EvalPlan, report: EvalReport) -> Said:
    """What a run says by its one scorer."""
    (found,) = report.comparisons
    # One release that is scored by itself has no pairs: its scores are of B alone.
    scored = found.pairs if report.a is not None else found.items - found.unscored_b
    of = of_units(found.units, scored, unit=report.unit)
    alone = _lacking(found, of)
    if alone is not None:
        return Said(mean=None, words=alone)
    if not plan.held_to:
        assert found.mean_b is not None  # nothing lacks
        return Said(mean=found.mean_b.estimate, words=f"{_mean(found)} of {of}")
    if found.mean_a is None or found.mean_b is None or found.gap is None:
        return Said(mean=None, words=f"{of} in common with the baseline, which is too few")
    return Said(
        mean=found.mean_b.estimate,
        words=f"{_mean(found)} of {of}, {found.mean_a.estimate:.3g} in the baseline: "
        f"{found.worse} worse, {found.better} better"
        + (f", p {found.p_adjusted:.2g}" if found.p_adjusted is not None else ""),
        before=found.mean_a.estimate,
        worse=standing(found, plan.alpha) == "worse",
    )


def _lacking(found: Comparison, of_all: str) -> str | None:
    """Why there is no mean to go by, of `of_all` that are scored; None where there is."""
    name = found.metric.name
    if found.labels:
        return f"{name} gives labels, which have no mean; use a scorer that gives numbers, or yes and no"
    if found.unscored_b > UNSCORED_SHARE_MAX * found.items:
        causes = [unquoted(cause) for cause in found.causes if cause != NOT_HELD]
        of = f"{found.unscored_b} of {many(found.items, 'item')}"
        return f"{name} has no score of {of}: {', '.join(causes[:2])}"
    if found.mean_b is None or found.mean_b.interval is None:
        return f"{of_all} with a score, which is too few"
    return None


def _mean(found: Comparison) -> str:
    mean = found.mean_b
    assert mean is not None  # nothing lacks
    return f"{found.metric.name} {mean.estimate:.3g} ({mean.low:.3g} to {mean.high:.3g})"
