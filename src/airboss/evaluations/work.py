"""An evaluation's job at work: begun once, and gone on with after every crash."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from airboss.domain.errors import UpstreamFailed
from airboss.evaluations.datasets import Item
from airboss.evaluations.library import Library
from airboss.evaluations.marks import unquoted
from airboss.evaluations.orders import EvalResult, EvalTask
from airboss.evaluations.paid_once import Asking
from airboss.evaluations.plan import ArmTotals, EvalPlan, ItemResult
from airboss.evaluations.ports import Caller, EvalStore, Report, Target
from airboss.evaluations.run import EvalRun, Progress, begin, load
from airboss.store.eval_rows import ResultRow
from airboss.store.job_rows import Job
from airboss.store.wording import many

COST_DIGITS: Final = 6


async def evaluate(
    job: Job,
    *,
    store: EvalStore,
    caller: Caller,
    now: Callable[[], datetime],
    report: Report,
    asking: Asking | None = None,
) -> EvalResult:
    """Do the job's evaluation, or what is left of it; those that are done at the same time and share an
    `asking` pay once for what several ask. Raises WrongCall where its dataset or a scorer is gone, SetupError
    if the store fails; what `report` raises passes through."""
    asking = asking or Asking()
    task = msgspec.json.decode(job.spec, type=EvalTask)
    if store.run(job.id) is None:
        begin(store, task.plan, run_id=job.id, at=now())
    plan, found = load(store, job.id)
    # The job's id makes the reason unique: after a crash the same reading goes on, and is not counted anew;
    # nor is it for another evaluation of the same contest.
    why = f"{task.why} ({job.id if task.contest is UNSET else task.contest.id})"
    async with asking.alone(why):
        items, reads_before = _items(job, why, plan, Library(store, now))
    if found is None:
        run = EvalRun(
            job.id,
            plan,
            items,
            caller=caller,
            store=store,
            now=now,
            concurrency=task.concurrency,
            progress=lambda state: report(state.done, state.total, note(state)),
            asking=asking,
            side_by_side=task.contest is UNSET,
            dataset=plan.dataset,
        )
        found = await run.run()
    sides: tuple[tuple[Literal["a", "b"], Target | None, ArmTotals | None], ...]
    sides = (("a", plan.a, found.a), ("b", plan.b, found.b))
    for arm, target, totals in sides:
        if arm == "a" and plan.held_to:  # which was not asked
            continue
        if target is not None and totals is not None and not totals.answers:
            who = f"{'app' if target.app else 'release'} {target.name or target.release[:12]}"
            asked = many(totals.errors, "item" if target.app else "call")
            raise UpstreamFailed(f"{who} answered none of {asked}: {_first_error(store, job.id, arm, items)}")
    result = EvalResult(
        run=job.id, items=found.items, decision=found.decision, holdout_reads_before=reads_before
    )
    if task.contest is UNSET:
        return result
    ms_a, ms_b = _times(store.results(job.id))
    return msgspec.structs.replace(result, ms_a=ms_a, ms_b=ms_b)


def _times(rows: Sequence[ResultRow]) -> tuple[float | None, float | None]:
    """The mean times of an answer of both sides, in ms."""
    times: dict[str, list[float]] = {"a": [], "b": [], "pair": []}
    for row in rows:
        found = msgspec.json.decode(row.content, type=ItemResult)
        if found.error is None and found.latency_ms is not None:
            times[row.arm].append(found.latency_ms)
    a, b = (statistics.fmean(times[arm]) if times[arm] else None for arm in ("a", "b"))
    return a, b


def _first_error(store: EvalStore, run_id: str, arm: Literal["a", "b"], items: Sequence[Item]) -> str:
    people = {item.id for item in items if item.user is not None}
    for row in store.results(run_id):
        error = msgspec.json.decode(row.content, type=ItemResult).error if row.arm == arm else None
        if error is not None:
            return unquoted(error) if row.item in people else error
    return "no cause was kept"


def note(state: Progress) -> str:
    """A run's progress in a few words."""
    words = [f"{state.paid} asked", f"{state.reused} from before"]
    if state.failed:
        words.append(f"{state.failed} item{'' if state.failed == 1 else 's'} without an answer")
    if state.cost_usd:
        words.append(f"{round(state.cost_usd, COST_DIGITS).normalize():f} USD")
    return ", ".join(words)


def _items(job: Job, why: str, plan: EvalPlan, library: Library) -> tuple[Sequence[Item], int | None]:
    """The items to ask, and how often the holdout had been read before, which is read for this reason."""
    dataset = library.again(plan.dataset, plan.dataset_name)
    if plan.part != "holdout":
        return library.items(dataset, plan.part), None
    holdout = library.reopen_holdout(dataset, who=job.by, why=why) or library.open_holdout(
        dataset, who=job.by, why=why
    )
    return holdout.items, holdout.reads_before
