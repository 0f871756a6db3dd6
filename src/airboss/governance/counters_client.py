"""Who counts, as a gateway sees him where he is elsewhere; and the owner on its unix socket."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import ClassVar, Final, Protocol, cast

import msgspec

from airboss.domain.errors import Unavailable
from airboss.governance.counters_wire import (
    Ask,
    FromOwner,
    Given,
    Heard,
    Hello,
    Messages,
    Refused,
    Tell,
    Welcome,
    framed,
    from_owners,
)
from airboss.governance.counting import Answer, Change, Held, Want, given_back

ANSWER_S: Final = 1.0
"""An owner that is silent for so long is away."""
RETRY_S: Final = 0.1
AWAY_S_MAX: Final = 10.0
"""Callers are told to come back in the time that an owner has been away, up to this: he is started again soon
where he only died, and who is away for long is likely to stay so."""
STUCK_S: Final = 5.0
"""A connection on which nothing was answered for so long is given up for another."""
UNHEARD_MAX: Final = 4096
"""So many tellings are kept for an owner that is away; then they are made one."""

log = logging.getLogger(__name__)


class Line(Protocol):
    """A connection to who counts. It tells what it hears to `FarCounters.heard`, and its end to `lost`."""

    async def greet(self, hello: Hello) -> int:
        """Say hello; returns what `Welcome` says. Raises ConnectionError."""

    def say(self, message: Ask | Tell) -> None:
        """Send."""

    def beat(self) -> None:
        """Say that this worker is there."""

    def leave(self) -> None:
        """Give back what this worker holds, and close."""

    def hang_up(self) -> None:
        """Close at once."""


class FarCounters(ABC):
    """Implements `counting.Counters`, but for `_connect`. Connects again by itself; what was told while who
    counts was away is told when he is back, each telling once.

    It is its own circuit breaker: when a question has not been answered in time, all others fail at once
    until there is an answer.
    """

    who: ClassVar[str]
    """Who does not answer, for a message."""
    shared: ClassVar = True
    where = ""
    """At which address, for the log alone."""

    def __init__(self, *, worker: str) -> None:
        self._worker = worker
        self._number = 0
        self._seq = 0
        self._asked: dict[int, _Question] = {}
        self._unheard: dict[int, tuple[Change, ...]] = {}
        self._line: Line | None = None
        """The connection, once we are welcome."""
        self._lines = 0
        """How many connections there were."""
        self._told = 0
        """The last telling that went out on some connection: it may have counted."""
        self._keeping: asyncio.Task[None] | None = None
        self._held: Held = dict
        self._lost = asyncio.Event()
        self._gone_at: float | None = None
        """Since when we are not welcome."""
        self._missed = False
        """Whether it was said that nobody answers, so that why not is said too."""

    @abstractmethod
    async def _connect(self) -> Line:
        """A connection. Raises OSError."""

    async def start(self, held: Held) -> None:
        """As `Counters.start`: one try, and then again and again in the background."""
        self._held = held
        connected = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep_connected(connected), name="counters")
        try:
            async with asyncio.timeout(ANSWER_S):
                await connected.wait()
        except TimeoutError:
            self._missed = True
            log.warning("%s does not answer; limited calls wait for it", self.who)

    @property
    def here(self) -> bool:
        """Whether we are welcome, and answered."""
        return self._line is not None and not self._silent()

    def ask(self, wants: Sequence[Want]) -> asyncio.Future[Answer]:
        """As `Counters.ask`."""
        line = self._line
        if line is None:
            raise self._away("is not there")
        now = asyncio.get_running_loop().time()
        if self._silent():
            raise self._away(f"has not answered for {ANSWER_S:g} s")
        self._number += 1
        question = self._asked[self._number] = _Question(tuple(wants), now + ANSWER_S)
        line.say(Ask(self._number, question.wants))
        return question.answer

    def _silent(self) -> bool:
        """Whether a question has not been answered in time."""
        oldest = next(iter(self._asked.values()), None)
        return oldest is not None and oldest.due <= asyncio.get_running_loop().time()

    def tell(self, changes: Sequence[Change]) -> None:
        """As `Counters.tell`."""
        self._seq += 1
        self._unheard[self._seq] = tuple(changes)
        if self._line is not None:
            self._line.say(Tell(self._seq, self._unheard[self._seq]))
            self._told = self._seq
            if len(self._unheard) > UNHEARD_MAX:
                self._line.hang_up()
        elif len(self._unheard) > UNHEARD_MAX:
            self._shorten()

    def _shorten(self) -> None:
        """Make all tellings that never went out one: none of them can have counted."""
        untold = [number for number in self._unheard if number > self._told]
        changes = merged([each for number in untold for each in self._unheard.pop(number)])
        self._unheard[self._seq] = changes

    def tick(self) -> None:
        """As `Counters.tick`: gives up on questions that were not answered in time."""
        now = asyncio.get_running_loop().time()
        if self._line is not None:
            self._line.beat()
        oldest = next(iter(self._asked.values()), None)
        if oldest is not None and oldest.due + STUCK_S < now and self._line is not None:
            self._line.hang_up()
        for question in self._asked.values():
            if question.due > now:
                break
            if not question.answer.done():
                question.answer.set_exception(self._away(f"did not answer within {ANSWER_S:g} s"))

    async def close(self) -> None:
        """As `Counters.close`."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._line is not None:
            self._line.leave()

    async def _keep_connected(self, connected: asyncio.Event) -> None:
        said = ""
        while True:
            self._line = None
            self._gone_at = self._gone_at or asyncio.get_running_loop().time()
            self._lost.clear()
            try:
                async with asyncio.timeout(ANSWER_S):
                    line = await self._connect()
            except OSError as error:  # a TimeoutError is one
                if self._missed and (why := str(error) or f"silent for {ANSWER_S:g} s") != said:
                    said = why
                    log.warning("%s cannot be reached%s: %s", self.who, self.where, why)
                await asyncio.sleep(RETRY_S)
                continue
            # What is told from here on goes out after what was, and after what we say we hold.
            held = self._held()
            before = self._told = self._seq
            self._lines += 1
            try:
                async with asyncio.timeout(ANSWER_S):
                    seq = await line.greet(Hello(self._worker, held, self._lines))
            except (TimeoutError, ConnectionError) as error:
                line.hang_up()
                if str(error) not in {"", said}:
                    said = str(error)
                    log.warning("%s does not take this worker: %s", self.who, said)
                await asyncio.sleep(RETRY_S)
                continue
            except asyncio.CancelledError:
                line.hang_up()
                raise
            away_s = asyncio.get_running_loop().time() - self._gone_at
            self._welcome(line, seq, before)
            if self._missed:
                log.warning("%s answers again, after %.0f s", self.who, away_s)
            said = ""
            connected.set()
            await self._lost.wait()
            self._missed = True
            log.warning("%s is away; what was leased is spent, then limited calls wait", self.who)

    def _welcome(self, line: Line, seq: int, before: int) -> None:
        """Tell again what did not count. What was freed before the greeting is in what we said we hold."""
        self._counted(seq)
        for number, changes in self._unheard.items():
            freed = number > before
            said = changes if freed else tuple(msgspec.structs.replace(each, freed=0) for each in changes)
            line.say(Tell(number, said))
        self._told = self._seq
        self._line, self._gone_at = line, None

    def _counted(self, seq: int) -> list[Change]:
        """Tellings up to this one counted, and are not told again; returns what they said."""
        counted = list(takewhile(lambda number: number <= seq, self._unheard))
        return [each for number in counted for each in self._unheard.pop(number)]

    def heard(self, message: FromOwner) -> None:
        """What the owner says."""
        if isinstance(message, Heard):
            self._counted(message.seq)
        elif not isinstance(message, Welcome):
            question = self._asked.pop(message.number, None)
            if question is None:
                return
            if isinstance(message, Given):
                if question.answer.done():
                    self.tell(given_back(question.wants, message.grants))
                else:
                    question.answer.set_result(message.grants)
            elif question.answer.done():
                return
            elif isinstance(message, Refused):
                question.answer.set_result(message.denied)
            else:
                question.answer.set_exception(self._away(f"cannot count: {message.reason}"))

    def lost(self, line: Line) -> None:
        """The connection is gone, or good for nothing more; said once or twice."""
        if self._line is not line:
            return
        self._line, self._gone_at = None, asyncio.get_running_loop().time()
        asked, self._asked = self._asked, {}
        for question in asked.values():
            if not question.answer.done():
                question.answer.set_exception(self._away("has just gone"))
        self._lost.set()

    def _away(self, how: str) -> Unavailable:
        away_s = 0.0 if self._gone_at is None else asyncio.get_running_loop().time() - self._gone_at
        return Unavailable(
            f"{self.who} {how}, and this worker's share is spent; try again shortly",
            code="counters_away",
            retry_after_s=min(max(1.0, away_s), AWAY_S_MAX),
        )


