"""An evaluation as it is asked for, in words, and the job that it becomes, with every word looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack

import msgspec
from msgspec import UNSET, UnsetType

from airboss.domain.errors import WrongCall
from airboss.domain.ports import Ledger, RecordLog
from airboss.evaluations.app_answers import AppAnswers, read_answers
from airboss.evaluations.contest import RELEASES_MAX, Contest, check_sides, check_untimed, eval_id, shared
from airboss.evaluations.datasets import HoldoutLocked, Json, Part
from airboss.evaluations.estimate import Estimate, estimate
from airboss.evaluations.gate import Decision, read_gate
from airboss.evaluations.library import KeptDataset, Library
from airboss.evaluations.plan import EvalPlan, check_plan
from airboss.evaluations.ports import EvalStore, Target
from airboss.evaluations.run import CONCURRENCY, CONCURRENCY_MAX
from airboss.evaluations.scorers.llm_judge import LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge
from airboss.evaluations.scorers.python_function import PythonFunction, open_function
from airboss.evaluations.scorers.spec import Spec, check_named, read_spec, spec_from
from airboss.evaluations.splits import because, said
from airboss.evaluations.targets import Served
from airboss.store.eval_rows import AnswerRow
from airboss.store.job_rows import Job, JobStore

KIND: Final = "eval"
"""Of the job."""

NO_BASELINE: Final = "none"
"""In place of a baseline: one release is scored, and nothing is compared."""

SCORERS_MAX: Final = 50


class EvalOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An evaluation as somebody asks for it.

    `dataset` is a name or digest. `release` is judged and held against `baseline`, both names or digests, or
    `stable` or `candidate` of `deployment`, or what another evaluation judged, by its id. Left out, they are
    its candidate, or its stable release where it has none, and its stable release. One release is scored by
    itself, and nothing compared, where the two are the same for want of a baseline, or it is `none`.
    `releases`, in place of `release`, are several that are each held against the same baseline, at alpha over
    all of them. `answers`, in place of both, are those of an app that is no release: without a baseline and a
    deployment they are scored by themselves. A scorer is written as on the command line or as a table; a gate
    as on the command line. `params` go into every request. `why` must be given for the holdout, whose reading
    is written down.
    """

    dataset: str
    deployment: str | None = None
    scorers: tuple[str | dict[str, Any], ...]
    answers: AppAnswers | None = None
    release: str | None = None
    releases: tuple[str, ...] | None = None
    baseline: str | None = None
    part: Part = "validation"
    gates: tuple[str, ...] = ()
    params: Json = {}
    repeats: int = 1
    alpha: float = 0.05
    seed: int = 0
    concurrency: int = CONCURRENCY
    why: str | None = None


class EvalTask(msgspec.Struct, frozen=True, kw_only=True):
    """The `spec` of a job of kind `eval`; its run has the job's id. `contest`: the one that it is in.
    `uneven` says how the dataset's part is too small for what was asked for, and what helps."""

    plan: EvalPlan
    concurrency: int = CONCURRENCY
    why: str | None = None
    uneven: tuple[str, ...] = ()
    contest: Contest | UnsetType = UNSET


class EvalResult(msgspec.Struct, frozen=True, kw_only=True):
    """The `result` of a job of kind `eval`. The report is the run's; `decision` is its, None without gates.
    `holdout_reads_before` is how often the holdout had been read, None where another part was used. `ms_a`
    and `ms_b` are the mean times of an answer, of one in a contest alone; None without an answer."""

    run: str
    items: int
    decision: Decision | None
    holdout_reads_before: int | None = None
    ms_a: float | UnsetType | None = UNSET
    ms_b: float | UnsetType | None = UNSET


class Parts(TypedDict):
    """What orders are taken with: `scorers` is the folder that Python scorers stand in."""

    store: EvalStore
    jobs: JobStore
    ledger: Ledger
    now: Callable[[], datetime]
    scorers: Path


class Orders:
    """Who takes orders for work on datasets."""

    def __init__(self, **parts: Unpack[Parts]) -> None:
        self._store = parts["store"]
        self._library = Library(parts["store"], parts["now"])
        self._jobs = parts["jobs"]
        self._ledger = parts["ledger"]
        self._now = parts["now"]
        self._scorers = parts["scorers"]

    def _task(self, plan: EvalPlan, **rest: Any) -> EvalTask:
        """An evaluation to do, with what is to be said of the part that it takes."""
        found = self._library.uneven(self._library.again(plan.dataset, plan.dataset_name))
        return EvalTask(plan=plan, uneven=said(found, plan.part), **rest)


