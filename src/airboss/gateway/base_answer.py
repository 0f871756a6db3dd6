"""What every answer of an upstream is: its head, the decoding of its body, its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from airboss.domain.errors import ApiError, UpstreamFailed
from airboss.gateway.inflate import Inflate, slices, unpacks
from airboss.gateway.judge import HEDGE_LOST, HedgeLost
from airboss.gateway.spoken import Client
from airboss.gateway.translated import Translation
from airboss.providers.compatible import as_api_error, read_error, retry_after_s
from airboss.providers.connection import Connection as UpstreamConnection
from airboss.providers.connection import Headers
from airboss.providers.cut import cut
from airboss.providers.dialect import Outgoing
from airboss.providers.usage import Usage

log = logging.getLogger("airboss.gateway")

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""The largest answer taken whole."""


class BaseAnswer:
    """What both kinds share: the head, the decoding of a compressed body, the end."""

    # Of the class until they are known: every call would pay for setting them.
    status: int | None = None
    headers: Headers = {}  # noqa: RUF012 - never filled
    first_output_at: float | None = None
    committed = _coded = False
    upstream: UpstreamConnection | None = None
    outgoing: Outgoing | None = None  # what was sent, where that is not OpenAI's request
    failure: ApiError | None = None  # of its attempt, which knows this answer by its traceback
    rival: BaseAnswer | None = None  # the other of two attempts that race (`gateway.hedge`)
    translation: Translation | None = None
    _inflate: Inflate | None = None
    paused = False  # nothing more is read, because the client is slower than the upstream
    read_on_at = 0.0
    finished = False
    """Whether it has ended, well or with an `error`, or was `left`."""
    left = False
    """Whether nobody waits for it any more."""
    error: ApiError | None = None
    error_usage: Usage | None = None
    """What it used by the error that the upstream ended it with, where that tells."""
    heard: Callable[[], None] | None = None
    """Told once, when it has ended."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.progress_at = time.perf_counter()
        self._pieces: list[bytes] = []
        """Of a whole answer, or of an error in place of a stream."""

    def head(self, status: int, headers: Headers) -> None:
        """Keep the head."""
        # Some say that they have created an answer (201).
        self.status = status = status if status == 200 or not 200 < status < 300 else 200
        self.headers = headers
        if self.outgoing is not None and self.outgoing.reader is not None:
            self._coded = True
            self.translation = Translation(self.outgoing, status=status, created=int(time.time()))
        encoding = headers.get(b"content-encoding")
        if not encoding:
            return
        try:
            self._inflate = unpacks(encoding)
        except UpstreamFailed as error:
            self.fail(error)
        self._coded = self._coded or self._inflate is not None

    def body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self.finished:
            return
        try:
            if self._coded:
                self._take_coded(data)
            else:
                self._take(data)
        except Exception as error:  # noqa: BLE001 - see below
            self._broke(error)

    def _take_coded(self, data: bytes) -> None:
        """Take a piece that is compressed, in another dialect, or both. Raises ApiError."""
        for piece in [data] if self._inflate is None else slices(self._inflate.feed(data, ANSWER_BYTES_MAX)):
            if not self.finished:
                self._take_plain(piece)

    def _take_plain(self, data: bytes) -> None:
        failure = None
        if self.translation is not None:
            data = self.translation.feed(data)
            failure = self.translation.failure
        if data:
            self._take(data)
        if failure is not None:
            raise failure

    def done(self) -> None:
        """Judge whether what came is whole."""
        if self.finished:
            return
        try:
            if self.translation is not None:
                self._take(self.translation.end())
                if self.finished:
                    return
            self._end()
        except Exception as error:  # noqa: BLE001 - see below
            self._broke(error)

    def _broke(self, error: Exception) -> None:
        if not isinstance(error, ApiError):
            # What is raised to the connection is in nobody's hands: the call would wait out its time.
            log.error("an answer of provider %r cannot be read", self.provider, exc_info=error)
            error = UpstreamFailed(f"an answer of provider {self.provider!r} could not be read here")
        self.fail(error)

    def failed(self, error: ApiError) -> None:
        """The connection broke, or the request may not be sent."""
        self.fail(error)

    def fail(self, error: ApiError) -> None:
        """End with an error, unless it has ended already."""
        if not self.finished:
            self.error = error
            self._finish()

    def leave(self) -> None:
        """Nobody waits for it any more: whatever comes yet is nothing to anybody."""
        self.finished = self.left = True
        self.heard = None

    async def end(self) -> None:
        """Wait until it has ended. Raises the ApiError that it has ended with."""
        if not self.finished:
            ended = asyncio.Event()
            self.heard = ended.set
            await ended.wait()
        if self.error is not None:
            raise self.error

    def _finish(self) -> None:
        self.finished = True
        heard, self.heard = self.heard, None
        if heard is not None:
            heard()

    def win(self) -> None:
        """Be the one of two rivals whose answer the client gets."""
        other, self.rival = self.rival, None
        if other is not None:
            other.rival = None
            other.fail(HedgeLost("another attempt was quicker", code=HEDGE_LOST))

    @property
    def begun(self) -> bool:
        """Whether the client has something of this attempt."""
        return self.committed

    def _heed(self, client: Client) -> None:
        """Read on only as fast as the client does; it may be behind already."""
        client.on_writable = self._on_writable
        if not client.writable:
            self._on_writable(False)

    def _on_writable(self, writable: bool) -> None:  # noqa: FBT001 - called back by position
        self.paused = not writable
        self.progress_at = self.read_on_at = time.perf_counter()
        if self.upstream is not None:
            (self.upstream.resume if writable else self.upstream.pause)(self)

    def _succeed(self) -> None:
        if not self.finished:
            self._finish()

    @property
    def usage_short(self) -> bool:
        """Whether less usage was reported than there are answers."""
        return False

    # Plain methods, not abstract ones: `isinstance` of a class with an ABCMeta costs a microsecond, and each
    # call asks several times which kind its answer is.

    def _take(self, data: bytes) -> None:
        """Take a decoded piece of the body. Raises ApiError."""
        raise AssertionError(data)

    def _end(self) -> None:
        """Judge whether what came is whole; succeed or raise ApiError."""
        raise AssertionError

    def _refusal(self, body: bytes) -> ApiError:
        status = self.status or 502
        if 300 <= status < 400:
            where = cut(self.headers.get(b"location", b"").decode("latin-1"), 200)
            return UpstreamFailed(
                f"provider {self.provider!r} answered {status}, a redirect to {where!r}; set base_url to that"
            )
        said = read_error(body)
        wait_s = retry_after_s(self.headers)
        if wait_s is None and isinstance(said.retry_after_s, float):
            wait_s = said.retry_after_s
        return as_api_error(self.provider, status, said, retry_after_s=wait_s)
