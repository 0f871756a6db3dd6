"""Names in a call under a policy that looks for them: found before the screens come to them, so that those
need not wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from airboss.domain.errors import ApiError
from airboss.gateway.sse import event_data
from airboss.governance.names import away
from airboss.governance.recogniser import Recogniser
from airboss.governance.screening import ScreeningPolicy, reading_ahead
from airboss.governance.screening_chat import AnswerScreen
from airboss.providers.lenient import without_halves

if TYPE_CHECKING:
    from airboss.gateway.worker import Worker

WAITING_BYTES_MAX: Final = 4 << 20
"""Of a stream that comes while names in what came before are looked for."""
UNREAD: Final = (
    "the upstream failed, and its words are left out: a policy looks for names, and they were not read"
)


def recogniser_of(worker: Worker) -> Recogniser:
    """What finds names for a worker, from now on."""
    if worker.recogniser is None:
        worker.recogniser = Recogniser()
        worker.recogniser.start()
    return worker.recogniser


Doing = Callable[[Callable[[], object]], Awaitable[object]]
"""Does a piece of work: here, or in a thread."""


async def at_once(work: Callable[[], object]) -> None:
    """Here."""
    work()


class Lookout:
    """Has the names in a call's texts found: reads those ahead, and asks."""

    def __init__(self, policy: ScreeningPolicy, recogniser: Recogniser) -> None:
        self.policy = reading_ahead(policy)
        self._recogniser = recogniser

    async def read(self, work: Callable[[ScreeningPolicy], object], by: Doing = at_once) -> None:
        """Read what `work` screens under a policy. Raises ApiError."""
        await by(lambda: work(self.policy))
        await self.learn()

    @property
    def missing(self) -> bool:
        """Whether there is something to ask."""
        assert self.policy.names is not None  # of a policy to read ahead with
        return bool(self.policy.names.missing)

    async def learn(self) -> None:
        """Ask. Raises Unavailable."""
        assert self.policy.names is not None  # as above
        await self._recogniser.learn(self.policy.names)


class AnswerLookout:
    """The same for one answer, whole or event by event, with a screen of its own."""

    def __init__(self, lookout: Lookout, screen: AnswerScreen) -> None:
        self._lookout = lookout
        self._screen = screen

    def whole(self, content: bytes) -> bool:
        """Read a whole answer; whether there is something to ask."""
        self._screen.whole(content)
        return self._lookout.missing

    def event(self, event: bytes, *, told_end: bool) -> bool:
        """Read an event, as a stream has it; whether there is something to ask."""
        payload = event_data(event)
        if payload == b"[DONE]":
            return self.end(told_end=told_end)
        if payload:
            self._screen.event(without_halves(payload) if b"\\u" in payload else payload)
        return self._lookout.missing

    def end(self, *, told_end: bool) -> bool:
        """The stream is over, and if it `told_end`, nobody goes on with it; whether there is something to
        ask."""
        if told_end:
            self._screen.end()
        return self._lookout.missing

    async def learn(self) -> None:
        """Ask. Raises Unavailable."""
        await self._lookout.learn()


Item = bytes | ApiError | None
"""What a connection tells of a stream: an event, why it broke, that it has ended."""


class Taking(Protocol):
    """Who waits: is given each item in its turn, once names in it are known."""

    @property
    def told_end(self) -> bool:
        """Whether the answer has said why it ends."""

    def take_next(self, item: Item) -> bool:
        """Take one; whether to go on."""


class Waiting:
    """What has come of a stream and waits for names in what came before it. It does not know who waits, who
    has it: they would be a cycle, which waits to be freed."""

    def __init__(self, lookout: AnswerLookout) -> None:
        self._lookout = lookout
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._asking: asyncio.Task[None] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._asking is None

    def add(self, item: Item, by: Taking) -> None:
        """Take one more. Raises ApiError."""
        self._items.append(item)
        self._bytes += len(item) if isinstance(item, bytes) else 0
        if self._asking is None:
            self._go_on(by)
        elif self._bytes > WAITING_BYTES_MAX:
            raise away(f"over {WAITING_BYTES_MAX} bytes of an answer wait for what comes before them")

    def _go_on(self, by: Taking) -> None:
        """Hand on all up to the first in which there may be names that are not known. Raises ApiError."""
        while self._items:
            item = self._items.popleft()
            self._bytes -= len(item) if isinstance(item, bytes) else 0
            if self._unknown(item, by):
                self._asking = asyncio.ensure_future(self._ask(item, by))
                return
            if not by.take_next(item):
                self._items.clear()

    def _unknown(self, item: Item, by: Taking) -> bool:
        if isinstance(item, ApiError):
            return False
        if item is None:
            return self._lookout.end(told_end=by.told_end)
        return self._lookout.event(item, told_end=by.told_end)

    async def _ask(self, item: Item, by: Taking) -> None:
        """Ask, and go on. Raises nothing: `take_next` is told of an error."""
        try:
            await self._lookout.learn()
            self._asking = None
            if by.take_next(item):
                self._go_on(by)
            else:
                self._items.clear()
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            self._asking = None
            self._items.clear()
            by.take_next(error if isinstance(error, ApiError) else away(f"a {type(error).__name__} here"))
