"""One gateway process: the listening socket, the plan it polls for, and its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from airboss.config.prices import PriceTable
from airboss.domain.errors import SetupError, Unavailable
from airboss.domain.ports import Clock
from airboss.gateway.cached import AnswerCache
from airboss.gateway.http1 import Connection
from airboss.gateway.ids import STEP_MS_MAX
from airboss.gateway.intake import Intake
from airboss.gateway.judge import STOPPING
from airboss.gateway.kept import Keeping
from airboss.gateway.limits import Limiter
from airboss.gateway.memory import FreeMemory
from airboss.gateway.near import prepare
from airboss.gateway.policies import policies_of, prepare_anew
from airboss.gateway.routes import Router, RouterSettings
from airboss.gateway.server import Server
from airboss.gateway.serving import ProviderKey, build_serving
from airboss.gateway.traces_prices import ListedPrices
from airboss.gateway.worker import Worker
from airboss.governance.counters_local import LocalCounters
from airboss.governance.owner import Owner
from airboss.governance.windows import steady
from airboss.providers import o200k
from airboss.store.daemons import Daemons
from airboss.store.plan_source import PlanSource
from airboss.store.stopping import tell_of_signals
from airboss.telemetry.journal import JournalWriter
from airboss.telemetry.metrics import Counts, read_counts
from airboss.telemetry.outage import Outage

log = logging.getLogger("airboss.gateway")

PLAN_POLL_S = 0.25
SWEEP_S = 1.0
DRAIN_S = 30.0
TAKEN_S = 0.01
"""Time for the loop to accept who waits, and to read what has come."""
LAST_CALLS_S = 0.25
"""So long after SIGTERM calls are still taken, where somebody is connected."""
TOLD_S = 1.0
"""So long clients may take to hear that their calls are cut off, once DRAIN_S is over."""
RECORDED_S = 2.0
"""So long after TOLD_S what calls used that were cut off is counted yet."""
BACKLOG = 4096
COUNTS_AGE = timedelta(seconds=5)
"""Counts are shared every second: no call of a last life began so long after the last that are there."""
SWITCH_S = 0.0005
_threads: Final = Daemons(1, "plan")


def _ignored(*_: object) -> None:
    """Nobody wants to know."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told at its start. `name` is its process' name, such as `gateway-0`; `on_secrets` is
    told the providers' keys of each plan, before it is served, `on_serving` that calls are taken; `prices`
    reads the table in force."""

    name: str
    body_bytes_max: int
    metrics_dir: Path
    metrics_open: bool
    admin_key: str
    own_secrets: tuple[str, ...]
    on_secrets: Callable[[tuple[str, ...]], None] = _ignored
    on_serving: Callable[[], None] = _ignored
    tls: ssl.SSLContext | None = None
    prices: Callable[[], PriceTable] | None = None


async def serve(
    *,
    ledger: PlanSource,
    journal: JournalWriter,
    listen: socket.socket,
    settings: GatewaySettings,
    provider_key: ProviderKey,
    clock: Clock,
    keeping: Keeping | None = None,
    limiter: Limiter | None = None,
    cache: AnswerCache | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then answer what was begun, for at most DRAIN_S seconds. Without a
    `limiter` limits are counted here, and forgotten at the end. Raises what a chore has failed of."""
    worker = Worker(journal=journal, clock=clock, name=settings.name, keeping=keeping)
    held = read_counts(settings.metrics_dir, but="").get(settings.name)
    if held is not None:
        last_life = held.written_at + COUNTS_AGE
        if last_life - clock.now() < timedelta(milliseconds=STEP_MS_MAX):
            worker.ids.begin_after(int(last_life.timestamp() * 1000))
    await worker.resume(settings.metrics_dir, held or Counts(written_at=clock.now()))
    worker.limiter = limiter or _own_limiter(clock)
    worker.cache = cache
    worker.listed = ListedPrices(settings.prices)
    router = Router(
        worker,
        RouterSettings(
            metrics_dir=settings.metrics_dir,
            metrics_open=settings.metrics_open,
            admin_key=settings.admin_key,
        ),
    )
    server = _server(worker, router, settings)
    stopped = asyncio.Event()
    with _signals(server.loop, stopped):
        await worker.limiter.start()
        await _follow_plan_once(worker, ledger, settings, provider_key)
        listener = await server.loop.create_server(
            lambda: Connection(server), sock=listen, ssl=settings.tls, backlog=BACKLOG
        )
        chores = [
            asyncio.create_task(_follow_plan(worker, ledger, settings, provider_key)),
            asyncio.create_task(_sweep(server, worker, settings)),
            asyncio.create_task(worker.executor.trying.keep_deadlines()),
            asyncio.create_task(worker.limiter.run()),
        ]
        settle()
        log.info("serving", extra={"address": listen.getsockname()})
        settings.on_serving()
        defect = await _over(stopped, chores)
        log.info("draining", extra={"connections": len(server.connections)})
        router.draining = worker.executor.leaving = True
        await _last_calls(server)
        listener.close()
        server.drain()
        await _drained(server, worker)
        await _end(chores, worker)
        await worker.limiter.close()
        worker.close()
        await worker.share(settings.metrics_dir)
    log.info("stopped")
    if defect is not None:
        raise defect


