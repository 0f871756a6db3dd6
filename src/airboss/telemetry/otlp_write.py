"""Calls said in OTLP: a span each, and histograms of them all. Names are OpenTelemetry's GenAI conventions.

By default those of v1.41, which others read; `latest` gives those that are to follow. A call's span has an id
that follows from its record's, so that sending it twice is seen by whoever receives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from airboss import __version__
from airboss.domain.record import Attempt, InferenceRecord
from airboss.telemetry import semconv
from airboss.telemetry.metrics import Histogram
from airboss.telemetry.semconv import DURATION_BUCKETS_S, TOKEN_BUCKETS

SCOPE: Final = "airboss"
SERIES_MAX: Final = 1_000
"""Sets of labels; calls of more are counted under `_OTHER`."""
OTHER: Final = "_OTHER"
CONTENT_CHARS_MAX: Final = 64 * 1024
"""Of a message list that is sent along."""

Labels = tuple[tuple[str, str], ...]
"""Attributes of a series, in order."""


class Parent(msgspec.Struct, frozen=True):
    """What a call's record does not say of its place in a trace."""

    parent_id: str | None
    sampled: bool


def spans_request(
    calls: Sequence[tuple[InferenceRecord, Parent | None]],
    *,
    resource: Mapping[str, str],
    latest: bool,
    content: bool,
) -> bytes:
    """An `ExportTraceServiceRequest` of these calls, each with its place in its caller's trace, if any."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    fill(of_resource.resource.attributes, resource)
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name, of_scope.scope.version = SCOPE, __version__
    for record, parent in calls:
        span = of_scope.spans.add()
        whole = record.id.replace("-", "")
        span.trace_id = bytes.fromhex(record.trace_id or whole)
        span.span_id = bytes.fromhex(whole[16:])
        if parent is not None and parent.parent_id is not None:
            span.parent_span_id = bytes.fromhex(parent.parent_id)
        span.name = f"{record.operation} {record.model}"
        span.kind = 3  # a client's: of the provider
        span.start_time_unix_nano = start = _nanoseconds(record)
        span.end_time_unix_nano = start + int(record.latency_ms * 1e6)
        fill(span.attributes, attributes_of(record, latest=latest))
        if content:
            fill(span.attributes, asked_of(record, latest=latest) | content_of(record))
        if record.status == "error":
            span.status.code = 2
            span.status.message = record.error_type or ""
        if len(record.attempts) > 1:
            for number, attempt in enumerate(record.attempts, 1):
                _attempt(of_scope.spans.add(), span, record, number, attempt)
    return bytes(request.SerializeToString())


def _attempt(into: Any, call: Any, record: InferenceRecord, number: int, attempt: Attempt) -> None:
    """One of several tries, below its call. It has no name of GenAI's: it is no call to whoever counts."""
    into.trace_id, into.parent_span_id, into.kind = call.trace_id, call.span_id, 3
    into.span_id = hashlib.sha256(f"{record.id}/{number}".encode()).digest()[:8]
    into.name = f"attempt {attempt.model}"
    into.start_time_unix_nano = call.start_time_unix_nano + int(attempt.start_ms * 1e6)
    into.end_time_unix_nano = into.start_time_unix_nano + int(attempt.latency_ms * 1e6)
    said = {
        "airboss.attempt.number": number,
        "airboss.attempt.why": attempt.why,
        "airboss.attempt.model": attempt.model,
        "airboss.attempt.provider": attempt.provider,
        "http.response.status_code": attempt.status_code,
        **_server(attempt),
        "error.type": attempt.error_type,
    }
    fill(into.attributes, {name: value for name, value in said.items() if value is not None})
    if attempt.error_type is not None:
        into.status.code, into.status.message = 2, attempt.error_type


def _server(attempt: Attempt) -> dict[str, Any]:
    """Where a try went; nothing where that cannot be read: a host that is called like its key is redacted,
    and one such call must not hold up all that come after it."""
    try:
        upstream = urlsplit(attempt.url)
        found = {"server.address": upstream.hostname, "server.port": upstream.port}
    except ValueError:
        return {}
    return found


