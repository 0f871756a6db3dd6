"""The controller's life: one thread moves records, the event loop serves the console and reports."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from airboss.domain.ports import Clock
from airboss.domain.status import JournalStatus
from airboss.telemetry.metrics import Counts, write_counts
from airboss.telemetry.outage import Outage

log = logging.getLogger(__name__)

REPORT_S = 1.0
STALE_S = 3.0
"""A mover that has said nothing for so long waits for a record store that hangs."""
FIRST_S = 1.0
"""So long who asks waits for a record store that starts beside us, and has not answered yet."""
DOWN_S = 30.0
"""So long the store may be at work on something; after it, or where moves fail all the time, it is down."""


class Moves(Protocol):
    """What the loop needs of `controller.mover.Mover`."""

    @property
    def heard_at(self) -> float:
        """When the record store answered a move last: a tick that catches up is many of them."""

    def run(self, stop: threading.Event, on_status: Callable[[JournalStatus], None]) -> None:
        """Move until `stop` is set."""

    def drain(self) -> JournalStatus:
        """Move all that can be moved now."""

    def status(self) -> JournalStatus:
        """How far behind the log is; any thread may ask."""


class Controller:
    """One controller process."""

    def __init__(
        self,
        *,
        mover: Moves,
        metrics: Path,
        clock: Clock,
        more_gauges: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._more_gauges = more_gauges
        self._outage = Outage(log, "records wait in the journal")
        self._looked = threading.Event()
        self._looks, self._news = 0, threading.Condition()
        self._found = False
        self._taken_at = clock.monotonic()
        self._mover = mover
        self._metrics = metrics
        self._clock = clock
        self._stop = threading.Event()
        self._failure: BaseException | None = None

    async def run(
        self, serve_console: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event
    ) -> None:
        """Run until `stop` is set; then the console closes and the last records are moved.

        `serve_console` gets an event that tells it when to stop. Raises what made the mover fail: a
        controller that moves nothing must not look alive.
        """
        loop = asyncio.get_running_loop()
        mover = threading.Thread(target=self._move, args=(loop, stop), name="mover", daemon=True)
        mover.start()
        # Who asks a controller that begins anew must not hear that nothing waits before it has looked.
        await asyncio.to_thread(self._looked.wait, STALE_S)
        reporting = asyncio.create_task(self._report_often(), name="report")
        try:
            await serve_console(stop)
        finally:
            self._stop.set()
            reporting.cancel()
            await asyncio.to_thread(mover.join)
            await asyncio.to_thread(self._report)
        if self._failure is not None:
            raise self._failure

    def _move(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        try:
            self._mover.run(self._stop, self._take)
            # Gateways have ended before us, so what they wrote last is there now.
            self._take(self._mover.drain())
        except BaseException as error:
            if isinstance(error, OSError):
                why = "what gateways wrote last is moved at the next start: %s"
                log.error(why, error)  # noqa: TRY400 - a disk that fails us is no defect of ours
            else:
                log.exception("the mover failed; the controller ends")
            self._failure = error
            self._looked.set()
            loop.call_soon_threadsafe(stop.set)

    @property
    def journal(self) -> JournalStatus:
        """The status as of now, for who has just been answered; any thread may ask, and gets one while the
        record store is silent too, and before the first look."""
        if self._looked.is_set() and not self._found:
            self._look_again()
        status = self._mover.status()
        silent_s = self._clock.monotonic() - max(self._taken_at, self._mover.heard_at)
        if silent_s >= STALE_S and status.store_up:
            why = f"the {status.waits_for} has not answered for {silent_s:.0f} s"
            return msgspec.structs.replace(status, store_up=silent_s < DOWN_S, store_detail=why)
        if not self._looked.is_set():
            why = "the record store has not been asked yet"
            return msgspec.structs.replace(status, store_up=False, store_detail=why)
        return status

    def _look_again(self) -> None:
        """Wait for the mover to look for a record store that was not there yet: it may have come since. The
        look that is under way may have begun before that."""
        with self._news:
            looks = self._looks + 2
            self._news.wait_for(lambda: self._found or self._looks >= looks, FIRST_S)

    def _take(self, status: JournalStatus) -> None:
        self._taken_at = self._clock.monotonic()
        with self._news:
            self._looks += 1
            self._found = self._found or status.store_up
            self._news.notify_all()
        if status.store_up:
            self._outage.over()
        elif self._found:  # one that starts beside us may take its time
            self._outage.failed(status.store_detail)
        self._looked.set()

    async def _report_often(self) -> None:
        while True:
            await asyncio.to_thread(self._report)
            await asyncio.sleep(REPORT_S)

    def _report(self) -> None:
        """Tell the gateways, whose `/metrics` shows it."""
        try:
            all_gauges = {**gauges(self.journal), **self._more_gauges()}
            write_counts(self._metrics, Counts(written_at=self._clock.now(), gauges=all_gauges))
        except OSError as error:
            log.warning("cannot write metrics", extra={"path": str(self._metrics), "reason": str(error)})


def gauges(journal: JournalStatus) -> dict[str, float]:
    """The status as numbers; `journal_oldest_unmoved_at` is Unix time, 0 where nothing waits."""
    oldest = journal.oldest_unmoved_at
    return {
        "journal_unmoved_bytes": float(journal.unmoved_bytes),
        "journal_oldest_unmoved_at": oldest.timestamp() if oldest is not None else 0.0,
        "journal_moved_records": float(journal.moved_records),
        "journal_corrupt_frames": float(journal.corrupt_frames),
        "feedback_dead_letters": float(journal.stray_feedback),
        "store_up": 1.0 if journal.store_up else 0.0,
    }
