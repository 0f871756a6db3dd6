"""`POST /v1/logs`: what was said in calls of models, where instrumentations write it into log records and not
into the calls' spans.

Such a record becomes a span of no time below the call's, and what it says goes into the call's record
(`store.span_messages`), in whichever order they come. So does an evaluation, and becomes a score
(`gateway.evaluations`). All other log records are taken and not kept.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from airboss.domain.errors import NotFound
from airboss.domain.record import PolicyFinding
from airboss.gateway import evaluations
from airboss.gateway.evaluations import Told
from airboss.gateway.http1 import Connection
from airboss.gateway.otlp_answers import answer
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.traces import (
    Sender,
    Spans,
    answered,
    moment,
    unpacked,
    unreadable,
    uuid7,
    without_secrets,
)
from airboss.gateway.traces_fitting import ATTRIBUTES_CHARS_MAX
from airboss.gateway.worker import Worker
from airboss.store.span_rows import NOTHING, Said, Span
from airboss.telemetry.genai_attributes import without_credentials
from airboss.telemetry.otlp_bounds import SPANS_MAX

if TYPE_CHECKING:
    from airboss.telemetry.otlp_read_logs import RawLog

_encode = msgspec.json.Encoder().encode


async def logs(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Take log records: 200 once all that are kept are in the journal."""

    def work(sender: Sender) -> bytes:
        from airboss.telemetry.genai_evaluations import EVENT  # noqa: PLC0415 - with the reader
        from airboss.telemetry.otlp_read_logs import (  # noqa: PLC0415 - 7 MB of protobuf
            logs_of_json,
            logs_of_protobuf,
        )

        body = unpacked(http, "logs")
        try:
            found = (logs_of_json if sender.as_json else logs_of_protobuf)(body, sender.now_ns)
        except ValueError as error:
            raise unreadable("Logs", error, as_json=sender.as_json) from None
        if len(found.logs) > SPANS_MAX:
            found.rejected[f"more than {SPANS_MAX} in one request"] = len(found.logs) - SPANS_MAX
        redact = sender.serving.redactor.redact
        spans = MessageSpans(sender, "", worker.listed)
        kept = without_secrets(sender, body, found.logs[:SPANS_MAX])
        told = [
            Told(log.at_ns, log.trace_id, log.span_id, log.attributes) for log in kept if log.name == EVENT
        ]
        scores, refused = evaluations.frames(told, spans, sender.now_ns)
        worker.metrics.evaluations(len(scores), sum(refused.values()))
        in_traces = [each for each in enumerate(kept) if each[1].span_id] if spans.bodies else []
        for frame in [redact(spans.frame(log, place)) for place, log in in_traces]:
            worker.journal.span(frame)  # what was said, all of it
        for frame in map(redact, scores):
            worker.journal.score(frame)
        return answer(found.rejected, "log records", refused=refused, as_json=sender.as_json)

    await answered(worker, client, http, work)


class MessageSpans(Spans):
    """Makes frames of log records that hold messages."""

    def frame(self, raw: RawLog, place: int) -> bytes:
        """The frame of one: a span of no time, below the one that it names."""
        said = {**raw.attributes, **({"body": raw.body} if raw.body is not None else {})}
        # By what it says and when: sent again it is kept once, and several of one moment are told apart.
        named = f"{raw.span_id}\n{raw.name}\n{raw.at_ns}\n".encode() + _encode(said)
        own_id = blake2b(named, digest_size=8).hexdigest()
        span = Span(
            id=uuid7(raw.at_ns, f"{self.key}\n{raw.trace_id}\n{own_id}"),
            trace_id=raw.trace_id,
            span_id=own_id,
            parent_id=raw.span_id,
            name=raw.name,
            kind="other",
            service=self.service(raw.resource),
            started_at=moment(raw.at_ns),
            duration_ms=0.0,
            key=self.key,
            attributes=self.attributes(without_credentials(said), ATTRIBUTES_CHARS_MAX),
            said=self._said(raw, place),
        )
        return _encode(span)

    def _said(self, raw: RawLog, place: int) -> msgspec.Raw:
        """What it says, for the record of its call; null where it has only roles, say."""
        from airboss.telemetry.genai_messages import DETAILS, of_log  # noqa: PLC0415 - with the reader

        body = raw.body if isinstance(raw.body, dict) else {"content": raw.body}
        asked, answered, tools = of_log(raw.name, {**raw.attributes, **body})
        if not asked and not answered:
            return NOTHING
        names = {"index", "finish_reason"}
        choices = [
            {
                "index": each["index"],
                "message": {name: value for name, value in each.items() if name not in names},
                "finish_reason": str(each["finish_reason"]) if each.get("finish_reason") else None,
            }
            for each in answered
        ]
        request = {"messages": asked} | ({"tools": tools} if tools else {})
        policy: list[PolicyFinding] = []
        said = Said(
            said_in=raw.span_id,
            at_ns=raw.at_ns,
            place=place,
            whole=raw.name == DETAILS,
            request=self._part(request if asked else None, "request", policy),
            response=self._part({"choices": choices} if choices else None, "response", policy),
            policy=tuple(policy),
        )
        return msgspec.Raw(_encode(said))

    def _part(self, value: Any, where: str, policy: list[PolicyFinding]) -> msgspec.Raw:
        """A body's part as it may be kept; what was found in it is added to `policy`."""
        if value is None:
            return NOTHING
        text: bytes = _encode(value)
        if self.screen is None:
            return msgspec.Raw(text)
        screened, found = self.screen.body(text, where)
        policy += found
        return msgspec.Raw(screened if screened is not None else b"null")


async def metrics(worker: Worker, client: Connection, http: HttpRequest) -> None:  # noqa: ARG001 - a route
    """Metrics are not taken. Raises NotFound, and PermissionDenied for a stranger."""
    worker.view().authenticate(http.headers)
    raise NotFound(
        "metrics are not taken here: Airboss counts the calls that it sees, in traces and at /metrics; set "
        "OTEL_METRICS_EXPORTER=none",
        code="route_not_offered",
    )