def rejected(answer: bytes) -> int:
    """How many spans an answer says were not taken; 0 for an answer that cannot be read."""
    said = ExportTraceServiceResponse()
    try:
        said.ParseFromString(answer)
    except Exception:  # noqa: BLE001 - what others answer is theirs, and the spans were taken
        return 0
    return int(said.partial_success.rejected_spans)


def attributes_of(record: InferenceRecord, *, latest: bool) -> dict[str, Any]:
    """What a call's span says; nothing of it is anybody's words."""
    written = (
        "gen_ai.usage.cache_write.input_tokens" if latest else "gen_ai.usage.cache_creation.input_tokens"
    )
    found: dict[str, Any] = {
        semconv.OPERATION_NAME: record.operation,
        semconv.PROVIDER_NAME: record.provider,
        semconv.REQUEST_MODEL: record.model,
        "gen_ai.request.stream": record.stream or None,
        "gen_ai.conversation.id": record.session,
        "gen_ai.response.finish_reasons": [record.finish_reason] if record.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": _first_chunk(record),
        "gen_ai.usage.input_tokens": record.input_tokens,
        "gen_ai.usage.output_tokens": record.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.cached_input_tokens,
        written: record.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": record.reasoning_tokens,
        "gen_ai.usage.cost": float(record.cost_usd) if record.cost_usd is not None else None,
        "error.type": _error_type(record),
        **(_server(record.attempts[-1]) if record.attempts else {}),
        "user.id": record.user,
        semconv.DEPLOYMENT: record.deployment,
        semconv.STATUS: record.status,
        "airboss.record.id": record.id,
        "airboss.release": record.release,
        "airboss.arm": record.arm,
        "airboss.plan": record.plan,
        "airboss.key": record.key,
        "airboss.attempts": len(record.attempts),
        "airboss.cache": record.cache,
        "airboss.overhead_ms": record.overhead_ms,
        **{f"airboss.tag.{name}": value for name, value in record.tags.items()},
    }
    return {name: value for name, value in found.items() if value is not None}


def asked_of(record: InferenceRecord, *, latest: bool) -> dict[str, Any]:
    """What a call asked of its model, and which answer came, as far as its bodies tell; of odd values
    nothing."""
    request, response = _mapping(record.request), _mapping(record.response)
    found: dict[str, Any] = {}
    for name, kind in _NUMBERS.items():
        value = request.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63:
            found[_PARAMETERS[name]] = kind(value)
    stop = request.get("stop")
    texts = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    if texts and all(isinstance(each, str) for each in texts):
        found["gen_ai.request.stop_sequences"] = texts
    if _mapping(request.get("response_format")).get("type") in ("json_object", "json_schema"):
        found["gen_ai.output.type"] = "json"
    if latest and isinstance(request.get("reasoning_effort"), str):
        found["gen_ai.request.reasoning.level"] = request["reasoning_effort"]
    for name in ("id", "model"):
        if isinstance(response.get(name), str):
            found[f"gen_ai.response.{name}"] = response[name]
    return found


_NUMBERS: Final[Mapping[str, type[int | float]]] = {
    "temperature": float,
    "top_p": float,
    "frequency_penalty": float,
    "presence_penalty": float,
    "top_k": int,
    "seed": int,
    "n": int,
    "max_tokens": int,
    "max_completion_tokens": int,
}
_PARAMETERS: Final = {name: f"gen_ai.request.{name}" for name in _NUMBERS} | {
    "n": "gen_ai.request.choice.count",
    "max_completion_tokens": "gen_ai.request.max_tokens",
}