class EvalOrders(Orders):
    """Takes orders for evaluations."""

    def start(self, order: EvalOrder, *, by: str) -> Job:
        """Queue an evaluation, with an app's answers kept; whoever calls sees to it that it is one
        transaction. Raises WrongCall, with nothing queued, for an order that means nothing."""
        (plan,), answers = self.plans(order)
        if answers:
            self._store.put_answers(answers, at=self._now(), dataset=plan.dataset)
        task = self._task(plan, concurrency=order.concurrency, why=order.why)
        return self._jobs.add(KIND, task, by, self._now())

    def start_contest(self, order: EvalOrder, *, by: str) -> tuple[Job, ...]:
        """Queue an evaluation of each of the order's `releases`, in the order given; whoever calls sees to it
        that it is one transaction. Raises WrongCall as `start`."""
        plans, _ = self.plans(order)
        contest = Contest.drawn(len(plans), order.alpha)
        now = self._now()
        return tuple(
            self._jobs.add(
                KIND,
                self._task(plan, concurrency=order.concurrency, why=order.why, contest=contest),
                by,
                now,
                job_id=eval_id(contest.id, number),
            )
            for number, plan in enumerate(plans, 1)
        )

    async def estimate(self, order: EvalOrder, log: RecordLog) -> Estimate:
        """What an order would cost, with nothing asked and nothing queued. Raises WrongCall as `start`, and
        as `estimate.estimate`."""
        # Of a holdout nothing is read, so that nobody need say why.
        (plan, *others), answers = self.plans(msgspec.structs.replace(order, why=order.why or "to reckon"))
        served = Served.of(self._ledger)
        return await estimate(
            plan,
            store=self._store,
            library=self._library,
            log=log,
            behind=served.behind,
            beside=[each.b for each in others],
            given={row.key: row.content for row in answers},
        )

    def plan(self, order: EvalOrder) -> EvalPlan:
        """The plan of an order of one release. Raises WrongCall as `plans`."""
        (plan,), _ = self.plans(order)
        return plan

    def plans(self, order: EvalOrder) -> tuple[tuple[EvalPlan, ...], tuple[AnswerRow, ...]]:
        """The order with every word looked up and checked: of each of its `releases`, or of its one; and an
        app's answers as they are to be kept. Raises WrongCall."""
        if not 1 <= order.concurrency <= CONCURRENCY_MAX:
            raise WrongCall(f"{order.concurrency} calls at once; give 1 to {CONCURRENCY_MAX}")
        if len(order.scorers) > SCORERS_MAX:
            raise WrongCall(f"{len(order.scorers)} scorers; give at most {SCORERS_MAX}")
        dataset = self._library.find(order.dataset)
        self._check_part(dataset, order.part, order.why)
        served = Served.of(self._ledger)
        given = None if order.answers is None else read_answers(order.answers)
        _check_settled(served, order)
        a, sides = self._sides(served, order, dataset, None if given is None else given.app)
        scorers = tuple(read_scorer(each, self._scorers) for each in order.scorers)
        plan = EvalPlan(
            dataset=dataset.digest,
            dataset_name=dataset.name,
            part=order.part,
            a=a,
            b=sides[0],
            scorers=scorers,
            gates=tuple(read_gate(each) for each in order.gates),
            params=order.params,
            repeats=order.repeats,
            alpha=order.alpha if order.releases is None else shared(order.alpha, len(sides)),
            seed=order.seed,
            judges=judges_of(served, scorers),
            folder=str(self._scorers),
        )
        check_plan(plan)
        if order.releases is not None:
            check_untimed(plan)
        answers: tuple[AnswerRow, ...] = ()
        if given is not None:
            answers = given.of(self._store.every_item(dataset.digest), order.part, dataset.name)
        return tuple(msgspec.structs.replace(plan, b=side) for side in sides), answers

    def _check_part(self, dataset: KeptDataset, part: Part, why: str | None) -> None:
        if part == "holdout" and not (why or "").strip():
            times = "once" if dataset.holdout_reads == 1 else f"{dataset.holdout_reads} times"
            raise HoldoutLocked(
                f"the holdout of dataset {dataset.name!r} is locked: say why it is read (--why), which is "
                f"written down; it has been read {times}"
            )
        if not dataset.sizes[part]:
            sizes = ", ".join(f"{name} {size}" for name, size in dataset.sizes.items())
            why = because(self._library.uneven(dataset), part)
            raise WrongCall(f"the {part} part of dataset {dataset.name!r} is empty; its parts: {sizes}{why}")

    def _sides(
        self, served: Served, order: EvalOrder, dataset: KeptDataset, app: Target | None
    ) -> tuple[Target | None, tuple[Target, ...]]:
        """A, and B or all that are held against A."""

        def side(wanted: str) -> Target:
            return self._judged(wanted, served, order, dataset) or served.find(_way(order), wanted)

        a = None if order.baseline in (None, NO_BASELINE) else side(order.baseline)
        if app is not None:
            if order.release is not None or order.releases is not None:
                raise WrongCall("`answers` are judged, and a release is named, too; name it as `baseline`")
            if order.baseline is None and order.deployment is not None:
                a = served.stable(order.deployment)
            return a, (app,)
        if order.releases is not None:
            if order.release is not None:
                raise WrongCall("`release` and `releases` are both given; give one of them")
            if order.baseline is None:
                a = served.stable(_way(order))
            sides = tuple(side(each) for each in order.releases[: RELEASES_MAX + 1])
            check_sides(a, sides, order.releases)
            return a, sides
        if order.release is not None:
            b = side(order.release)
        else:
            b = served.candidate(_way(order)) or served.stable(_way(order))
        if order.baseline is None and (order.deployment is not None or not b.app):
            stable = served.stable(_way(order))
            a = None if b.release == stable.release else stable
        return a, (b,)

    def _judged(self, wanted: str, served: Served, order: EvalOrder, dataset: KeptDataset) -> Target | None:
        """What the evaluation of this id judged; None where no evaluation is meant. Raises WrongCall for a
        release that is served no more, and for an app that answered something else."""
        job = self._jobs.get(wanted) if wanted.startswith(f"{KIND}-") else None
        if job is None or job.kind != KIND:
            return None
        then = msgspec.json.decode(job.spec, type=EvalTask).plan
        if not then.b.app:
            return served.find(then.b.deployment, then.b.release)
        if (then.dataset_name, then.part) != (dataset.name, order.part):
            raise WrongCall(
                f"in {wanted} the app {then.b.name!r} answered the {then.part} part of "
                f"{then.dataset_name!r}, not the {order.part} part of {dataset.name!r}; evaluate it on that "
                "first, by its answers"
            )
        return then.b


