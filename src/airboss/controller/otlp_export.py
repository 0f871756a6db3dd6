"""Sends what the gateway has recorded to an OTLP backend, behind the record log: never on a call's path.

A cursor in the ledger says how far the log was followed, in the order of storage; it moves after a backend
has taken what comes before it. So the record log itself is the queue: a backend that is away for an hour
costs nothing but delay, and a kill between sending and moving sends once more, under the same span ids. What
apps have sent to us is not sent on: it is somebody else's to send.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import ssl
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from airboss import __version__
from airboss.controller.following import Cursors, unseen
from airboss.controller.otlp_settings import PREFIX, ExportSettings, Signal, Way
from airboss.dialects.recorded import in_chat
from airboss.domain.errors import ConfigError, SetupError, StoreUnavailable
from airboss.domain.ports import Clock, RecordFilter
from airboss.domain.record import EXTERNAL, InferenceRecord
from airboss.evaluations.online import drawn
from airboss.store.alert_metrics import INTERNAL_KEY
from airboss.store.span_rows import TracedLog
from airboss.telemetry.outage import Outage

if TYPE_CHECKING:
    import httpx2

    from airboss.telemetry.otlp_write import Parent

CURSOR: Final = "otlp"
SIGNALS: Final = ("traces", "metrics", "scores")
PAGE: Final = 200
POLL_S: Final = 1.0
BACKOFF_S_MAX: Final = 60.0
RETRY_AFTER_S_MAX: Final = 600.0
"""So long a backend may tell us to wait."""
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of spans, before they are packed: collectors take 20 MiB, some backends 5; a single call may be longer."""
ANSWER_BYTES_MAX: Final = 64 * 1024
"""What is read of an answer."""
METRICS_EVERY_S: Final = 15.0
SCORES_EVERY_S: Final = 10.0
SCORED_WITHIN: Final = timedelta(hours=1)
"""Scores of calls that began so lately are looked for."""
SCORED_MAX: Final = 5_000
AGAIN: Final = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504})
"""Answers after which the same is sent again: a backend's trouble, or an operator's mistake that can be
mended, as redirections are. After others it would be refused for ever."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """The backend did not take something and may later; `wait_s` is what it said."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class TooLarge(Exception):
    """The backend takes less than this at once."""


