"""`POST /v1/traces`: spans that apps send by OTLP/HTTP, into the journal.

Every span is kept; one that tells of a model call becomes a record too, unless the call passed through a
gateway of ours (`store.span_calls`). A span is screened under the policies of all deployments that its key
may use: what may not be recorded of a call here is not recorded of one elsewhere.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from airboss.domain.errors import ApiError, BodyTooLarge, InvalidRequest, UnsupportedMedia
from airboss.domain.record import EXTERNAL, Attempt, InferenceRecord, PolicyFinding
from airboss.domain.request import Principal
from airboss.gateway import evaluations
from airboss.gateway.heads import error_lines
from airboss.gateway.http1 import Connection
from airboss.gateway.otlp_answers import answer, content_type, refusal
from airboss.gateway.request_head import UNPACKED, HttpRequest
from airboss.gateway.serving import Serving
from airboss.gateway.traces_fitting import (
    ATTRIBUTES_CHARS_MAX,
    VALUE_CHARS_MAX,
    bounded,
    fitting,
    fitting_events,
)
from airboss.gateway.traces_prices import ListedPrices, cost_of
from airboss.gateway.turns import apart
from airboss.gateway.worker import Worker
from airboss.governance.policies import binding, custom_of
from airboss.providers.compatible import name_in
from airboss.store.span_answers import ANSWER_ID
from airboss.store.span_rows import Span, SpanStatus
from airboss.telemetry.genai_attributes import unsaid, without_content, without_credentials
from airboss.telemetry.otlp_bounds import SPANS_MAX

if TYPE_CHECKING:
    from airboss.gateway.traces_screened import Learn, SpanScreen
    from airboss.telemetry.genai_spans import ModelCall
    from airboss.telemetry.otlp_read import RawSpan, Reading
    from airboss.telemetry.otlp_read_logs import RawLog

PROTOBUF: Final = (b"application/x-protobuf", b"application/protobuf")
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of a request, also once it is unpacked: many small attributes take up to thirty times as much memory."""
INLINE_BYTES: Final = 8 * 1024
"""A longer request is read in a thread: calls should not wait for it."""
MESSAGE_CHARS_MAX: Final = 2_048
SERVICE_CHARS_MAX: Final = 64
NAME_CHARS_MAX: Final = 256
"""Of a span and of an event."""
VALUE_OF_POLICY_CHARS: Final = 8_192
"""So long may what policies look for be, a private key, say: so much behind a cut is looked at, too."""
DEPLOYMENT_PREFIX: Final = "otlp:"
"""Of what stands for a deployment in records of calls that passed through none: the service follows."""

_STATUSES: Final[tuple[SpanStatus, ...]] = ("unset", "ok", "error")
_encode = msgspec.json.Encoder().encode
Raw = TypeVar("Raw", "RawSpan", "RawLog")


class Taken(msgspec.Struct):
    """What became of a request: frames of spans and of scores for the journal, and how many of either are not
    kept, by their reason."""

    frames: list[bytes]
    rejected: dict[str, int]
    scores: list[bytes]
    refused: dict[str, int]


class Sender(msgspec.Struct, frozen=True):
    """Who sends, under which plan, and how it is written."""

    serving: Serving
    principal: Principal
    as_json: bool
    now: datetime
    learn: Learn | None = None
    """What has names found, where a policy looks for them."""

    @property
    def now_ns(self) -> int:
        """The time, in Unix nanoseconds."""
        return int(self.now.timestamp() * 1e9)