def read_scorer(given: str | dict[str, Any], folder: Path) -> Spec:
    """The scorer of an order, written as on the command line or as a table. Raises WrongCall for one that is
    none, or whose name is none, and for a Python function that is not in `folder`."""
    spec = _read(given)
    check_named(spec)
    if isinstance(spec, PythonFunction):
        check_function(spec, folder)
    return spec


def _read(given: str | dict[str, Any]) -> Spec:
    return read_spec(given, load=_no_files) if isinstance(given, str) else spec_from(given)


def check_function(spec: PythonFunction, folder: Path) -> None:
    """Raises WrongCall unless the function loads from a file in `folder`: whoever may ask for an evaluation
    runs what the machine's owner has put there, and nothing else."""
    place = spec.function.rpartition(":")[0]
    path = (folder / place).resolve()
    if not place.endswith(".py") or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise WrongCall(
            f"the scorer function {spec.function!r} must be FILE.py:NAME with FILE.py in {folder} on the "
            "machine that Airboss runs on; put it there, and name it from there"
        )
    open_function(msgspec.structs.replace(spec, function=f"{path}:{spec.function.rpartition(':')[2]}"))


def _no_files(name: str) -> str:
    raise WrongCall(f"the scorer's file {name!r} is not here; send the schema itself, as a table")


def _check_settled(served: Served, order: EvalOrder) -> None:
    """Raises Unavailable where what is stable is asked for unsaid, and that is just changing."""
    unsaid = order.baseline is None or (order.release, order.releases, order.answers) == (None, None, None)
    if order.deployment is not None and unsaid:
        served.check_settled(order.deployment)


def _way(order: EvalOrder) -> str:
    """The deployment of an order. Raises WrongCall where none is named."""
    if order.deployment is None:
        raise WrongCall("no deployment is named, which leads to a release; name one, or give `answers`")
    return order.deployment


def judges_of(served: Served, scorers: Iterable[Spec]) -> dict[str, Target]:
    """What the judges among these scorers ask, by the name of the deployment. Raises WrongCall."""
    names = {each.deployment for each in scorers if isinstance(each, LlmJudge | PairwiseJudge)}
    return {name: served.stable(name) for name in sorted(names)}


# The gate of a rollout.

GateOutcome = Literal["waiting", "pass", "fail", "inconclusive", "broken"]
"""What a rollout's evaluation says. `waiting`: it is not done. `broken`: it failed or was cancelled."""


def gate_order(
    *,
    deployment: str,
    release: str,
    baseline: str,
    dataset: str,
    scorer: str | dict[str, Any],
    margin: float,
) -> EvalOrder:
    """The evaluation that a rollout waits for: `release` (a digest) must not be worse than `baseline` by
    `margin`, or with a margin of 0 must be better. Raises WrongCall for a scorer that is none."""
    spec = _read(scorer)
    rule = f"{spec.name}:non-inferior:{margin:g}" if margin else f"{spec.name}:better"
    return EvalOrder(
        dataset=dataset,
        deployment=deployment,
        release=release,
        baseline=baseline,
        scorers=(msgspec.to_builtins(spec),),
        gates=(rule,),
    )


def gate_outcome(job: Job) -> tuple[GateOutcome, str]:
    """What came of an evaluation with gates, and why in words."""
    if job.state in {"queued", "running"}:
        return "waiting", job.note or job.state
    if job.state != "done" or job.result is None:
        return "broken", job.error or f"the evaluation {job.id} was {job.state}"
    decision = msgspec.json.decode(job.result, type=EvalResult).decision
    if decision is None:
        return "broken", f"the evaluation {job.id} has no gate"
    return decision.conclusion, "; ".join(finding.reason for finding in decision.findings)
