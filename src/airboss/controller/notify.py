"""Brings notifications to their notifiers: each until it is taken, in order for each alarm, never forgotten.

What is to be told stands in the ledger before it is sent, and what became of a try stands there after it. So
a controller killed in between may send one again, under the same id; it never loses one. While the ledger
takes no writes, as on a full disk, what is to be told is sent all the same, and stands there afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec

from airboss.domain.errors import ConfigError, SetupError
from airboss.domain.ports import Clock
from airboss.store.alert_rows import BACK_OFF_S_MAX, AlertStore, Notification
from airboss.telemetry.outage import Outage

BACK_OFF_S: Final = 1.0
GIVE_UP: Final = timedelta(hours=24)
"""After that a notification is `failed`, which `airboss monitor show` tells."""

AT_ONCE: Final = 20
POLL_S: Final = 0.5

log = logging.getLogger(__name__)


class Sender(Protocol):
    """Sends one notification."""

    async def send(self, notification: Notification, now: datetime) -> str | None:
        """Try once; None if it was taken, else why not. Raises SetupError, ConfigError where it cannot be
        read who is told, and where, and nothing else but for cancellation."""


class Deliveries:
    """Sends what is due, and what is `untaken`: to be told, and not in the ledger yet. What is about an alarm
    that is `silenced` by then waits until it is not. One event loop calls it."""

    def __init__(
        self,
        store: AlertStore,
        sender: Sender,
        clock: Clock,
        *,
        untaken: Callable[[], Sequence[Notification]] = tuple,
        silenced: Callable[[datetime], Collection[str]] = lambda _now: (),
    ) -> None:
        self._silenced = silenced
        self._untaken = untaken
        self._store = store
        self._sender = sender
        self._clock = clock
        self._unkept: dict[str, Notification] = {}
        """What became of tries that the ledger could not be told: they are not made again meanwhile."""

    async def run(self) -> None:
        """Send until cancelled. A ledger that fails is logged and asked again. A try that takes its time
        holds up no other notifier."""
        trying: dict[str, asyncio.Task[Any]] = {}
        outage = Outage(log, "notifications not sent")
        try:
            while True:
                try:
                    for done in [name for name, task in trying.items() if task.done()]:
                        await trying.pop(done)
                    for each in await asyncio.to_thread(self._due_untaken):
                        trying[each.id] = trying.get(each.id) or asyncio.create_task(self._send(each))
                    for each in await self._due(AT_ONCE + len(trying)):
                        trying[each.id] = trying.get(each.id) or asyncio.create_task(self._try(each))
                    outage.over()
                    await asyncio.sleep(POLL_S)
                except (SetupError, ConfigError) as error:
                    outage.failed(error)
                    await asyncio.sleep(POLL_S)
        finally:
            for task in trying.values():
                task.cancel()
            await asyncio.gather(*trying.values(), return_exceptions=True)

    async def tick(self) -> int:
        """Try all that is due now, at once for different notifiers; returns how many were tried."""
        due = await self._due(AT_ONCE)
        await asyncio.gather(*map(self._try, due))
        return len(due)

    async def _due(self, limit: int) -> Sequence[Notification]:
        return await asyncio.to_thread(self._due_now, limit)

    def _due_now(self, limit: int) -> Sequence[Notification]:
        now = self._clock.now()
        due = self._store.due(now, limit=limit)
        silenced = self._silenced(now) if due else ()
        return self._store.due(now, limit=limit, without=silenced) if silenced else due

    def _due_untaken(self) -> Sequence[Notification]:
        """As they are after the tries so far; of an alarm and a notifier the oldest that is not taken, where
        none waits in the ledger, which comes before, nor is it there itself."""
        now, untaken, first = self._clock.now(), self._untaken(), dict[tuple[str, str], Notification]()
        if not untaken:
            return ()
        for each in untaken:
            tried = self._unkept.get(each.id, each)
            if tried.state == "waiting":
                first.setdefault((tried.alarm, tried.notifier), tried)
        silenced: Collection[str] = ()
        try:
            silenced = self._silenced(now)
            ahead = {
                (alarm, notifier)
                for id_, alarm, notifier in self._store.waiting()
                if id_ not in self._unkept or self._unkept[id_].state == "waiting"
            }
            ahead |= {key for key, each in first.items() if self._store.notification(each.id) is not None}
        except (SetupError, ConfigError):  # a ledger that cannot be read either keeps nobody waiting
            ahead = set()
        return [
            each
            for key, each in first.items()
            if each.due_at <= now and key not in ahead and each.alarm not in silenced
        ]

    async def _try(self, notification: Notification) -> None:
        settled = self._unkept.get(notification.id) or await self._send(notification)
        await asyncio.to_thread(self._store.settle_notification, settled)
        del self._unkept[notification.id]

    async def _send(self, notification: Notification) -> Notification:
        """What becomes of a try, which stands in `_unkept` until the ledger has been told."""
        settled = self._unkept[notification.id] = await self._sent(notification)
        if settled.state == "sent":
            log.info("notified", extra={"alarm": settled.alarm, "notifier": settled.notifier})
        elif settled.state == "failed":
            log.error("given up telling %s of %s: %s", settled.notifier, settled.alarm, settled.error)
        return settled

    async def _sent(self, notification: Notification) -> Notification:
        """The notification after a try. Raises SetupError, ConfigError where there was none: who is told, and
        where, stands in the ledger."""
        try:
            error = await self._sender.send(notification, self._clock.now())
        except (SetupError, ConfigError):
            raise
        except Exception as broken:
            # A defect of one notifier ends neither the others nor the controller.
            log.exception("the notifier %s broke", notification.notifier)
            error = f"the try broke: {type(broken).__name__}"
        return settle(notification, error, self._clock)


def settle(notification: Notification, error: str | None, clock: Clock) -> Notification:
    """What a try makes of a notification: sent, tried again after a pause that doubles, or given up."""
    now = clock.now()
    tried = msgspec.structs.replace(notification, attempts=notification.attempts + 1, error=error)
    if error is None:
        return msgspec.structs.replace(tried, state="sent", ended_at=now)
    if notification.kind == "test" or now - notification.created_at >= GIVE_UP:
        return msgspec.structs.replace(tried, state="failed", ended_at=now)
    pause_s = min(BACK_OFF_S * 2 ** min(notification.attempts, 30), BACK_OFF_S_MAX)
    return msgspec.structs.replace(tried, due_at=now + timedelta(seconds=pause_s))