async def traces(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Take spans: 200 once all that are kept are in the journal."""

    def work(sender: Sender) -> bytes:
        taken = take(sender, http, listed=worker.listed)
        for frame in taken.frames:
            worker.journal.span(sender.serving.redactor.redact(frame))
        for frame in taken.scores:
            worker.journal.score(sender.serving.redactor.redact(frame))
        worker.metrics.spans(len(taken.frames), sum(taken.rejected.values()))
        worker.metrics.evaluations(len(taken.scores), sum(taken.refused.values()))
        return answer(taken.rejected, "spans", refused=taken.refused, as_json=sender.as_json)

    await answered(worker, client, http, work)


async def answered(
    worker: Worker, client: Connection, http: HttpRequest, work: Callable[[Sender], bytes]
) -> None:
    """Answer a request of OTLP with what `work` makes of it, or with a refusal in the same encoding."""
    as_json = True
    now = worker.clock.now()
    head = b"x-request-id: %s\r\n" % worker.ids.next(int(now.timestamp() * 1000)).encode()
    try:
        serving = worker.view()
        kind = media_type(http.headers)
        as_json = kind not in PROTOBUF
        principal = serving.authenticate(http.headers)  # what is taken is told to those with a key alone
        check_kind(kind)
        learn = learning(worker) if serving.asks_names else None
        sender = Sender(serving, principal, as_json, now, learn)
        body, status = await worked(worker, http, lambda: work(sender), waits=learn is not None), 200
    except ApiError as error:
        worker.metrics.refused(error.http_status)
        body, status = refusal(error, as_json=as_json), error.http_status
        head = error_lines(error, head)
    client.respond(status, content_type(as_json=as_json) + head, body)


def learning(worker: Worker) -> Learn:
    """What has names found, and waits for that: for threads only."""
    from airboss.gateway.screened_names import recogniser_of  # noqa: PLC0415 - only such policies need it

    recogniser, loop = recogniser_of(worker), asyncio.get_running_loop()
    return lambda names: asyncio.run_coroutine_threadsafe(recogniser.learn(names), loop).result()


async def worked(
    worker: Worker, http: HttpRequest, work: Callable[[], bytes], *, waits: bool = False
) -> bytes:
    """What comes of reading a request: beside the calls where that takes longer, or `waits`."""
    if len(http.body) <= INLINE_BYTES and b"content-encoding" not in http.headers and not waits:
        return work()
    return await apart(worker.reading, work)


def take(sender: Sender, http: HttpRequest, *, listed: ListedPrices) -> Taken:
    """The frames that a request is. Raises ApiError."""
    from airboss.telemetry.otlp_read import read_json, read_protobuf  # noqa: PLC0415 - 7 MB of protobuf

    body = unpacked(http)
    try:
        reading = (read_json if sender.as_json else read_protobuf)(body, sender.now_ns)
    except ValueError as error:
        raise unreadable("Trace", error, as_json=sender.as_json) from None
    reading.spans = without_secrets(sender, body, reading.spans)
    host = http.headers.get(b"host", b"").decode("latin-1")
    spans = Spans(sender, host, listed)
    return spans.frames(reading, sender.now_ns)


def without_secrets(sender: Sender, body: bytes, raws: list[Raw]) -> list[Raw]:
    """What was read of a body, without the secrets: before anything of it is cut, put into lower case or
    joined, for then they are not known any more. Most bodies have none, which one search tells."""
    redact = sender.serving.redactor.redact
    if redact(body) is body:
        return raws
    return [msgspec.json.decode(redact(_encode(each)), type=type(each)) for each in raws]


def unreadable(signal: str, error: ValueError, *, as_json: bool) -> InvalidRequest:
    """The error for a body that is no request of OTLP."""
    encoding = "JSON" if as_json else "protobuf"
    return InvalidRequest(
        f"the body is no Export{signal}ServiceRequest in {encoding}: {str(error)[:200]}", code="invalid_otlp"
    )


def unpacked(http: HttpRequest, what: str = "traces") -> bytes:
    """The body, unpacked within bounds. Raises BodyTooLarge, InvalidRequest, UnsupportedMedia."""
    encoding = http.headers.get(b"content-encoding", b"identity").strip(b" \t").lower()
    if encoding in UNPACKED:
        body = http.body
    elif encoding in {b"gzip", b"deflate"}:
        try:
            unpack = zlib.decompressobj(wbits=47)  # either of both
            body = unpack.decompress(http.body, BODY_BYTES_MAX + 1)
        except zlib.error as error:
            raise InvalidRequest(
                f"the body is not {encoding.decode()}: {error}", code="invalid_otlp"
            ) from None
        if len(body) <= BODY_BYTES_MAX and not unpack.eof:
            raise InvalidRequest(f"the body's {encoding.decode()} breaks off", code="invalid_otlp")
    else:
        raise UnsupportedMedia(
            f"content-encoding {encoding[:60].decode('latin-1')!r} is not read here; send gzip or none"
        )
    if len(body) > BODY_BYTES_MAX:
        raise BodyTooLarge(f"the {what} of one request are over {BODY_BYTES_MAX} bytes; send fewer at once")
    return body


def media_type(headers: Mapping[bytes, bytes]) -> bytes:
    """What a body is said to be, without parameters."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def check_kind(kind: bytes) -> None:
    """Raise UnsupportedMedia for what is OTLP in neither encoding."""
    if kind != b"application/json" and kind not in PROTOBUF:
        raise UnsupportedMedia(
            f"content-type {kind[:60].decode('latin-1')!r} is not OTLP; send application/x-protobuf or "
            "application/json"
        )


class Spans:
    """Makes frames of spans, under one plan and for one key."""

    def __init__(self, sender: Sender, host: str, listed: ListedPrices) -> None:
        serving, principal = sender.serving, sender.principal
        self._listed = listed
        self.bodies = serving.plan.bodies
        self.key = principal.key
        self._host = host
        self._targets = [each.target for each in serving.plan.served() if each.target.price is not None]
        self.screen = _screen(serving, principal, sender.learn)
        self._screened: dict[str, str] = {}

    def frames(self, reading: Reading, now_ns: int) -> Taken:
        """What is kept of a request."""
        from airboss.telemetry import genai_spans  # noqa: PLC0415 - with the reader

        kept = reading.spans[:SPANS_MAX]
        if len(reading.spans) > SPANS_MAX:
            reason = f"more than {SPANS_MAX} in one request"
            reading.rejected[reason] = len(reading.spans) - SPANS_MAX
        people: dict[str, str] = {}
        sessions: dict[str, str] = {}
        for span in kept:
            user, session = genai_spans.user_of(span.attributes), genai_spans.session_of(span.attributes)
            if user is not None:
                people.setdefault(span.trace_id, user)
            if session is not None:
                sessions.setdefault(span.trace_id, session)
        frames = []
        for span in kept:
            # A trace is of one person as a rule, and most of its spans do not say whose.
            user = genai_spans.user_of(span.attributes) or people.get(span.trace_id)
            session = genai_spans.session_of(span.attributes) or sessions.get(span.trace_id)
            frames.append(self._frame(span, user, session))
        scores, refused = evaluations.frames(evaluations.told_in(kept), self, now_ns)
        return Taken(frames=frames, rejected=reading.rejected, scores=scores, refused=refused)

    def _frame(self, raw: RawSpan, user: str | None, session: str | None) -> bytes:
        from airboss.telemetry import genai_kinds, genai_spans  # noqa: PLC0415 - with the reader

        kind = genai_kinds.kind_of(raw.attributes)
        attributes: Mapping[str, Any] = raw.attributes
        span_id = row_id(raw, self.key)
        service = self.service(raw.resource)
        started_at = moment(raw.start_ns)
        call, awaits = None, False
        if kind in {"llm", "embedding"}:
            told = genai_spans.call_of(raw, kind, self.kept)
            if told.answer_id is not None:  # by which the store finds a call of the gateway's
                attributes = {ANSWER_ID: told.answer_id, **attributes}
            if told.address is None or told.address != self._host:  # ours has a record already
                call = self._record(raw, told, span_id, service, started_at, user, session)
                awaits = self.bodies and told.silent and "openinference.span.kind" not in raw.attributes
        if not self.bodies:
            attributes = unsaid(attributes)
        elif call is not None:
            attributes = without_content(attributes)
        attributes = without_credentials(attributes)
        events = [
            {
                "at_ms": (each.at_ns - raw.start_ns) / 1e6,
                "name": each.name,
                "attributes": without_credentials(
                    each.attributes if self.bodies else unsaid(each.attributes)
                ),
            }
            for each in raw.events
            if not each.name.startswith(genai_spans.CHUNKS)
            and (self.bodies or not each.name.startswith("gen_ai."))
        ]
        if raw.cut:
            attributes = {"airboss.cut": raw.cut, **attributes}
        # texts of errors say what could not be read, too
        message = (self.kept(raw.message, MESSAGE_CHARS_MAX) or None) if self.bodies else None
        # All of a row has its bound, and long names take their part of it.
        room = ATTRIBUTES_CHARS_MAX - max(0, len(user or "") + len(session or "") - VALUE_CHARS_MAX)
        span = Span(
            id=span_id,
            trace_id=raw.trace_id,
            span_id=raw.span_id,
            parent_id=raw.parent_id,
            name=self.kept(raw.name, NAME_CHARS_MAX),
            kind=kind,
            service=service,
            started_at=started_at,
            duration_ms=(raw.end_ns - raw.start_ns) / 1e6,
            status=_STATUSES[raw.status] if 0 <= raw.status < 3 else "unset",
            message=message,
            key=self.key,
            user=user,
            session=session,
            attributes=self.attributes(attributes, room),
            events=self._events(events),
            call=msgspec.Raw(call if call is not None else b"null"),
            awaits=awaits,
        )
        return _encode(span)

    def _record(  # noqa: PLR0917 - what the span said, as it was read
        self,
        raw: RawSpan,
        told: ModelCall,
        record_id: str,
        service: str,
        started_at: datetime,
        user: str | None,
        session: str | None,
    ) -> bytes:
        """The record that a model call becomes, as JSON."""
        from airboss.telemetry import genai_spans  # noqa: PLC0415 - with the reader

        told = by_name(told)
        request, response = (told.request, told.response) if self.bodies else (None, None)
        policy: tuple[PolicyFinding, ...] = ()
        if self.screen is not None:
            request, asked = self.screen.body(request, "request")
            response, said = self.screen.body(response, "response")
            policy = asked + said
        latency_ms = (raw.end_ns - raw.start_ns) / 1e6
        attempt = self._attempt(told, latency_ms)
        return _encode(
            InferenceRecord(
                id=record_id,
                started_at=started_at,
                deployment=f"{DEPLOYMENT_PREFIX}{service}",
                release="",
                arm=EXTERNAL,
                plan=0,
                model=told.models[0],
                provider=told.provider,
                key=self.key,
                user=user,
                session=session,
                operation=told.operation,
                stream=told.stream,
                status="ok" if told.error_type is None else "error",
                error_type=told.error_type,
                finish_reason=told.finish_reason,
                input_tokens=told.input_tokens,
                output_tokens=told.output_tokens,
                cached_input_tokens=told.cached_input_tokens,
                reasoning_tokens=told.reasoning_tokens,
                cache_write_tokens=told.written_input_tokens or None,
                usage_estimated=False,
                cost_usd=attempt.cost_usd,
                latency_ms=latency_ms,
                ttft_ms=told.ttft_ms,
                overhead_ms=0.0,
                output_chars=told.output_chars,
                attempts=(attempt,),
                cache=None,
                policy=policy,
                tags=genai_spans.tags_of(raw.attributes, self.kept),
                scores={},
                trace_id=raw.trace_id,
                request=msgspec.Raw(request or b"null"),
                response=msgspec.Raw(response or b"null"),
            )
        )

    def _attempt(self, told: ModelCall, latency_ms: float) -> Attempt:
        """All that a span tells of what was tried, and the price."""
        cost, priced_by = cost_of(self._targets, self._listed, told)
        return Attempt(
            provider=told.provider,
            model=told.models[0],
            url=self.text(told.address or ""),
            start_ms=0.0,
            latency_ms=latency_ms,
            ttft_ms=told.ttft_ms,
            error_type=told.error_type,
            usage=told.usage(),
            cost_usd=cost,
            priced_by=priced_by,
        )

    def text(self, text: str) -> str:
        """A text as it may be kept."""
        if self.screen is None:
            return text
        found = self._screened.get(text)  # of most names there are few in a request
        if found is None:
            found = self._screened[text] = self.screen.text(text)
        return found

    def kept(self, text: str, most: int) -> str:
        """Of a text as it may be kept so many characters at most: none of half a value at its end."""
        if self.screen is None or not text:
            return text[:most]
        seen = most + VALUE_OF_POLICY_CHARS
        found = self.text(text[:seen])
        if len(text) > seen:  # its end may be half a value now, and masks are shorter than values
            found = found[: max(0, len(found) - VALUE_OF_POLICY_CHARS)]
        return found[:most]

    def service(self, resource: Mapping[str, Any]) -> str:
        """What sends, by its resource."""
        return self.kept(str(resource.get("service.name") or "unknown_service"), SERVICE_CHARS_MAX)

    def attributes(self, attributes: Mapping[str, Any], chars_max: int) -> msgspec.Raw:
        """JSON of attributes as they may be kept, of so many characters; null for none."""
        return _json(fitting(self._may_be(bounded(attributes, self.kept), "span.attributes"), chars_max))

    def _events(self, events: Sequence[Mapping[str, Any]]) -> msgspec.Raw:
        found = [
            {
                **each,
                "name": self.kept(each["name"], NAME_CHARS_MAX),
                "attributes": bounded(each["attributes"], self.kept),
            }
            for each in events
        ]
        return _json(fitting_events(self._may_be(found, "span.events")))

    def _may_be(self, value: Any, where: str) -> Any:
        """A JSON value as it may be kept."""
        if not value or self.screen is None:
            return value
        text = _encode(value)
        screened = self.screen.body(text, where)[0]
        return value if screened is text or screened is None else msgspec.json.decode(screened)


def _json(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value) if value else b"null")


