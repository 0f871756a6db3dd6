"""The one judgement on the locked holdout: a new release against today's, whatever made it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from airboss.evaluations.datasets import Item
from airboss.evaluations.library import Holdout, KeptDataset, Library
from airboss.evaluations.plan import EvalPlan
from airboss.evaluations.ports import Caller, EvalStore, Target
from airboss.evaluations.run import EvalRun, begin
from airboss.store.job_rows import Job
from airboss.tuning.acceptance import Judgement, gate_of, judgement
from airboss.tuning.finetune_plan import FinetuneTask
from airboss.tuning.plan import TuneTask


async def judge_once(
    task: TuneTask | FinetuneTask,
    job: Job,
    dataset: KeptDataset,
    *,
    today: Target,
    new: Target,
    known: Callable[[Item], bool],
    work: str,
    evals: EvalStore,
    caller: Caller,
    now: Callable[[], datetime],
) -> Judgement:
    """Read the holdout, ask both releases, and compare. The job's id makes the reason unique (`work` says
    what kind it is): after a crash the same reading goes on. Items that the new release has `known` are left
    out."""
    why = f"the judgement of {work} ({job.id})"
    library = Library(evals, now)
    holdout: Holdout = library.reopen_holdout(dataset, who=job.by, why=why) or library.open_holdout(
        dataset, who=job.by, why=why
    )
    items = [item for item in holdout.items if not known(item)]
    plan = EvalPlan(
        dataset=task.dataset,
        dataset_name=task.dataset_name,
        part="holdout",
        a=today,
        b=new,
        scorers=(task.scorer,),
        gates=(gate_of(task.scorer.name),),
        params=task.params,
        alpha=task.alpha,
        seed=task.seed,
        judges=task.judges,
        folder=task.folder,
    )
    if evals.run(job.id) is None:
        begin(evals, plan, run_id=job.id, at=now())
    run = EvalRun(
        job.id,
        plan,
        items,
        caller=caller,
        store=evals,
        now=now,
        concurrency=task.concurrency,
        dataset=task.dataset,
    )
    return judgement(
        await run.run(),
        alpha=task.alpha,
        run=job.id,
        reads_before=holdout.reads_before,
        shown=len(holdout.items) - len(items),
    )
