"""An evaluation in a process of its own, to be killed: `python -m tests.evaluations.killed DATABASE URL`."""

from __future__ import annotations

import asyncio
import sys

from airboss.evaluations.caller_http import HttpCaller
from airboss.evaluations.plan import EvalPlan
from airboss.evaluations.run import EvalRun, begin
from airboss.evaluations.scorers.exact import Exact
from airboss.store.evals import SqlEvalStore
from tests.evaluations.support import NOW, A, B, item, now

COUNT = 60
CONCURRENCY = 4
ITEMS = [item(f"q{number:02}", f"question {number}", expected="x") for number in range(COUNT)]
PLAN = EvalPlan(dataset="d", dataset_name="n", part="train", a=A, b=B, scorers=(Exact(),))


async def work(database: str, url: str) -> None:
    """Begin the run if it is new, and do what is left of it."""
    store = SqlEvalStore(database)
    caller = HttpCaller(url, "ab_key", confirm=False)
    if store.run("run") is None:
        begin(store, PLAN, run_id="run", at=NOW)
    run = EvalRun("run", PLAN, ITEMS, caller=caller, store=store, now=now, concurrency=CONCURRENCY)
    await run.run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2]))
