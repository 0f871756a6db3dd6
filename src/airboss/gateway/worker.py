"""What a gateway process has, and what is known of a call once it is admitted."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from airboss.domain.errors import ApiError, Unavailable
from airboss.domain.plan import DeploymentPlan
from airboss.domain.ports import Clock
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.dispatch import Executor
from airboss.gateway.ids import RecordIds
from airboss.gateway.recording import Recording
from airboss.gateway.room import Room
from airboss.gateway.serving import Branch, Serving
from airboss.gateway.spoken import Spoken
from airboss.gateway.traces_prices import ListedPrices
from airboss.gateway.turns import Share
from airboss.providers import o200k
from airboss.providers.dialect import Outgoing
from airboss.providers.outbox import Outbox, Pieces
from airboss.providers.pools import Pools
from airboss.telemetry.journal import JournalWriter
from airboss.telemetry.metrics import Counts, WorkerMetrics, write_encoded
from airboss.telemetry.uncounted import Uncounted

if TYPE_CHECKING:
    from airboss.gateway.cached import AnswerCache, Seat
    from airboss.gateway.held import Held
    from airboss.gateway.kept import Keeping
    from airboss.gateway.limits import Limiter
    from airboss.gateway.screened import CallScreen
    from airboss.governance.recogniser import Recogniser

log = logging.getLogger("airboss.gateway")


class Worker:
    """What the calls of one gateway process share."""

    def __init__(
        self, *, journal: JournalWriter, clock: Clock, name: str, keeping: Keeping | None = None
    ) -> None:
        self.name = name
        self.keeping = keeping
        self.clock = clock
        self.journal = journal
        self.outbox = Outbox()
        self.metrics = WorkerMetrics()
        self.recording = Recording(journal, self.outbox, written=self.metrics.recorded)
        rng = random.Random()  # noqa: S311 - jitter, not secrets
        self.executor = Executor(Pools(self.outbox), rng=rng, unrecorded=self.recording.unrecorded)
        self.ids = RecordIds()
        self._counting = Share()
        self.serving: Serving | None = None
        self.limiter: Limiter | None = None
        self.reading, self.screening = asyncio.Semaphore(1), asyncio.Semaphore(1)
        """Of whoever reads, or screens, a large body in a thread, which takes ten times the memory."""
        self.room = Room()
        self._sharing = asyncio.Lock()
        self._unshared = b""
        """Counts that could not be written: what came since is kept apart from these."""
        self._uncounted: Path | None = None
        """Where calls are kept that end from the first counts on that are written."""
        self.cache: AnswerCache | None = None
        self.listed = ListedPrices(None)
        self.recogniser: Recogniser | None = None
        """What finds names, where a policy looks for them."""

    def counts(self) -> Counts:
        """What this worker shares: its metrics, and what the controller scales and drains by."""
        counts = self.metrics.counts(self.clock.now(), begins=not self._unshared)
        kept_at = None
        if self.serving is not None:
            counts.plan, counts.revision = self.serving.plan.number, self.serving.revision
            kept_at = counts.kept_at = self.serving.kept_at
        age = (counts.written_at - kept_at).total_seconds() if kept_at is not None else 0.0
        counts.gauges |= {"plan_from_disk": float(kept_at is not None), "plan_from_disk_age_seconds": age}
        counts.outstanding = self.executor.places.outstanding()
        counts.targets = self.executor.places.uses(time.perf_counter(), counts.written_at)
        counts.limited = self.metrics.limited({} if self.limiter is None else self.limiter.said_no())
        if self.limiter is not None:
            counts.limits = self.limiter.uses()
            counts.gauges["counters_away"] = float(self.limiter.away)
        counts.unrecordable = self.recording.trouble()
        counts.gauges["journal_unwritable"] = float(bool(counts.unrecordable))
        return counts

    async def may_count(self) -> None:
        """Wait until what a call used can be counted, and this turn of the loop has time left for that."""
        if not o200k.ready():
            await asyncio.to_thread(o200k.load)
        await self._counting.mine()

    def close(self) -> None:
        """No call is under way any more: let connections go, and record what still can be."""
        self.executor.close()
        self.recording.pay()

    async def resume(self, directory: Path, held: Counts) -> None:
        """Go on from what the last life of this worker counted, and have the next one go on from this."""
        self._uncounted = directory / f"{self.name}.uncounted"
        self.metrics.resume(held, self._uncounted)
        self.executor.places.resume(held.targets)
        await self.share(directory)

    async def share(self, directory: Path) -> Counts:
        """Write what is counted to this worker's file there, for the others and for its next life, and return
        it. A disk that is full is told in the log."""
        async with self._sharing:  # or an older count could be written over a newer one
            path = directory / f"{self.name}.json"
            if self._unshared:
                await self._write(path)
            counts = self.counts()
            if not self._unshared:
                self._unshared = msgspec.json.encode(counts)  # at once: calls go on
                await self._write(path)
            return counts

    async def _write(self, path: Path) -> None:
        try:
            await asyncio.to_thread(write_encoded, path, self._unshared)
        except OSError as error:
            log.warning("cannot write metrics", extra={"path": str(path), "reason": str(error)})
            return
        self._unshared = b""
        if self._uncounted is not None:  # now that what it held is written down
            try:
                self.metrics.keep(Uncounted(self._uncounted))
            except OSError as error:
                log.warning("cannot keep counts", extra={"path": str(path), "reason": str(error)})
            else:
                self._uncounted = None

    def view(self) -> Serving:
        """What is served now. Raises Unavailable before the first plan."""
        if self.serving is None:
            raise Unavailable(
                "no plan has been published yet; try again shortly", code="no_plan", retry_after_s=1
            )
        return self.serving


class Admitted(msgspec.Struct, frozen=True):
    """A call with everything decided about it before it is sent."""

    request: InferenceRequest
    body: wire.Body
    deployment: DeploymentPlan
    branch: Branch
    upstream_body: bytes | Pieces
    said: InferenceRequest
    """The request as it came, before the target's kind changed anything of it."""
    trace: Mapping[str, str] | None
    screen: CallScreen | None = None
    outgoing: Outgoing | None = None
    """What goes upstream where that is another dialect than OpenAI's; `upstream_body` is its body."""
    too_large: ApiError | None = None
    """Why the branch's target is not asked, and only its fallbacks are; `upstream_body` is then empty."""
    spoken: Spoken | None = None
    """How the client speaks, where that is not chat; `request.body` is what it said as chat."""
    held: Held | None = None
    """What it holds of limits and budgets, if it has any."""
    seat: Seat | None = None
    """Where it stands with the deployment's cache, if there is one."""


def release(held: Held | None, seat: Seat | None = None, *, left: bool = False) -> None:
    """Give back what a call holds, unless its record has settled that. `left`: its client has gone, before
    there was a record."""
    if held is not None:
        held.release()
    if seat is not None:
        seat.leave(left=left)
