"""`POST /v1/traces`: spans that apps send by OTLP/HTTP, into the journal.

Every span is kept; one that tells of a model call becomes a record too, unless the call passed through a
gateway of ours (`store.span_calls`). A span is screened under the policies of all deployments that its key
may use: what may not be recorded of a call here is not recorded of one elsewhere.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

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

PROTOBUF: Final = (b"application/x-protobuf", b"application/protobuf")
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of a request, also once it is unpacked: many small attributes take up to thirty times as much memory."""
INLINE_BYTES: Final = 8 * 1024
"""A longer request is read in a thread: calls should not wait for it."""
VALUE_CHARS_MAX: Final = 8_192
BEGINNING_CHARS: Final = 256
ATTRIBUTES_CHARS_MAX: Final = 32_768
EVENTS_CHARS_MAX: Final = 8_192
MESSAGE_CHARS_MAX: Final = 2_048
SERVICE_CHARS_MAX: Final = 64
DEPLOYMENT_PREFIX: Final = "otlp:"
"""Of what stands for a deployment in records of calls that passed through none: the service follows."""

_STATUSES: Final[tuple[SpanStatus, ...]] = ("unset", "ok", "error")
_encode = msgspec.json.Encoder().encode


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
    host = http.headers.get(b"host", b"").decode("latin-1")
    spans = Spans(sender, host, listed)
    return spans.frames(reading, sender.now_ns)


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
        service = service_of(raw.resource)
        started_at = moment(raw.start_ns)
        call, awaits = None, False
        if kind in {"llm", "embedding"}:
            told = genai_spans.call_of(raw, kind)
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
        message = (raw.message[:MESSAGE_CHARS_MAX] or None) if self.bodies else None
        # All of a row has its bound, and long names take their part of it.
        room = ATTRIBUTES_CHARS_MAX - max(0, len(user or "") + len(session or "") - VALUE_CHARS_MAX)
        span = Span(
            id=span_id,
            trace_id=raw.trace_id,
            span_id=raw.span_id,
            parent_id=raw.parent_id,
            name=self.text(raw.name),
            kind=kind,
            service=service,
            started_at=started_at,
            duration_ms=(raw.end_ns - raw.start_ns) / 1e6,
            status=_STATUSES[raw.status] if 0 <= raw.status < 3 else "unset",
            message=self.text(message) if message is not None else None,
            key=self.key,
            user=user,
            session=session,
            attributes=self.json(fitting(attributes, room), "span.attributes"),
            events=self.json(fitting_events(events), "span.events"),
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
                tags=genai_spans.tags_of(raw.attributes),
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
            url=told.address or "",
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
        return text if self.screen is None else self.screen.text(text)

    def json(self, value: Any, where: str) -> msgspec.Raw:
        """JSON of a value as it may be kept; null for an empty one."""
        if not value:
            return msgspec.Raw(b"null")
        text = _encode(value)
        if self.screen is not None:
            text = self.screen.body(text, where)[0] or text
        return msgspec.Raw(text)


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


def service_of(resource: Mapping[str, Any]) -> str:
    """What sends, by its resource."""
    return str(resource.get("service.name") or "unknown_service")[:SERVICE_CHARS_MAX]


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


def fitting(attributes: Mapping[str, Any], chars_max: int) -> dict[str, Any]:
    """Attributes cut to what a row may hold: long values to their beginnings, the longest ones to shorter
    ones, and then the last attributes are left out."""
    found = {name: _short(value, VALUE_CHARS_MAX) for name, value in attributes.items()}
    sizes = {name: _size(value) + len(name) + 8 for name, value in found.items()}
    total = sum(sizes.values())
    for name in sorted(sizes, key=lambda each: -sizes[each]):
        if total <= chars_max:
            return found
        found[name] = _short(found[name], BEGINNING_CHARS)
        total += _size(found[name]) + len(name) + 8 - sizes[name]
        sizes[name] = _size(found[name]) + len(name) + 8
    left_out = 0
    for name in reversed(list(attributes)):
        if total <= chars_max:
            break
        del found[name]
        total -= sizes[name]
        left_out += 1
    return {**found, "airboss.left_out": left_out} if left_out else found


def _short(value: Any, chars_max: int) -> Any:
    size = _size(value)
    if size <= chars_max:
        return value
    if isinstance(value, str):
        kept = chars_max * len(value) // size
        return f"{value[:kept]}[cut: {len(value) - kept} more characters]"
    return f"[cut: {size} characters]"


def _size(value: Any) -> int:
    """How long it is as it is kept: as JSON, where a control character is six."""
    if isinstance(value, str):
        return len(_encode(value).decode()) - 2
    return len(_encode(value)) if isinstance(value, list | dict) else 8


def fitting_events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events cut to what a row may hold; the last ones are left out first."""
    kept: list[dict[str, Any]] = []
    total = 0
    for event in events:
        fitted = {**event, "attributes": fitting(event["attributes"], EVENTS_CHARS_MAX // 2)}
        total += len(_encode(fitted))
        if total > EVENTS_CHARS_MAX:
            return [*kept, {"at_ms": event["at_ms"], "name": f"[cut: {len(events) - len(kept)} more events]"}]
        kept.append(fitted)
    return kept