def content_of(record: InferenceRecord) -> dict[str, str]:
    """What was asked and answered, as the record has it: redacted, and under the call's policies."""
    found: dict[str, Any] = {}
    request = record.request if isinstance(record.request, dict) else {}
    response = record.response if isinstance(record.response, dict) else {}
    asked = request.get("messages", request.get("input", request.get("prompt")))
    if asked is not None:
        found["gen_ai.input.messages"] = _messages(asked, "user")
    choices = response.get("choices")
    if isinstance(choices, list):
        said = [
            {**_mapping(each.get("message")), "finish_reason": each.get("finish_reason")}
            if "message" in each
            else {"content": each.get("text"), "finish_reason": each.get("finish_reason")}
            for each in choices
            if isinstance(each, dict)
        ]
        found["gen_ai.output.messages"] = _messages(said, "assistant")
    if isinstance(request.get("tools"), list):
        found["gen_ai.tool.definitions"] = request["tools"]
    texts = {name: msgspec.json.encode(value).decode() for name, value in found.items()}
    return {name: text for name, text in texts.items() if len(text) <= CONTENT_CHARS_MAX}


def _messages(given: Any, role: str) -> list[dict[str, Any]]:
    """Chat's messages as messages of parts."""
    listed = given if isinstance(given, list) else [given]
    found = []
    for each in listed:
        message = each if isinstance(each, dict) else {"content": each}
        parts: list[dict[str, Any]] = []
        content = message.get("content")
        for part in content if isinstance(content, list) else [content] if content is not None else []:
            text = part.get("text") if isinstance(part, dict) else part
            parts.append({"type": "text", "content": text} if isinstance(text, str) else {"type": "media"})
        called = message.get("tool_calls")
        for call in called if isinstance(called, list) else ():
            function = _mapping(_mapping(call).get("function"))
            parts.append(
                {"type": "tool_call", "id": _mapping(call).get("id"), "name": function.get("name")}
                | {"arguments": function.get("arguments")}
            )
        if message.get("role") == "tool":
            parts = [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}]
        said = {"role": message.get("role") or role, "parts": parts}
        reason = message.get("finish_reason")
        found.append(said | ({"finish_reason": reason} if reason is not None else {}))
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# -- metrics


