"""The counters' process: it owns the book and answers for it on a unix socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, cast

import msgspec

from airboss.domain.errors import SetupError
from airboss.governance.counters_wire import (
    Ask,
    Broken,
    FromOwner,
    FromWorker,
    Given,
    Heard,
    Hello,
    Messages,
    Refused,
    Tell,
    Welcome,
    framed,
    from_workers,
)
from airboss.governance.counting import Denied
from airboss.governance.owner import Owner
from airboss.telemetry.metrics import GONE_S

TICK_S: Final = 0.5
GONE_TICKS: Final = round(GONE_S / TICK_S)
"""A worker that is not heard of for so long hangs: what it held is free."""
LISTEN_MODE: Final = 0o600

log = logging.getLogger(__name__)


async def serve(owner: Owner, path: Path, *, stop: asyncio.Event, now: Callable[[], float]) -> None:
    """Answer for `owner` at `path`, for this user only, until `stop` is set. Raises SetupError if the path
    cannot be listened on or the state cannot be kept any more."""
    loop = asyncio.get_running_loop()
    workers: set[_Worker] = set()
    try:
        # Whoever starts an owner holds the lock on its state, so a socket here is a dead one's.
        await asyncio.to_thread(path.unlink, missing_ok=True)
        server = await loop.create_unix_server(lambda: _Worker(owner, now, workers), str(path))
        await asyncio.to_thread(path.chmod, LISTEN_MODE)
    except OSError as error:
        raise SetupError(f"the counters cannot listen at {path}: {error}") from error
    ticking = asyncio.create_task(_tick(owner, now, workers))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({ticking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if ticking.done():
            ticking.result()
    finally:
        server.close()
        for worker in tuple(workers):
            worker.hang_up()
        await asyncio.sleep(0)  # they hear of it in the loop's next turn
        for task in (ticking, stopping):
            task.cancel()
        await asyncio.gather(ticking, stopping, return_exceptions=True)
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def _tick(owner: Owner, now: Callable[[], float], workers: Collection[_Worker]) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        owner.tick(now())
        for worker in tuple(workers):
            worker.tick()


class _Worker(asyncio.Protocol):
    """The connection of one worker; until it says hello it may only look whether we listen."""

    def __init__(self, owner: Owner, now: Callable[[], float], among: set[_Worker]) -> None:
        self._owner = owner
        self._now = now
        self._among = among
        self._name: str | None = None
        self._line = 0
        self._messages = Messages()
        self._unheard = 0
        """How many ticks there were since it said something: not seconds, as we may have hung ourselves."""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._among.add(self)

    def hang_up(self) -> None:
        """Close the connection."""
        self._transport.abort()

    def tick(self) -> None:
        """Hang up on one that hangs; it says hello again, with what it holds, if it goes on."""
        self._unheard += 1
        if self._unheard > GONE_TICKS:
            self.hang_up()

    def data_received(self, data: bytes) -> None:
        """Messages, one or many."""
        self._unheard = 0
        try:
            for message in self._messages.feed(data):
                self._heard(from_workers.decode(message))
        except (ValueError, msgspec.DecodeError) as error:
            log.warning("a worker of the counters was cut off: %s", error)
            self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The worker has hung up or died: what it held is free."""
        self._among.discard(self)
        if self._name is not None:
            self._owner.gone(self._name, now=self._now())
            log.info("worker gone", extra={"worker": self._name})

    def _take_over(self, name: str, line: int) -> None:
        """Speak for a worker from here on. Of its connections that it has given up nothing more is heard, nor
        that they end. Raises ValueError for one of these."""
        for other in [each for each in self._among if each._name == name and each is not self]:
            if other._line > line:
                raise ValueError("it has another connection by now")
            other._name = None
            other.hang_up()
        self._name, self._line = name, line

    def _heard(self, message: FromWorker) -> None:
        if isinstance(message, Hello):
            self._take_over(message.worker, message.line)
            self._say(Welcome(self._owner.hello(message.worker, message.held, now=self._now())))
        elif self._name is None:
            raise ValueError("it did not say who it is")
        elif isinstance(message, Tell):
            self._owner.tell(self._name, message.seq, message.changes, now=self._now())
            self._say(Heard(message.seq))
        else:
            self._asked(self._name, message, patience=2)

    def _asked(self, name: str, ask: Ask, *, patience: int) -> None:
        """Answer. Before a no, everything is read that was sent before the question was: two turns of the
        loop. Else a caller who has just been answered by one worker would be refused by the next, which asks
        while the first one's telling waits on another connection."""
        try:
            answer = self._owner.ask(name, ask.wants, now=self._now())
        except SetupError as error:
            self._say(Broken(ask.number, str(error)))
            return
        if not isinstance(answer, Denied):
            self._say(Given(ask.number, answer))
        elif patience:
            self._loop.call_soon(self._again, name, ask, patience - 1)
        else:
            self._say(Refused(ask.number, answer))

    def _again(self, name: str, ask: Ask, patience: int) -> None:
        if self._name == name and not self._transport.is_closing():
            self._asked(name, ask, patience=patience)

    def _say(self, message: FromOwner) -> None:
        self._transport.write(framed(message))
