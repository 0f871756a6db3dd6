"""Where limits are counted: in the only gateway, in a process of its own, or in Valkey."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from airboss.compose.parts import SystemClock, role_lock
from airboss.compose.process_limits import fit_limits
from airboss.compose.stores import once_asked, open_spends
from airboss.config import StoreConfig
from airboss.config.extras import install
from airboss.domain.errors import DataDirLocked, SetupError
from airboss.governance.windows import steady
from airboss.store.datadir import DataDir, resolved
from airboss.supervisor.lifeline import on_parent_gone, tell_it_serves, terminate_self
from airboss.supervisor.variables import COUNTERS_ENV
from airboss.telemetry import logs

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.domain.ports import Ledger, RecordLog
    from airboss.gateway.limits import Limiter
    from airboss.governance.counters_valkey import ValkeyCounters
    from airboss.governance.counting import Counters


@contextmanager
def limiting(data: DataDir, store: StoreConfig, name: str) -> Iterator[Limiter]:
    """The limiter of one gateway, which asks whoever counts; `name` is the gateway's."""
    from airboss.gateway.limits import Limiter  # noqa: PLC0415 - the gateway's own

    worker = f"{name}-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        spends = stack.enter_context(once_asked(partial(open_spends, data, late=True)))
        counters = counters_of(data, store, worker, stack)
        yield Limiter(
            counters,
            clock=SystemClock(),
            spending=lambda since: spends().since(since),
            of_users=lambda key, users, since: spends().of_users(key, users, since),
        )


@contextmanager
def adding_up(
    records: RecordLog, stores: Stores, ledger: Ledger, moved: Callable[[], int], broke: Callable[[], None]
) -> Iterator[None]:
    """What keys have spent is added up from the records until the end of the block; `moved` is how many of
    them have been moved so far."""
    from airboss.compose.governing import looking_after  # noqa: PLC0415 - the controller's own
    from airboss.controller.spending import Spending  # noqa: PLC0415 - as above

    def tags() -> Collection[str]:
        snapshot = ledger.snapshot()
        return snapshot.plan.tags if snapshot is not None else ()

    chore = Spending(
        records, stores.spends, moved=moved, keys=ledger.all_keys, tags=tags, clock=SystemClock()
    )
    with looking_after({"what keys have spent": chore}, broke=broke):
        yield


def counters_of(data: DataDir, store: StoreConfig, worker: str, stack: ExitStack) -> Counters:
    """Who counts for a gateway. The only one on a data directory counts itself; of several, and where that is
    said to be so, a process of its own does."""
    if store.counters != "embedded":
        return valkey(store, worker)
    from airboss.governance.counters_client import SocketCounters  # noqa: PLC0415 - where there are several

    if COUNTERS_ENV in os.environ:
        return SocketCounters(data.counters_socket, worker=worker)
    from airboss.governance.counters_local import LocalCounters  # noqa: PLC0415 - where there is one
    from airboss.governance.owner import Owner  # noqa: PLC0415 - as above
    from airboss.store.state_log import StateLog  # noqa: PLC0415 - as above

    try:
        kept = StateLog(data.counters_path)
    except DataDirLocked:
        return SocketCounters(data.counters_socket, worker=worker)
    stack.callback(kept.close)
    now = steady(time.time(), time.monotonic)
    return LocalCounters(Owner(kept, now=now()), worker=worker, now=now)


def valkey(store: StoreConfig, worker: str) -> ValkeyCounters:
    """Who counts, where that is a server. Raises SetupError where it is not known here which, or its client
    is not installed."""
    try:
        from airboss.governance.counters_valkey import ValkeyCounters  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SetupError(f"[store] counters wants the package {error.name!r}: {install('valkey')}") from error
    return ValkeyCounters(resolved(store.counters), worker=worker)


def run_counters(data_dir: Path, *, log_format: str | None) -> None:
    """The counters' process, until SIGTERM or the supervisor's end."""
    import uvloop  # noqa: PLC0415 - this role's own

    from airboss.governance.counters_service import serve  # noqa: PLC0415 - this role's own
    from airboss.governance.owner import Owner  # noqa: PLC0415 - as above
    from airboss.store.state_log import StateLog  # noqa: PLC0415 - as above

    logs.configure("counters", log_format=log_format)
    fit_limits()
    data = DataDir(data_dir)
    with role_lock(data), ExitStack() as stack:
        on_parent_gone(terminate_self)
        kept = StateLog(data.counters_path)
        stack.callback(kept.close)
        now = steady(time.time(), time.monotonic)
        owner = Owner(kept, now=now())

        async def main() -> None:
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            tell_it_serves(asyncio.get_running_loop())
            await serve(owner, data.counters_socket, stop=stop, now=now)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
