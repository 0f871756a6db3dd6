"""The rung of the ladder that a cache is: the answer that is there, the one that is on its way, or a new one.

An answer is looked up on the event loop: in a SQLite file that is in memory that takes 6 µs, where a thread
took 33 (and 1.8 ms at the 99th percentile of a busy machine). It is written in a thread, which takes 190 µs.
Those who ask the same at the same time wait for the first of them, within one worker. If its client leaves,
they wait for the next of them. If it fails because its provider does, they have failed too: asked by all of
them at once, a provider that fails would not recover. If it was the caller's error, one after the other asks.

Where nobody has asked the same, a deployment with a `semantic` cache looks for a question that only means it
(`gateway.near`, `gateway.alike`): once money for the call is reserved, because a vector may cost some.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from airboss.domain.errors import (
    ApiError,
    RateLimited,
    Unavailable,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from airboss.domain.plan import Caching, DeploymentPlan
from airboss.domain.ports import Clock
from airboss.domain.record import ClosedCall, Redacted
from airboss.gateway.account import counted_usage, usage_json
from airboss.gateway.alike import alike
from airboss.gateway.answer import AnyAnswer, StreamedAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.cache_key import (
    Question,
    asked,
    key_of,
    may_be_kept,
    question_of,
    said_in,
    twin_of,
)
from airboss.gateway.deadline import OwnTimeouts, left_s
from airboss.gateway.hearing import ANSWER_BYTES_MAX, Hearing
from airboss.gateway.near import PATIENCE_S, nearest, vector_of
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import Serving
from airboss.gateway.spoken import Client
from airboss.gateway.worker import Admitted, Worker
from airboss.governance.redact import Redactor
from airboss.providers.compatible import read_event
from airboss.providers.usage import Usage
from airboss.store.answers import KeptAnswer, Meaning, SqliteAnswers

log = logging.getLogger(__name__)


class Found(msgspec.Struct, frozen=True):
    """An answer that is there, as it is kept: a line that names whose it is (`_By`), and the answer. Found by
    its meaning if it has a `cosine`, and then for calls of that `scope` alone."""

    answer: bytes
    cosine: float | None = None
    scope: bytes | None = None


class _By(msgspec.Struct, frozen=True, array_like=True):
    """Whose answer it is."""

    provider: str
    model: str


LEFT: Final = Found(b"")
"""In place of an answer: whoever was to bring it has left or was refused, and another may try."""


class Failed(msgspec.Struct, frozen=True):
    """In place of an answer: the provider failed."""

    error: ApiError

    def again(self) -> ApiError:
        """The error, for another caller to be told."""
        said = self.error
        if isinstance(said, UpstreamRefused):
            return UpstreamRefused(
                said.message,
                upstream_status=said.upstream_status,
                error_type=said.upstream_type,
                code=said.code,
                param=said.param,
                retry_after_s=said.retry_after_s,
            )
        return type(said)(said.message, code=said.code, param=said.param, retry_after_s=said.retry_after_s)


Landed = Found | Failed | None
"""What came of a flight; None: an answer that is its caller's alone."""
PROVIDERS: Final = (UpstreamFailed, UpstreamTimeout, Unavailable)
"""Errors that whoever asks the same at the same time would have as well."""
KNOWN: Final = "known"
"""Of a call whose question one of a rollout's arms knew, and which was asked all the same. Counted on the arm
that did not know it, and as a hit not on the other, arms would be compared by other questions."""
WRITES_MAX: Final = 256
"""So many answers wait to be written; more are not kept."""
SEARCHES_MAX: Final = 16
"""So many questions wait to be compared; others do without."""
SWEEP_S: Final = 10.0
"""So often, or a little less, answers that are over are deleted."""
NEAREST_MAX: Final = 8
"""So many of the nearest are looked at more closely."""