def _screen(serving: Serving, principal: Principal, learn: Learn | None) -> SpanScreen | None:
    """The screen that the policies of all deployments make that the key may use; None for no policy."""
    policies = serving.policies(principal)
    actions = binding(*policies)
    if not actions:
        return None
    from airboss.gateway.traces_screened import SpanScreen  # noqa: PLC0415 - 17 MB that only policies need

    return SpanScreen(actions, learn, custom_of(*policies))


def by_name(told: ModelCall) -> ModelCall:
    """A call with the kind of its error and why it stopped as far as these are names, as a provider's are
    (`name_in`): they stay in the clear, also of somebody forgotten, and an app may send an error's words."""
    failed = None if told.error_type is None else name_in(told.error_type) or "error"
    return msgspec.structs.replace(told, error_type=failed, finish_reason=name_in(told.finish_reason))


def row_id(span: RawSpan, key: str) -> str:
    """A UUID version 7 of the span's start that is the same whenever this key sends it."""
    return uuid7(span.start_ns, f"{key}\n{span.trace_id}\n{span.span_id}")


def uuid7(at_ns: int, named: str) -> str:
    """A UUID version 7 of a time, the same for the same name."""
    digest = blake2b(named.encode(), digest_size=10).hexdigest()
    ms = f"{at_ns // 1_000_000:012x}"
    variant = "89ab"[int(digest[3], 16) & 3]
    return f"{ms[:8]}-{ms[8:]}-7{digest[:3]}-{variant}{digest[4:7]}-{digest[7:19]}"


def moment(at_ns: int) -> datetime:
    """A time in Unix nanoseconds, to the microsecond."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC) + timedelta(microseconds=at_ns % 10**9 // 1000)