def _server(worker: Worker, router: Router, settings: GatewaySettings) -> Server:
    loop = asyncio.get_running_loop()
    return Server(
        handler=router,
        error_response=router.error_response,
        may_send=router.may_send,
        body_bytes_max=settings.body_bytes_max,
        loop=loop,
        outbox=worker.outbox,
        intake=Intake(loop, worker.clock),
    )


async def _over(stopped: asyncio.Event, chores: Sequence[asyncio.Task[None]]) -> BaseException | None:
    """Wait until the worker is to stop, or a chore has failed: without its deadlines, plans or limits it must
    not look alive. Returns what failed."""
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({stopping, *chores}, return_when=asyncio.FIRST_COMPLETED)
    defect = next((each.exception() for each in chores if each.done()), None)
    if defect is None:
        return None
    stopping.cancel()
    log.error("a chore has failed; this worker ends, and another begins", exc_info=defect)
    return defect


async def _end(chores: Sequence[asyncio.Task[None]], worker: Worker) -> None:
    for chore in chores:
        chore.cancel()
    await asyncio.gather(*chores, return_exceptions=True)
    if worker.recogniser is not None:
        await worker.recogniser.close()


def _own_limiter(clock: Clock) -> Limiter:
    now = steady(clock.now().timestamp(), clock.monotonic)
    counters = LocalCounters(Owner(None, now=now()), worker="gateway", now=now)
    return Limiter(counters, clock=clock)


def settle() -> None:
    """Collect cycles seldom, and never look again at what the start has made: a call makes hundreds of
    objects and next to no cycles, and with the defaults looking for them took 13% of a busy worker.

    And let threads hand over soon: at each step that every call takes, the loop waited as long as Python lets
    a thread go on, 5 ms, while one read a large body.
    """
    gc.collect(0)  # of what the start has made next to nothing is garbage, and a look at it all takes 25 ms
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)
    sys.setswitchinterval(SWITCH_S)


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> Iterator[None]:
    tell_of_signals(loop, stopped)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _follow_plan_once(
    worker: Worker, ledger: PlanSource, settings: GatewaySettings, provider_key: ProviderKey
) -> None:
    """Swap the view whole if the ledger has a newer one."""
    held = worker.serving.revision if worker.serving is not None else 0
    if await asyncio.wrap_future(_threads.submit(ledger.revision)) == held:
        return
    snapshot = await asyncio.wrap_future(_threads.submit(ledger.snapshot))
    if snapshot is None:
        return
    if any(policy is not None and policy.custom for policy in policies_of(snapshot)):
        await asyncio.to_thread(prepare_anew, snapshot)  # a thousand words take a third of a second
    serving = build_serving(
        snapshot,
        provider_key=provider_key,
        own_secrets=settings.own_secrets,
        admin_key=settings.admin_key,
        now=worker.clock.now(),
    )
    if any(each.compares is not None for each in serving.plan.deployments):
        await asyncio.to_thread(prepare)
    settings.on_secrets(tuple(serving.secrets.values()))  # before a call can use one, no log may show it
    for reference, reason in serving.missing.items():
        log.warning("secret missing", extra={"reference": reference, "reason": str(reason)})
    if worker.limiter is not None and worker.limiter.bind(snapshot):
        await worker.limiter.refresh()
        serving = msgspec.structs.replace(serving, limiter=worker.limiter)
    if serving.asks_names:
        from airboss.gateway.screened_names import recogniser_of  # noqa: PLC0415 - only such policies need it

        recogniser_of(worker)
    worker.serving = serving
    worker.executor.places.keep(snapshot.plan.targets())
    log.info("plan", extra={"number": serving.plan.number, "revision": serving.revision})
    await worker.share(settings.metrics_dir)  # whoever made the change waits for this


