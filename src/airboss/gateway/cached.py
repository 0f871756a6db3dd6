"""The rung of the ladder that a cache is: the answer that is there, the one that is on its way, or a new one.

An answer is looked up on the event loop: in a SQLite file that is in memory that takes 6 µs, where a thread
took 33 (and 1.8 ms at the 99th percentile of a busy machine). It is written in a thread, which takes 190 µs.
Those who ask the same at the same time wait for the first of them, within one worker; if that one fails, each
asks for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from airboss.domain.plan import Caching
from airboss.domain.ports import Clock
from airboss.domain.record import ClosedCall
from airboss.gateway.cache_key import asked, key_of, may_be_kept
from airboss.gateway.http1 import HttpRequest
from airboss.gateway.replay import whole_of
from airboss.gateway.spoken import DONE, Client
from airboss.gateway.worker import Admitted
from airboss.store.answers import KeptAnswer, SqliteAnswers

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""A longer answer is not kept."""
WRITES_MAX: Final = 256
"""So many answers wait to be written; more are not kept."""


class AnswerCache:
    """The cache of one worker; the answers are all workers'. One event loop."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._clock = clock
        self._reads = SqliteAnswers(path)
        self._writes = SqliteAnswers(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache")
        self._writing: dict[bytes, bytes] = {}
        """Answers that are on their way into the file."""
        self._flights: dict[bytes, asyncio.Future[bytes | None]] = {}

    async def seat(self, call: Admitted, http: HttpRequest, caching: Caching) -> Seat:
        """Where a call stands: with an answer, or as one that brings one."""
        wish = asked(call.request, http.headers.get(b"cache-control"))
        key = key_of(call) if wish.keep and not _tokenizes(call) else None
        if key is None:
            return Seat(self, call, caching, None, "bypass")
        flight = self._flights.get(key)
        if not wish.look:
            return Seat(self, call, caching, key, "miss")
        found = self._writing.get(key) or self._reads.get(key, self._clock.now().timestamp())
        if found is None and flight is not None:
            found = await self._waited(flight, call.deployment.timeout.first_token_s)
        if found is not None:
            return Seat(self, call, caching, key, "hit", found)
        return Seat(self, call, caching, key, "miss")

    @staticmethod
    async def _waited(flight: asyncio.Future[bytes | None], seconds: float) -> bytes | None:
        try:
            return await asyncio.wait_for(asyncio.shield(flight), seconds)
        except TimeoutError:
            return None

    def take_off(self, key: bytes) -> asyncio.Future[bytes | None] | None:
        """The caller brings what others wait for from now on; None if somebody does already."""
        if key in self._flights:
            return None
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        return flight

    def land(self, key: bytes, flight: asyncio.Future[bytes | None], answer: bytes | None) -> None:
        """Give those who wait the answer, or tell them that there is none."""
        del self._flights[key]
        flight.set_result(answer)

    def keep(self, call: Admitted, caching: Caching, key: bytes, answer: bytes) -> None:
        """Write an answer, soon."""
        if len(self._writing) >= WRITES_MAX:
            return
        now = self._clock.now().timestamp()
        kept = KeptAnswer(
            key=key,
            deployment=call.deployment.name,
            user=call.request.user,
            asked_at=call.request.started_at.timestamp(),
            over_at=now + caching.ttl_s,
            answer=answer,
        )
        self._writing[key] = answer
        loop = asyncio.get_running_loop()
        put = partial(self._writes.put, entries_max=caching.entries_max, bytes_max=caching.bytes_max)
        done = loop.run_in_executor(self._thread, partial(put, kept, now=now))
        done.add_done_callback(lambda _: self._writing.pop(key, None))

    def close(self) -> None:
        """Write what waits, and give the file back."""
        self._thread.shutdown()
        self._reads.close()
        self._writes.close()


class Seat:
    """One call's place at the cache: `state` is what its record says, `answer` what it is given, if it is.

    It stands between the call and its client, to hear what the client gets: that has been screened.
    """

    def __init__(  # noqa: PLR0917 - all that was found out, in the order it was
        self,
        cache: AnswerCache,
        call: Admitted,
        caching: Caching,
        key: bytes | None,
        state: str,
        answer: bytes | None = None,
    ) -> None:
        self._cache = cache
        self._call = call
        self._caching = caching
        self._key = key
        self.state = state
        self.answer = answer
        self.header = b"x-airboss-cache: %s\r\n" % state.encode()
        self._hearing: Hearing | None = None
        self._closed: ClosedCall | None = None
        self._flight = cache.take_off(key) if key is not None and state == "miss" else None

    def heard(self, client: Client) -> Client:
        """The client, and what it gets is heard."""
        if self._key is None or self.answer is not None:
            return client
        self._hearing = Hearing(client)
        return self._hearing

    def close(self, closed: ClosedCall) -> ClosedCall:
        """The close of the call, with what it had of the cache."""
        self._closed = msgspec.structs.replace(closed, cache=self.state)
        return self._closed

    def leave(self) -> None:
        """The call is over and its client has all: keep the answer, if it may be given again. Whoever waits
        for it has it now, or waits no longer."""
        answer = None
        try:
            answer = self._to_keep()
            if answer is not None and self._key is not None:
                self._cache.keep(self._call, self._caching, self._key, answer)
        finally:
            self._land(answer)

    def _to_keep(self) -> bytes | None:
        if self._hearing is None or self._closed is None:
            return None
        whole = self._hearing.whole()
        if whole is None or len(whole) > ANSWER_BYTES_MAX or not may_be_kept(self._call, self._closed, whole):
            return None
        return _with_usage(whole, self._closed)

    def _land(self, answer: bytes | None) -> None:
        if self._flight is not None and self._key is not None:
            flight, self._flight = self._flight, None
            self._cache.land(self._key, flight, answer)


class Hearing:
    """A client, and what it was told."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pieces: list[bytes] = []
        self._size = 0
        self._streamed = self._ended = False
        self.loop = client.loop

    @property
    def on_writable(self) -> Callable[[bool], None] | None:
        """As the connection's."""
        return self._client.on_writable

    @on_writable.setter
    def on_writable(self, told: Callable[[bool], None] | None) -> None:
        self._client.on_writable = told

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole response."""
        self._client.respond(status, headers, body)
        if status == 200:
            self._hear(body)
            self._ended = True

    def start_stream(self, status: int, headers: bytes, first: bytes) -> None:
        """Begin a stream."""
        self._streamed = True
        self._hear(first)
        self._client.start_stream(status, headers, first)

    def stream(self, data: bytes) -> None:
        """Send a piece of it."""
        self._hear(data)
        self._client.stream(data)

    def end_stream(self, last: bytes) -> None:
        """End it."""
        self._ended = last == DONE
        self._client.end_stream(last)

    def _hear(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= 4 * ANSWER_BYTES_MAX:  # events are longer than what they say
            self._pieces.append(data)
        else:
            self._pieces.clear()

    def whole(self) -> bytes | None:
        """The whole answer that it got; None where it got none, or too long a one."""
        if not self._ended or not self._pieces:
            return None
        said = b"".join(self._pieces)
        return whole_of(said) if self._streamed else said


def _tokenizes(call: Admitted) -> bool:
    """Whether values of this call stand in its answer that its request does not show: they are this caller's
    alone."""
    return call.screen is not None and call.screen.tokenizes


def _with_usage(whole: bytes, closed: ClosedCall) -> bytes:
    """The answer with its usage: a stream's client may not have asked for it."""
    answer = msgspec.json.decode(whole)
    if answer.get("usage") is None:
        prompt, output = closed.input_tokens or 0, closed.output_tokens or 0
        answer["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": closed.cached_input_tokens or 0},
            "completion_tokens_details": {"reasoning_tokens": closed.reasoning_tokens or 0},
        }
        return msgspec.json.encode(answer)
    return whole
