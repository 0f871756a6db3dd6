"""Evaluations as jobs of the controller: they call the running gateway, as any client does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airboss.compose.parts import internal_key
from airboss.supervisor import runfiles

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.controller.jobs import Handler, Progress
    from airboss.domain.ports import Ledger
    from airboss.evaluations.caller_http import HttpCaller
    from airboss.evaluations.orders import EvalOrders, Parts
    from airboss.governance.erasure import Forgetting
    from airboss.store.datadir import DataDir
    from airboss.store.job_rows import Job

T = TypeVar("T")

GATEWAY_URL = "http://127.0.0.1:8700/v1"
"""Where the gateway listens if nobody says otherwise."""

CALL_S = 600.0
"""The longest one call may take, with its repeats; deployments have bounds of their own below that."""

STOP_CHECK_S = 0.2


def scorers_dir(data: DataDir) -> Path:
    """Where Python scorers stand: files that the machine's owner has put there."""
    return data.path.absolute() / "scorers"


def orders(ledger: Ledger, data: DataDir, stores: Stores) -> EvalOrders:
    """Takes orders for evaluations."""
    from airboss.evaluations.orders import EvalOrders  # noqa: PLC0415 - numbers and schemas, where needed

    return EvalOrders(**parts(ledger, data, stores))


def parts(ledger: Ledger, data: DataDir, stores: Stores) -> Parts:
    """What all who take orders for work on datasets do so with."""
    return {
        "store": stores.evals,
        "jobs": stores.jobs,
        "ledger": ledger,
        "now": utc_now,
        "scorers": scorers_dir(data),
    }


def handler(ledger: Ledger, data: DataDir, stores: Stores) -> Handler:
    """Does jobs of kind `eval`."""
    from airboss.evaluations.paid_once import Asking  # noqa: PLC0415 - as above
    from airboss.evaluations.work import evaluate  # noqa: PLC0415 - as above

    return calling(partial(evaluate, asking=Asking()), ledger, data, stores)


def calling(
    do: Callable[..., Coroutine[Any, Any, object]], ledger: Ledger, data: DataDir, stores: Stores
) -> Handler:
    """Does jobs by `do`, which takes a job and what `evaluate` takes, and asks releases at the gateway."""

    def work(job: Job, progress: Progress) -> object:
        async def main() -> object:
            async with aclosing(caller(ledger, data, stores.people)) as calls:
                return await do(job, store=stores.evals, caller=calls, now=utc_now, report=progress.report)

        return run_until_stopped(main(), progress)

    return work


def caller(ledger: Ledger, data: DataDir, people: Forgetting | None = None) -> HttpCaller:
    """Calls releases at the gateway of this data directory, with our own key; what is of `people` is not
    repeated once they are to be forgotten. Close it with `aclose`."""
    from airboss.evaluations.caller_http import HttpCaller  # noqa: PLC0415 - 60 ms, where needed

    up = runfiles.read_up(data.run_dir)
    verify: ssl.SSLContext | bool = True
    if up is not None and up.tls is not None:
        verify = runfiles.trust(up.tls.cert)
    base_url = up.base_url if up is not None else GATEWAY_URL
    key = internal_key(ledger, data)
    if people is None:
        return HttpCaller(base_url, key, timeout_s=CALL_S, verify=verify)

    def forgotten(user: str, began_at: datetime) -> bool:
        return people.tombstones().covers(user, began_at)

    return HttpCaller(base_url, key, timeout_s=CALL_S, verify=verify, forgotten=forgotten)


def run_until_stopped(work: Coroutine[Any, Any, T], progress: Progress) -> T:
    """Run a handler's asynchronous work in its thread. Raises JobCancelled soon after the job is to be left,
    with the work cancelled, however long its calls would have taken."""

    async def watched() -> T:
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=STOP_CHECK_S)
                progress.check()
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(watched())


def utc_now() -> datetime:
    """Wall-clock time, aware, UTC."""
    return datetime.now(UTC)
