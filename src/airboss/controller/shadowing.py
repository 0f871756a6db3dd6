"""Asks a shadow again what live calls asked, behind the record log: no caller waits for it or hears of it.

What is asked again is a sample of live traffic, and nobody misses one of it: the place in the log is kept in
memory, and moves before the calls are made. So a controller that is killed asks nothing twice, and one that
starts begins with the calls that come from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from airboss.config import ShadowConfig
from airboss.controller.following import Minutes, follow, newest
from airboss.dialects.recorded import PATHS, in_chat
from airboss.domain.ports import Clock, RecordFilter, RecordLog
from airboss.domain.record import InferenceRecord
from airboss.evaluations.online import drawn
from airboss.store.alert_metrics import INTERNAL_KEY

PAGE: Final = 100
AT_ONCE: Final = 4
"""Calls at once, of all shadows together."""

LATE: Final = timedelta(minutes=10)
"""A call that old is not asked again: what a shadow does now matters, not what it would have done."""

_RAW: Final = "/completions"

Again = Callable[[str, bytes, str, str], Awaitable[str | None]]
"""Asks, at a path under the gateway's base URL, with a body, what the call of this id and this key asked; why
nobody answered."""

log = logging.getLogger(__name__)


class Shadowing:
    """Follows the record log. One event loop calls it; `shadows` are those in force, by deployment. Calls of
    people who are to be `forgotten` are not asked again."""

    def __init__(
        self,
        *,
        shadows: Callable[[], Mapping[str, ShadowConfig]],
        record_log: RecordLog,
        again: Again,
        clock: Clock,
        forgotten: Callable[[InferenceRecord], bool],
    ) -> None:
        self._forgotten = forgotten
        self._shadows = shadows
        self._log = record_log
        self._again = again
        self._clock = clock
        self._cursor: str | None = None
        self._minutes = Minutes()

    async def run(self) -> None:
        """Follow until cancelled. A store or ledger that fails is asked again."""
        await follow(self.tick, "no shadow asked")

    async def tick(self) -> bool:
        """Look at one page of the log; whether there may be more. Raises StoreUnavailable, SetupError."""
        shadows = await asyncio.to_thread(self._shadows)
        if not shadows:
            self._cursor = None
            return False
        if self._cursor is None:
            self._cursor = await asyncio.to_thread(newest, self._log)
        page = await asyncio.to_thread(
            self._log.records, RecordFilter(after=self._cursor), limit=PAGE, bodies=False
        )
        if not page:
            await asyncio.to_thread(self._look_for_loss)
            return False
        self._cursor = page[-1].id
        gate = asyncio.Semaphore(AT_ONCE)
        wanted = [each for each in page if self._counts(each, shadows)]
        asked = (self._asked(gate, each) for each in wanted)
        # All are waited for, so that one that fails leaves none of them behind.
        for each in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(each, BaseException):
                raise each
        return len(page) == PAGE

    def _look_for_loss(self) -> None:
        """A record that is gone, as those of long ago, has nothing after it: then begin anew."""
        if self._cursor and not self._log.records(RecordFilter(id=self._cursor), limit=1, bodies=False):
            self._cursor = newest(self._log)

    def _counts(self, record: InferenceRecord, shadows: Mapping[str, ShadowConfig]) -> bool:
        """Whether a call is one to ask again: a caller's, answered by the model itself, lately, and drawn."""
        shadow = shadows.get(record.deployment)
        return (
            shadow is not None
            and record.arm in {"stable", "never"}
            and record.key != INTERNAL_KEY
            and record.status == "ok"
            and record.cache not in {"hit", "semantic"}
            and record.operation in {"chat", "text_completion"}
            and self._clock.now() - record.started_at <= LATE
            and drawn(record.id, shadow.sample)
            and not self._minutes.over(record.deployment, record, shadow.per_minute)
        )

    async def _asked(self, gate: asyncio.Semaphore, record: InferenceRecord) -> None:
        async with gate:
            for whole in await asyncio.to_thread(
                self._log.records, RecordFilter(id=record.id), limit=1, bodies=True
            ):
                body = asked_again(whole)
                if body is None or (whole.user and await asyncio.to_thread(self._forgotten, whole)):
                    continue  # what is asked after an erasure, it would not find
                path = _RAW if record.operation == "text_completion" else PATHS["chat"]
                failed = await self._again(path, body, record.id, record.key)
                if failed is not None:
                    log.debug("call %s was not asked again: %s", record.id, failed)


def asked_again(record: InferenceRecord) -> bytes | None:
    """What a call asked, as chat; None where it was not kept, or builds on others."""
    request: Any = in_chat(record).request
    if not isinstance(request, dict) or request.get("previous_response_id") is not None:
        return None
    said = {**request, "model": record.deployment}
    if record.user is not None:  # whose it is, in every dialect: so that it is forgotten with the other
        said["user"] = record.user
    return msgspec.json.encode(said)
