"""One run of `airboss up`: from the first child started to the last one gone."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final

from airboss.domain.errors import SetupError
from airboss.domain.status import ProcessStatus
from airboss.store.daemons import Daemons
from airboss.store.stopping import asked_to_end, ending
from airboss.supervisor import fleet, runfiles
from airboss.supervisor.local import LocalHost
from airboss.supervisor.process import OnLine
from airboss.supervisor.roster import Roster
from airboss.supervisor.supervisor import Spec, Supervisor
from airboss.telemetry.outage import Outage

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often the ledger is asked which replicas should run."""
SILENT_S = 2.0
"""So long its answer is waited for; then other things are done, and it is not asked again before it came."""
_threads: Final = Daemons(1, "books")


class Session:
    """Keeps the core processes and this machine's replicas running until told to stop.

    `host` None: replicas run elsewhere, and some process of the core, or another machine, sees to them.

    `listener` is our own hold on the data plane's socket: kept open while a gateway restarts, so that
    connections wait instead of being refused, and closed first when stopping.
    """

    def __init__(
        self,
        *,
        core: Iterable[Spec],
        roster: Roster | None,
        host: LocalHost | None,
        run_dir: Path,
        listener: socket.socket,
        on_line: OnLine,
    ) -> None:
        self._core = tuple(core)
        self._roster = roster
        self._host = host
        self._run_dir = run_dir
        self._listener = listener
        self._supervisor = Supervisor(on_line=on_line, on_change=self._on_change)
        self._statuses: dict[str, ProcessStatus] = {}
        self._dirty = asyncio.Event()
        self._unwritten: list[asyncio.Future[None]] = []
        self._unasked = Outage(log, "the ledger is not asked, or told, about replicas")
        self._asking: Future[list[Spec] | None] | None = None
        self._untold = Outage(log, f"how things stand is not written into {run_dir}")
        self._stop = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Run until SIGTERM, SIGHUP or SIGINT, then stop in order: gateways finish their calls first. A
        second SIGINT ends everything at once. `on_ready` is called once, when everything is ready, and
        written down to be.

        Raises StartFailed if a process cannot be started at all; everything has been stopped then.
        """
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in asked_to_end()}
        for number in before:
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            # Replicas first: loading a model takes longest.
            self._supervisor.want([*await asyncio.to_thread(self._replicas), *self._core])
            await self._until_stopped(on_ready)
        finally:
            ending.set()
            log.info("stopping; calls in flight may finish, for at most %.0f s", fleet.DRAIN_S)
            self._listener.close()
            await self._supervisor.stop([fleet.is_gateway, lambda name: not fleet.is_store(name)])
            await self._books()
            loop.remove_signal_handler(signal.SIGINT)
            for number, act in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, act)

    async def _until_stopped(self, on_ready: Callable[[], None]) -> None:
        ready = asyncio.create_task(self._until_ready(), name="until ready")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        supervising = asyncio.create_task(self._supervisor.run(), name="supervisor")
        books = asyncio.create_task(self._keep_books(), name="books")
        pending: set[asyncio.Task[object]] = {ready, stop, supervising, books}
        try:
            while stop in pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if ready in done:
                    on_ready()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _until_ready(self) -> None:
        """Until everything is, and who asks `airboss status` at the word of it hears so."""
        await self._supervisor.until_ready()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unwritten.append(written)
        self._dirty.set()
        await written

    def _interrupt(self) -> None:
        if self._stop.is_set():
            log.warning("ending everything at once")
            self._supervisor.kill_all()
        self._stop.set()

    def _on_change(self, statuses: Mapping[str, ProcessStatus]) -> None:
        self._statuses = dict(statuses)
        self._dirty.set()

    async def _keep_books(self) -> None:
        """Write how things stand whenever that changes, and ask twice a second what should run."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._dirty.wait()
            self._dirty.clear()
            told, self._unwritten = self._unwritten, []
            specs = await self._books()
            for each in told:
                each.set_result(None)
            if specs is not None:
                self._supervisor.want([*specs, *self._core])

    def _replicas(self) -> list[Spec]:
        """What should run of this machine's replicas, after telling the ledger how they stand."""
        if self._host is None or self._roster is None:
            return []
        self._host.saw(self._statuses)
        self._roster.keep()
        return self._host.specs(essential=self._roster.essential)

    async def _books(self) -> list[Spec] | None:
        """Write how things stand; returns the replicas that should run, None if the ledger does not say. One
        that is silent keeps nothing else from being done."""
        await asyncio.to_thread(self._tell_how_things_stand)
        asking = self._asking or _threads.submit(self._asked)
        await asyncio.wait({asyncio.wrap_future(asking)}, timeout=SILENT_S)
        self._asking = None if asking.done() else asking
        return asking.result() if asking.done() else None

    def _asked(self) -> list[Spec] | None:
        """The replicas that should run, after telling the ledger how they stand; None if it does not say."""
        try:
            found = self._replicas()
        except SetupError as error:
            self._unasked.failed(error)
            return None
        except Exception:
            # A busy ledger must not end what serves; half a second later we try again.
            log.exception("cannot ask or tell the ledger about replicas")
            return None
        self._unasked.over()
        return found

    def _tell_how_things_stand(self) -> None:
        """Write it for `airboss status`. On a full disk what stood there stays."""
        try:
            runfiles.write_processes(self._run_dir, self._statuses.values())
        except OSError as error:
            self._untold.failed(error.strerror)
        else:
            self._untold.over()