class SocketCounters(FarCounters):
    """The counters' owner on the unix socket at `path`."""

    who = "the process that counts limits"

    def __init__(self, path: Path, *, worker: str) -> None:
        super().__init__(worker=worker)
        self._path = path

    async def _connect(self) -> Line:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_unix_connection(lambda: _Line(self), str(self._path))
        return line


class _Question:
    """An `Ask` under way."""

    def __init__(self, wants: tuple[Want, ...], due: float) -> None:
        self.wants = wants
        self.due = due
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


class _Line(asyncio.Protocol):
    """One connection to the owner."""

    def __init__(self, counters: FarCounters) -> None:
        self._counters = counters
        self._messages = Messages()
        self._welcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    async def greet(self, hello: Hello) -> int:
        """Say hello; returns what `Welcome` says. Raises ConnectionError."""
        self.say(hello)
        return await self._welcome

    def say(self, message: Hello | Ask | Tell) -> None:
        """Send."""
        self._transport.write(framed(message))

    def beat(self) -> None:
        """A telling of nothing, with a number below all others."""
        self.say(Tell(0, ()))

    def leave(self) -> None:
        """Hanging up gives everything back."""
        self._transport.abort()

    def hang_up(self) -> None:
        """Close."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Messages, one or many."""
        try:
            for payload in self._messages.feed(data):
                message = from_owners.decode(payload)
                if isinstance(message, Welcome) and not self._welcome.done():
                    self._welcome.set_result(message.seq)
                else:
                    self._counters.heard(message)
        except (ValueError, msgspec.DecodeError):
            log.exception("the counters' owner says what nobody understands")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Gone."""
        if not self._welcome.done():
            self._welcome.set_exception(ConnectionResetError("the counters hung up"))
        self._counters.lost(self)


def merged(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Fewer changes that say the same."""
    sums: dict[tuple[str, int], Change] = {}
    for change in changes:
        key = (change.counter, change.slot)
        before = sums.get(key)
        sums[key] = (
            change
            if before is None
            else Change(
                counter=change.counter,
                slot=change.slot,
                back=before.back + change.back,
                freed=before.freed + change.freed,
                spent=before.spent + change.spent,
                at_least=max(before.at_least, change.at_least),
                at_first=before.at_first or (0 if before.spent or before.at_least else change.at_first),
            )
        )
    return tuple(sums.values())