class AnswerCache:
    """The cache of one worker; the answers are all workers'. One event loop."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._clock = clock
        self._reads = SqliteAnswers(path)
        self._writes = SqliteAnswers(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache")
        self._compares = SqliteAnswers(path)
        self._comparing = ThreadPoolExecutor(1, thread_name_prefix="cache-compare")
        self._searches = 0
        self._sweeps_at = 0.0
        self._writing: dict[bytes, bytes] = {}
        """Answers that are on their way into the file."""
        self._flights: dict[bytes, asyncio.Future[Landed]] = {}

    async def seat(self, call: Admitted, http: HttpRequest, caching: Caching, redactor: Redactor) -> Seat:
        """Where a call stands: with an answer, or as one that brings one."""
        wish = asked(call.request, http.headers.get(b"cache-control"))
        said = said_in(call) if wish.keep and not _tokenizes(call) else None
        if said is None:
            return Seat(self, call, caching, None, None, redactor=redactor)
        key, twin, compares = key_of(call, said), twin_of(call, said), call.deployment.compares
        # What means the same is found on one arm and not on the other, and who is answered so does not count.
        alike_too = compares is not None and twin is None
        question = question_of(call, said, compares) if alike_too and compares is not None else None
        found: Landed = None
        known = False
        if wish.look:
            known = twin is not None and (key in self._flights or self._has(twin, caching))
            answer = self._writing.get(key) or self._reads.get(key, self._since(caching))
            found = Found(answer) if answer is not None else None
            if found is None:
                timeout = call.deployment.timeout
                found = await self._waited(key, min(timeout.first_token_s, left_s(timeout)))
            if isinstance(found, Found) and found.scope not in {None, question.scope if question else None}:
                found = None
        return Seat(
            self, call, caching, key, found,
            redactor=redactor, question=question, look=wish.look, known=known,
        )  # fmt: skip

    def _since(self, caching: Caching) -> float:
        """Since when answers were kept that are given again."""
        return self._clock.now().timestamp() - caching.ttl_s

    def _has(self, key: bytes, caching: Caching) -> bool:
        """Whether an answer is there or on its way."""
        if key in self._flights or key in self._writing:
            return True
        return self._reads.get(key, self._since(caching)) is not None

    async def near(
        self, question: Question, vector: bytes, caching: Caching, threshold: float, *, within_s: float
    ) -> tuple[str, Found | None]:
        """The answer to a question that means the same, if there is one, and how the search went."""
        if self._searches >= SEARCHES_MAX:
            return "failed", None
        self._searches += 1
        search = partial(self._search, question, vector, threshold, self._since(caching))
        try:
            searching = asyncio.get_running_loop().run_in_executor(self._comparing, search)
            return await asyncio.wait_for(searching, min(PATIENCE_S, within_s))
        except TimeoutError:
            return "failed", None
        except Exception:  # numpy is gone, say: a call does without
            log.exception("questions cannot be compared")
            return "failed", None
        finally:
            self._searches -= 1

    def _search(
        self, question: Question, vector: bytes, threshold: float, since: float
    ) -> tuple[str, Found | None]:
        kept = self._compares.vectors(question.scope, since)
        near = nearest(vector, kept, threshold, most=NEAREST_MAX)
        for cosine, key in near:
            text = self._compares.text(key)
            if text is not None and alike(question.text, text):
                answer = self._compares.get(key, since)
                if answer is not None:
                    return "hit", Found(answer, cosine, question.scope)
        return "unlike" if near else "miss", None

    async def _waited(self, key: bytes, seconds: float) -> Landed:
        """What others who ask the same bring within so many seconds; None where nobody brings anything."""
        try:
            async with asyncio.timeout(seconds):
                while (flight := self._flights.get(key)) is not None:
                    found = await asyncio.shield(flight)
                    if found is not LEFT:
                        return found
                    # The first to wake takes off in this turn, and the others find its flight.
        except TimeoutError:
            pass
        return None

    def take_off(self, key: bytes) -> asyncio.Future[Landed] | None:
        """The caller brings what others wait for from now on; None if somebody does already."""
        if key in self._flights:
            return None
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        return flight

    def land(self, key: bytes, flight: asyncio.Future[Landed], found: Landed) -> None:
        """Give those who wait the answer, or tell them that there is none."""
        del self._flights[key]
        flight.set_result(found)

    def keep(
        self, call: Admitted, caching: Caching, key: bytes, answer: Redacted, meaning: Meaning | None
    ) -> None:
        """Write an answer, soon."""
        if len(self._writing) >= WRITES_MAX:
            return
        kept = KeptAnswer(
            key=key,
            deployment=call.deployment.name,
            user=call.request.user,
            asked_at=call.request.started_at.timestamp(),
            kept_at=self._clock.now().timestamp(),
            answer=answer,
            meaning=meaning,
        )
        self._writing[key] = answer
        loop = asyncio.get_running_loop()
        bounds = {"entries_max": caching.entries_max, "bytes_max": caching.bytes_max}
        put = partial(self._writes.put, kept, ttl_s=caching.ttl_s, **bounds)
        done = loop.run_in_executor(self._thread, put)
        done.add_done_callback(lambda _: self._writing.pop(key, None))

    def sweep(self, deployments: Iterable[DeploymentPlan]) -> None:
        """Delete what is over, soon, if that has not been done for SWEEP_S: a deployment that keeps nothing
        any more, or is gone, makes no room itself."""
        now = asyncio.get_running_loop().time()
        if now >= self._sweeps_at:
            self._sweeps_at = now + SWEEP_S
            ttls = {each.name: each.cache.ttl_s for each in deployments if each.cache is not None}
            self._thread.submit(self._swept, self._clock.now().timestamp(), ttls)

    def _swept(self, now: float, ttls: Mapping[str, float]) -> None:
        while self._writes.sweep(now, ttls):
            pass

    def close(self) -> None:
        """Write what waits, and give the file back."""
        self._thread.shutdown()
        self._comparing.shutdown()
        self._compares.close()
        self._reads.close()
        self._writes.close()


class Seat:
    """One call's place at the cache: `state` is what its record says, `answer` what it is given, if it is.

    It stands between the call and its client, to hear what the client gets: that has been screened.
    """

    def __init__(
        self,
        cache: AnswerCache,
        call: Admitted,
        caching: Caching,
        key: bytes | None,
        found: Landed,
        *,
        redactor: Redactor,
        question: Question | None = None,
        look: bool = True,
        known: bool = False,
    ) -> None:
        self._cache = cache
        self._call = call
        self._caching = caching
        self._key = key
        self._redactor = redactor
        self._question = question
        self._look = look
        self._meaning: Meaning | None = None
        self.state = "bypass" if key is None else KNOWN if known else "miss"
        self.answer: bytes | None = None
        self._hearing: Hearing | None = None
        self._closed: ClosedCall | None = None
        self._told: Usage | None = None
        """What a stream said that it used, whether its client has asked for that or not."""
        self._flight: asyncio.Future[Landed] | None = None
        self._cosine: float | None = None
        self._by: _By | None = None
        """Whose answer it is that is given again."""
        self._failed: Landed = None
        if isinstance(found, Failed):
            self._failed = found
        elif found is not None:
            self._take(found)
        elif key is not None:
            self._flight = cache.take_off(key)

    def _take(self, found: Found) -> None:
        by, _, self.answer = found.answer.partition(b"\n")
        self._by, self._cosine = _read_by(by), found.cosine
        self.state = "hit" if found.cosine is None else "semantic"

    @property
    def header(self) -> bytes:
        """The line of the client's answer."""
        if self._cosine is not None:
            return b"x-airboss-cache: hit; cosine=%.3f\r\n" % self._cosine
        return b"x-airboss-cache: %s\r\n" % (b"miss" if self.state == KNOWN else self.state.encode())

    async def compare(self, worker: Worker, serving: Serving, dispatched: Dispatched) -> bytes | None:
        """The answer that is there, or that to another question of the same person that means the same.
        Whatever fails of this, the call goes on without; what was asked for it is put into `dispatched`.
        Raises ApiError where the call waited for one that failed."""
        if isinstance(self._failed, Failed):
            raise self._failed.again()
        question, target, semantic = self._question, self._call.deployment.compares, self._caching.semantic
        if question is None or target is None or semantic is None or self.answer is not None:
            return self.answer
        outcome, found = "failed", None
        vector = await vector_of(
            worker.executor,
            serving=serving,
            call=self._call,
            target=target,
            text=question.text,
            dispatched=dispatched,
        )
        if vector is not None:
            if self._redactor.redact_text(question.text) == question.text:
                self._meaning = Meaning(scope=question.scope, text=question.text, vector=vector)
            outcome = "miss"
            if self._look:
                left = left_s(self._call.deployment.timeout)
                outcome, found = await self._cache.near(
                    question, vector, self._caching, semantic.threshold, within_s=left
                )
        worker.metrics.compared(self._call.deployment.name, outcome)
        if found is not None:
            self._take(found)
            self._land(found)
        return self.answer

    async def bring(self, asking: Awaitable[AnyAnswer], dispatched: Dispatched) -> AnyAnswer:
        """The provider's answer. Raises ApiError, which whoever waits for it will have too, unless it is
        about this call alone."""
        try:
            answer = await asking
        except ApiError as error:
            begun = dispatched.answer is not None and dispatched.answer.committed
            theirs = error.http_status == RateLimited.status or isinstance(error, PROVIDERS)
            hurried = isinstance(self._call.deployment.timeout, OwnTimeouts)
            theirs = theirs and not (hurried and isinstance(error, UpstreamTimeout))
            self._failed = Failed(error) if theirs and not begun else LEFT
            raise
        if isinstance(answer, StreamedAnswer):
            self._told = answer.assembly.usage
        return answer

    def heard(self, client: Client) -> Client:
        """The client, and what it gets is heard."""
        if self._key is None or self.answer is not None:
            return client
        self._hearing = Hearing(client)
        return self._hearing

    def close(self, closed: ClosedCall) -> ClosedCall:
        """The close of the call, with what it had of the cache."""
        self._closed = msgspec.structs.replace(closed, cache=self.state)
        if self._by is not None:
            self._closed = msgspec.structs.replace(
                self._closed, provider=self._by.provider, model=self._by.model
            )
        return self._closed

    def leave(self, *, left: bool = False) -> None:
        """The call is over and its client has all: keep the answer, if it may be given again. Whoever waits
        for it has it now, or waits no longer. `left`: its client went before the call had a record."""
        answer = None
        left = left or self._closed is None or self._closed.status in {"cancelled", "refused"}
        try:
            answer = self._to_keep()
            if answer is not None and self._key is not None:
                self._cache.keep(self._call, self._caching, self._key, answer, self._meaning)
        finally:
            self._land(Found(answer) if answer is not None else LEFT if left else self._failed)

    def _to_keep(self) -> Redacted | None:
        """The answer as it is kept; None for one that is not. One that says a secret is its caller's alone:
        with a mark in its place it would be another."""
        if self._hearing is None or self._closed is None or self.answer is not None:
            return None
        whole = self._hearing.whole()
        if whole is None or len(whole) > ANSWER_BYTES_MAX or not may_be_kept(self._call, self._closed, whole):
            return None
        last = self._closed.attempts[-1]
        by = _By(last.provider, last.model)
        answer = b"%s\n%s" % (msgspec.json.encode(by), _with_usage(whole, self._closed, self._told))
        redacted = self._redactor.redact(answer)
        return redacted if redacted == answer else None

    def _land(self, found: Landed) -> None:
        if self._flight is not None and self._key is not None:
            flight, self._flight = self._flight, None
            self._cache.land(self._key, flight, found)


_read_by = msgspec.json.Decoder(_By).decode


def _tokenizes(call: Admitted) -> bool:
    """Whether values of this call stand in its answer that its request does not show: they are this caller's
    alone."""
    return call.screen is not None and call.screen.tokenizes


def _with_usage(whole: bytes, closed: ClosedCall, told: Usage | None) -> bytes:
    """The answer with its usage: a stream's client may not have asked for it. Not what rides with it: its id
    is one call's."""
    answer = msgspec.json.decode(whole)
    heard = answer.pop("heard", None)
    said = answer.get("usage")
    if said is not None and closed.usage_estimated:
        read = read_event(whole).usage
        said = said if read is not None and read.whole else None
    if said is None:
        answer["usage"] = counted_usage(closed) if told is None or not told.whole else _as_told(told)
        return msgspec.json.encode(answer)
    return whole if heard is None else msgspec.json.encode(answer)


def _as_told(told: Usage) -> dict[str, Any]:
    used = told.buckets()
    return usage_json(used.input, used.written, used.cache_read, used.reasoning)