async def _follow_plan(
    worker: Worker, ledger: PlanSource, settings: GatewaySettings, provider_key: ProviderKey
) -> None:
    outage = Outage(log, "cannot read the plan, the one held is served")
    while True:
        await asyncio.sleep(PLAN_POLL_S)
        try:
            await _follow_plan_once(worker, ledger, settings, provider_key)
            outage.over()
        except (SetupError, OSError) as error:
            outage.failed(error)
        except Exception:
            # The plan held is good; a ledger that is away must not take the data path with it.
            log.exception("cannot read the plan; serving the one held")


async def _sweep(server: Server, worker: Worker, settings: GatewaySettings) -> None:
    free_memory = FreeMemory()
    while True:
        await asyncio.sleep(SWEEP_S)
        server.sweep()
        free_memory.bound()
        if worker.serving is not None:
            # Here, as a ledger that hangs has `_follow_plan` wait, and secrets have an end all the same.
            if worker.serving.outdated(now := worker.clock.now()):
                worker.serving = worker.serving.aged(now)
            if worker.cache is not None:
                worker.cache.sweep(worker.serving.plan.deployments)
        await worker.share(settings.metrics_dir)


async def _last_calls(server: Server) -> None:
    """Take what was sent before its client could know of the stop: to close at once what waits to be accepted
    or read would reset it. Each answer closes its connection from here on, so that those in use come to an
    end by themselves."""
    server.draining = True
    await asyncio.sleep(TAKEN_S)
    loop = asyncio.get_running_loop()
    ends = loop.time() + LAST_CALLS_S
    while server.connections and loop.time() < ends:  # noqa: ASYNC110 - once, at the end
        await asyncio.sleep(TAKEN_S)


def _stopping() -> Unavailable:
    return Unavailable(
        f"this gateway stops, and the call took longer than the {DRAIN_S:.0f} s that it waits; send it again",
        code=STOPPING,
        retry_after_s=1.0,
    )


async def _drained(server: Server, worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_S
    while server.connections and loop.time() < deadline:
        await asyncio.sleep(0.05)
        server.drain()
    if server.connections:
        if not o200k.ready():
            # What was used is counted before clients hear; on a busy machine this takes longer than TOLD_S.
            await asyncio.to_thread(o200k.load)
        worker.executor.trying.fail_all(_stopping())
        deadline = loop.time() + TOLD_S
        while server.connections and loop.time() < deadline:
            await asyncio.sleep(0.05)
            server.drain()
    for connection in tuple(server.connections):
        connection.transport.abort()
    # Calls whose clients are gone are cancelled; let them write their records.
    deadline += RECORDED_S
    await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    while worker.metrics.in_flight and loop.time() < deadline:  # noqa: ASYNC110 - once, at the end
        await asyncio.sleep(0.05)