class Pause:
    """How long one kind of data waits after it was refused: longer each time, and not all at one moment."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._next_s = POLL_S
        self.until = 0.0

    def over(self, now: float) -> bool:
        """Whether it may be tried now."""
        return now >= self.until

    def end(self) -> None:
        """It was taken."""
        self._next_s, self.until = POLL_S, 0.0

    def begin(self, now: float, told_s: float | None = None) -> float:
        """It was refused; returns how long to wait. `told_s` is what the backend said."""
        wait_s = max(self._next_s * (0.5 + self._chance() / 2), min(told_s or 0.0, RETRY_AFTER_S_MAX))
        self._next_s = min(2 * self._next_s, BACKOFF_S_MAX)
        self.until = now + wait_s
        return wait_s


class OtlpExport:
    """Follows the record log. One event loop calls it; `counts` may be read by any thread.

    `settings` are those in force, read at every page; None: nothing is sent. `since` is when there came to
    be any. Calls that were `brought` by an import are passed over: whoever recorded them has sent them, and
    they are none of today's. Raises SetupError, ConfigError.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], ExportSettings | None],
        since: Callable[[], datetime],
        record_log: TracedLog,
        cursors: Cursors,
        clock: Clock,
        brought: Container[str] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._since = since
        self._log = record_log
        self._cursors = cursors
        self._clock = clock
        self._brought = brought
        self._held: ExportSettings | None = None
        self._client: httpx2.AsyncClient | None = None
        self._totals: object = None
        self._pauses = {signal: Pause(chance) for signal in SIGNALS}
        self._outages = {signal: Outage(log, f"{signal} not sent") for signal in SIGNALS}
        self._metrics_at = self._scores_at = 0.0
        self._counted = False
        self._recent: OrderedDict[str, tuple[str, datetime]] = OrderedDict()
        self._told: OrderedDict[str, None] = OrderedDict()
        self.sent = self.dropped = self.failures = 0
        self.dropped_scores = self.dropped_metrics = 0
        self._waits_since: datetime | None = None

    @property
    def counts(self) -> dict[str, float]:
        """For metrics: what was sent since the start, and how far behind it is."""
        if self._held is None:
            return {}
        since, now = self._waits_since, self._clock.now()
        return {
            "otlp_lag_seconds": max(0.0, (now - (since or now)).total_seconds()),
            "otlp_sent_spans": float(self.sent),
            "otlp_dropped_spans": float(self.dropped),
            "otlp_dropped_scores": float(self.dropped_scores),
            "otlp_dropped_metrics": float(self.dropped_metrics),
            "otlp_failures": float(self.failures),
        }

    async def run(self) -> None:
        """Follow until cancelled. A backend, store or ledger that fails is asked again, ever less often."""
        outage = self._outages["traces"]
        try:
            while True:
                wait_s = POLL_S
                try:
                    if await self.tick():
                        wait_s = 0.0
                    self._pauses["traces"].end()
                    outage.over()
                except Refused as refused:
                    self.failures += 1
                    outage.failed(refused)
                    wait_s = self._pauses["traces"].begin(self._clock.monotonic(), refused.wait_s)
                except StoreUnavailable as error:
                    log.debug("traces not sent: %s", error)
                except (SetupError, ConfigError, ValueError) as error:
                    outage.failed(error)
                    wait_s = self._pauses["traces"].begin(self._clock.monotonic())
                await asyncio.sleep(wait_s)
        finally:
            await self._hang_up()

    async def tick(self) -> bool:
        """Send one page of the log; whether there may be more. Raises Refused, StoreUnavailable,
        SetupError."""
        settings = await asyncio.to_thread(self._settings)
        if settings is None:
            self._waits_since = None
            if self._held is not None or await asyncio.to_thread(self._cursors.cursor, CURSOR) is not None:
                await asyncio.to_thread(self._cursors.put_cursor, CURSOR, None)
                await self._hang_up()
            return False
        await self._use(settings)
        where = await asyncio.to_thread(unseen, self._cursors, CURSOR, self._since)
        page = await asyncio.to_thread(self._log.records, where, limit=PAGE, bodies=settings.content)
        self._waits_since = page[0].started_at if page else None
        if page:
            await self._page(page, settings)
            await asyncio.to_thread(self._cursors.put_cursor, CURSOR, page[-1].id)
            self._waits_since = page[-1].started_at if len(page) == PAGE else None
        else:
            await asyncio.to_thread(self._look_for_loss, where.after)
        # One who takes no metrics, say, does not hold traces up.
        for signal, send in (("metrics", self._metrics), ("scores", self._scores)):
            pause = self._pauses[signal]
            if not pause.over(self._clock.monotonic()):
                continue
            try:
                await send(settings)
                pause.end()
                self._outages[signal].over()
            except Refused as refused:
                self.failures += 1
                self._outages[signal].failed(refused)
                pause.begin(self._clock.monotonic(), refused.wait_s)
        return len(page) == PAGE

    async def _use(self, settings: ExportSettings) -> None:
        """Begin anew where the settings have changed."""
        if settings == self._held:
            return
        import httpx2  # noqa: PLC0415 - 60 ms, where something is sent

        from airboss.telemetry.otlp_write import Totals  # noqa: PLC0415 - protobuf, as above

        await self._hang_up()
        self._held = settings
        self._client = httpx2.AsyncClient(
            verify=await asyncio.to_thread(trusted, settings.certificate), trust_env=False
        )
        self._totals = Totals(latest=settings.latest, started_ns=int(self._clock.now().timestamp() * 1e9))
        since = self._clock.now() - SCORED_WITHIN
        lately = await asyncio.to_thread(
            self._log.records, RecordFilter(since=since), limit=SCORED_MAX, bodies=False
        )
        self._recent = OrderedDict((each.id, place_of(each)) for each in reversed(lately) if ours(each))

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        self._held = None
        if client is not None:
            await client.aclose()

    def _look_for_loss(self, cursor: str | None) -> None:
        """A record that is gone (retention) has nothing after it: then go on from the oldest there is."""
        if cursor and not self._log.records(RecordFilter(id=cursor), limit=1, bodies=False):
            self._cursors.put_cursor(CURSOR, "")

    async def _page(self, page: Sequence[InferenceRecord], settings: ExportSettings) -> None:
        from airboss.telemetry import otlp_write as write  # noqa: PLC0415 - as above

        calls = [settings.named(record) for record in page if ours(record) and record.id not in self._brought]
        traced = [record.id for record in calls if record.trace_id is not None]
        found = await asyncio.to_thread(self._log.spans_of, traced) if traced else []
        parents = {each.id: write.Parent(each.parent_id, each.sampled) for each in found}
        wanted = [
            (in_chat(record) if settings.content else record, parents.get(record.id))
            for record in calls
            if drawn(record.id, settings.sample) and parents.get(record.id, write.Parent(None, True)).sampled
        ]
        if settings.traces_url is not None:
            await self._spans(wanted, settings)
        assert isinstance(self._totals, write.Totals)
        for record in calls:
            self._totals.add(record)
            self._counted = True
            self._recent[record.id] = place_of(record)
        while len(self._recent) > SCORED_MAX:
            self._recent.popitem(last=False)

    async def _spans(
        self,
        calls: Sequence[tuple[InferenceRecord, Parent | None]],
        settings: ExportSettings,
    ) -> None:
        """Send spans, in as many requests as their size asks for."""
        from airboss.telemetry import otlp_write as write  # noqa: PLC0415 - as above

        if not calls:
            return
        body = await asyncio.to_thread(
            write.spans_request,
            calls,
            resource=settings.resource,
            latest=settings.latest,
            content=settings.content,
        )
        half = len(calls) // 2
        if half == 0 or len(body) <= REQUEST_BYTES_MAX:
            try:
                answer = await self._post("traces", body, settings)
            except TooLarge:
                answer = None
            else:
                half = 0
            if half == 0:
                lost = len(calls) if answer is None else min(len(calls), max(0, write.rejected(answer)))
                self.dropped += lost
                self.sent += len(calls) - lost
                return
        await self._spans(calls[:half], settings)
        await self._spans(calls[half:], settings)

    async def _metrics(self, settings: ExportSettings) -> None:
        """Send what was counted, now and then."""
        from airboss.telemetry.otlp_write import Totals  # noqa: PLC0415 - as above

        now = self._clock.monotonic()
        if settings.metrics_url is None or not self._counted or now < self._metrics_at:
            return
        assert isinstance(self._totals, Totals)
        body = self._totals.request(int(self._clock.now().timestamp() * 1e9), settings.resource)
        if await self._taken("metrics", body, settings) is None:
            self.dropped_metrics += 1
        self._metrics_at, self._counted = now + METRICS_EVERY_S, False

    async def _scores(self, settings: ExportSettings) -> None:
        """Send what was lately thought of calls, each once (and once more after a start)."""
        from airboss.telemetry.otlp_events import scores_request  # noqa: PLC0415 - as above
        from airboss.telemetry.otlp_write import rejected  # noqa: PLC0415 - as above

        now = self._clock.monotonic()
        if settings.logs_url is None or now < self._scores_at or not self._recent:
            return
        self._scores_at = now + SCORES_EVERY_S
        oldest = self._clock.now() - SCORED_WITHIN
        for record_id in [each for each, (_, at) in self._recent.items() if at < oldest]:
            del self._recent[record_id]
        found = await asyncio.to_thread(self._log.scores_of, list(self._recent))
        new = [(score, self._recent[score.subject_id][0]) for score in found if score.id not in self._told]
        if not new:
            return
        body = scores_request(new, resource=settings.resource, content=settings.content)
        answer = await self._taken("logs", body, settings)
        # As of spans: the fields have the same numbers.
        self.dropped_scores += len(new) if answer is None else min(len(new), max(0, rejected(answer)))
        self._told.update((score.id, None) for score, _ in new)
        while len(self._told) > 4 * SCORED_MAX:
            self._told.popitem(last=False)

    async def _taken(self, signal: Signal, body: bytes, settings: ExportSettings) -> bytes | None:
        """As `_post`, of what cannot be made smaller. Raises Refused."""
        try:
            return await self._post(signal, body, settings)
        except TooLarge:
            return None

    async def _post(self, signal: Signal, body: bytes, settings: ExportSettings) -> bytes | None:
        """The backend's answer; None where it will never take this. Raises Refused, TooLarge."""
        import httpx2  # noqa: PLC0415 - as above

        assert self._client is not None  # made by `_use`
        way: Way = settings.own.get(signal, settings)
        url: str = getattr(settings, f"{signal}_url")
        headers = {
            "content-type": "application/x-protobuf",
            "user-agent": f"airboss/{__version__}",
            "accept-encoding": "identity",
            **way.headers,
        }
        if way.gzip:
            body = await asyncio.to_thread(gzip.compress, body, 5)
            headers["content-encoding"] = "gzip"
        said = b""
        asked = self._client.stream("POST", url, content=body, headers=headers, timeout=way.timeout_s)
        try:
            # The client's own limits are of each read: a byte now and then would hold us for ever.
            async with asyncio.timeout(way.timeout_s), asked as answer:
                async for piece in answer.aiter_raw():
                    said += piece
                    if len(said) > ANSWER_BYTES_MAX:
                        break
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            # Not the library's words: they may hold a URL that is a secret.
            raise Refused(f"the backend does not answer ({type(error).__name__})") from None
        if answer.is_success:
            return said
        if answer.status_code in AGAIN or answer.is_redirect:
            raise Refused(
                f"the backend answers {answer.status_code}; see [telemetry] otlp, its endpoint and headers",
                retry_after_s(answer.headers.get("retry-after", ""), self._clock.now()),
            )
        log.warning("the backend answers %d and will not take this", answer.status_code)
        if answer.status_code == 413:
            raise TooLarge
        return None


def trusted(certificate: str | None) -> ssl.SSLContext:
    """What backends may show to be believed. Raises SetupError."""
    try:
        return ssl.create_default_context(cafile=certificate)
    except (OSError, ssl.SSLError) as error:
        raise SetupError(f"{PREFIX}CERTIFICATE {certificate!r} cannot be read: {error}") from None


def retry_after_s(text: str, now: datetime) -> float | None:
    """What `retry-after` says, seconds or a date; None where it says nothing that can be read."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


def ours(record: InferenceRecord) -> bool:
    """Whether the gateway made this record for an app: not what apps told of, nor Airboss's own calls."""
    return record.arm != EXTERNAL and record.key != INTERNAL_KEY


def place_of(record: InferenceRecord) -> tuple[str, datetime]:
    """The trace of a call, in hex, and when it began."""
    return record.trace_id or record.id.replace("-", ""), record.started_at