class Totals:
    """Histograms and sums of calls since the exporter's start. One thread uses it."""

    def __init__(self, *, latest: bool, started_ns: int) -> None:
        self._latest = latest
        self._started_ns = started_ns
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._sums: dict[tuple[str, Labels], float] = {}
        self._known: set[Labels] = set()

    def add(self, record: InferenceRecord) -> None:
        """Count a call."""
        labels = self._labels(record)
        inference = self._latest and record.operation != "embeddings"
        duration = semconv.INFERENCE_DURATION if inference else semconv.OPERATION_DURATION
        self._observe(duration, labels, record.latency_ms / 1000, DURATION_BUCKETS_S)
        first_chunk = _first_chunk(record)
        if first_chunk is not None:
            first = semconv.INFERENCE_FIRST_CHUNK if inference else semconv.TIME_TO_FIRST_CHUNK
            self._observe(first, labels, first_chunk, DURATION_BUCKETS_S)
        counts = {
            "input_tokens": record.input_tokens,
            "output_tokens": record.output_tokens,
            "cache_read.input_tokens": record.cached_input_tokens,
            "cache_write.input_tokens": record.cache_write_tokens,
            "reasoning.output_tokens": record.reasoning_tokens,
        }
        for kind in ("input", "output"):
            count = counts[f"{kind}_tokens"]
            if count is None:
                continue
            if self._latest:
                name = f"{semconv.INFERENCE_TOKENS}.{kind}_tokens"
                self._observe(name, labels, count, TOKEN_BUCKETS)
            else:
                typed = (*labels, (semconv.TOKEN_TYPE, kind))
                self._observe(semconv.TOKEN_USAGE, typed, count, TOKEN_BUCKETS)
        if self._latest:
            for kind, count in counts.items():
                if count:
                    self._sum(f"{semconv.INFERENCE_USAGE}.{kind}", labels, count)
        if record.cost_usd is not None:
            self._sum(semconv.COST, labels, float(record.cost_usd))

    def _labels(self, record: InferenceRecord) -> Labels:
        found = {
            semconv.OPERATION_NAME: record.operation,
            semconv.PROVIDER_NAME: record.provider,
            semconv.REQUEST_MODEL: record.model,
            semconv.DEPLOYMENT: record.deployment,
        }
        error = _error_type(record)
        if error is not None:
            found["error.type"] = error
        labels = tuple(found.items())
        if labels not in self._known and len(self._known) >= SERIES_MAX:
            return tuple((name, OTHER) for name in found)
        self._known.add(labels)
        return labels

    def _observe(self, name: str, labels: Labels, value: float, bounds: tuple[float, ...]) -> None:
        histogram = self._histograms.get((name, labels))
        if histogram is None:
            histogram = self._histograms[name, labels] = Histogram([0] * (len(bounds) + 1))
        histogram.observe((value,), bounds)

    def _sum(self, name: str, labels: Labels, value: float) -> None:
        self._sums[name, labels] = self._sums.get((name, labels), 0.0) + value

    def request(self, now_ns: int, resource: Mapping[str, str]) -> bytes:
        """An `ExportMetricsServiceRequest` of all that was counted."""
        request = ExportMetricsServiceRequest()
        of_resource = request.resource_metrics.add()
        fill(of_resource.resource.attributes, resource)
        of_scope = of_resource.scope_metrics.add()
        of_scope.scope.name, of_scope.scope.version = SCOPE, __version__
        metrics: dict[str, Any] = {}
        for (name, labels), histogram in self._histograms.items():
            metric = metrics.get(name)
            if metric is None:
                metric = metrics[name] = of_scope.metrics.add()
                metric.name, metric.unit = name, "s" if "token" not in name else "{token}"
                metric.histogram.aggregation_temporality = (
                    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
                )
            point = metric.histogram.data_points.add()
            self._stamp(point, labels, now_ns)
            point.count, point.sum = sum(histogram.counts), histogram.total
            point.bucket_counts.extend(histogram.counts)
            tokens = len(histogram.counts) == len(TOKEN_BUCKETS) + 1
            point.explicit_bounds.extend(TOKEN_BUCKETS if tokens else DURATION_BUCKETS_S)
        for (name, labels), total in self._sums.items():
            metric = metrics.get(name)
            if metric is None:
                metric = metrics[name] = of_scope.metrics.add()
                metric.name, metric.unit = name, "USD" if name == semconv.COST else "{token}"
                metric.sum.is_monotonic = True
                metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            point = metric.sum.data_points.add()
            self._stamp(point, labels, now_ns)
            point.as_double = total
        return bytes(request.SerializeToString())

    def _stamp(self, point: Any, labels: Labels, now_ns: int) -> None:
        fill(point.attributes, dict(labels))
        point.start_time_unix_nano, point.time_unix_nano = self._started_ns, now_ns


def _error_type(record: InferenceRecord) -> str | None:
    return None if record.status == "ok" else record.error_type or record.status


def _first_chunk(record: InferenceRecord) -> float | None:
    """Seconds to the first piece of a stream; an answer that comes whole has none."""
    return record.ttft_ms / 1000 if record.stream and record.ttft_ms is not None else None


def _nanoseconds(record: InferenceRecord) -> int:
    whole = int(record.started_at.replace(microsecond=0).timestamp())
    return whole * 10**9 + record.started_at.microsecond * 1000


def fill(into: Any, attributes: Mapping[str, Any]) -> None:
    """Add attributes."""
    for name, value in attributes.items():
        pair = into.add()
        pair.key = name
        _fill_value(pair.value, value)


def _fill_value(into: Any, value: Any) -> None:
    match value:
        case bool():
            into.bool_value = value
        case int():
            into.int_value = value
        case float():
            into.double_value = value
        case str():
            into.string_value = value
        case _:
            _fill_list(into, value)


def _fill_list(into: Any, values: Iterable[Any]) -> None:
    into.array_value.SetInParent()
    for each in values:
        _fill_value(into.array_value.values.add(), each)
