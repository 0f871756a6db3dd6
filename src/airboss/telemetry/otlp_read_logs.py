"""OTLP/HTTP logs, read as `otlp_read` does: the records that hold messages of model calls, or evaluations of
them, each by itself."""

from __future__ import annotations

from typing import Final

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from airboss.telemetry.genai_evaluations import EVENT
from airboss.telemetry.genai_messages import DETAILS
from airboss.telemetry.otlp_bounds import SPANS_MAX
from airboss.telemetry.otlp_read import (
    AnyValue,
    Pair,
    Rejecting,
    Resource,
    Value,
    Wrong,
    attributes_of,
    checked_id,
    checked_times,
    decoded,
    decoded_whole,
    json_attributes,
    json_value,
    parsed,
    unhex,
    value_of,
    whole,
)

MESSAGES: Final = frozenset(
    {
        DETAILS,
        "gen_ai.system.message",
        "gen_ai.user.message",
        "gen_ai.assistant.message",
        "gen_ai.tool.message",
        "gen_ai.choice",
        "gen_ai.content.prompt",
        "gen_ai.content.completion",
    }
)
"""Log records that hold messages of a call: the one of today, and those of the time before 1.37 and 1.28."""


class RawLog(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A log record that holds messages, or an evaluation; ids and time as in `RawSpan`, but that an
    evaluation may name no span: then both ids are "". `body` is a JSON value."""

    trace_id: str
    span_id: str
    at_ns: int
    name: str
    attributes: dict[str, Value]
    body: Value
    resource: dict[str, Value]


class LogReading(Rejecting):
    """What a request held: log records with messages or evaluations, and why others such were rejected."""

    logs: list[RawLog]


def _event(name: str, attributes: dict[str, Value]) -> str | None:
    """Which of MESSAGES a log record is, or EVENT; None for none of them; some write the registry's name."""
    told = name or attributes.get("event.name")
    told = told.removeprefix("event.") if isinstance(told, str) else None
    return told if told in MESSAGES or told == EVENT else None


def _ids(name: str, trace_id: bytes, span_id: bytes) -> tuple[str, str]:
    """The span that a log record names. Raises Wrong."""
    if name == EVENT and not any(span_id):
        return "", ""
    return checked_id(trace_id, 16, "trace_id"), checked_id(span_id, 8, "span_id")


def logs_of_protobuf(body: bytes, now_ns: int) -> LogReading:
    """Those of MESSAGES and EVENT in an `ExportLogsServiceRequest`; one that does not name its span is
    rejected, other log records are passed over. Raises ValueError where the bytes are none, BodyTooLarge."""
    request = parsed(ExportLogsServiceRequest(), body)
    found = LogReading(logs=[])
    for of_resource in request.resource_logs:
        resource = attributes_of(of_resource.resource.attributes)[0]
        for log in (each for of_scope in of_resource.scope_logs for each in of_scope.log_records):
            attributes = attributes_of(log.attributes)[0]
            name = _event(log.event_name or "", attributes)
            if name is None:
                continue
            try:
                at = log.time_unix_nano or log.observed_time_unix_nano
                checked_times(at, at, now_ns)
                trace_id, span_id = _ids(name, log.trace_id, log.span_id)
            except Wrong as wrong:
                found.reject(str(wrong))
                continue
            found.logs.append(
                RawLog(
                    trace_id=trace_id,
                    span_id=span_id,
                    at_ns=at,
                    name=name,
                    attributes=attributes,
                    body=value_of(log.body),
                    resource=resource,
                )
            )
    return found


class _Log(msgspec.Struct, rename="camel"):
    trace_id: str | None = None
    span_id: str | None = None
    time_unix_nano: int | str | None = None
    observed_time_unix_nano: int | str | None = None
    event_name: str | None = None
    attributes: list[Pair] | None = None
    body: AnyValue | None = None


class _ScopeLogs(msgspec.Struct, rename="camel"):
    log_records: list[msgspec.Raw] | None = None


class _ResourceLogs(msgspec.Struct, rename="camel"):
    resource: Resource | None = None
    scope_logs: list[_ScopeLogs] | None = None


class _LogsRequest(msgspec.Struct, rename="camel"):
    resource_logs: list[_ResourceLogs] | None = None


_requests: Final = msgspec.json.Decoder(_LogsRequest)
_logs: Final = msgspec.json.Decoder(_Log)


def logs_of_json(body: bytes, now_ns: int) -> LogReading:
    """The same of a request in JSON."""
    request = decoded_whole(_requests, body)
    found = LogReading(logs=[])
    for of_resource in request.resource_logs or ():
        resource = json_attributes(of_resource.resource.attributes if of_resource.resource else None)[0]
        records = [each for of_scope in of_resource.scope_logs or () for each in of_scope.log_records or ()]
        found.reject(f"more than {SPANS_MAX} of one resource", len(records) - SPANS_MAX)
        for raw in records[:SPANS_MAX]:
            try:
                log = decoded(_logs, raw)
                attributes = json_attributes(log.attributes)[0]
                name = _event(log.event_name or "", attributes)
                if name is None:
                    continue
                at = whole(log.time_unix_nano) or whole(log.observed_time_unix_nano)
                checked_times(at, at, now_ns)
                trace_id, span_id = _ids(
                    name, unhex(log.trace_id or "", "traceId"), unhex(log.span_id or "", "spanId")
                )
                found.logs.append(
                    RawLog(
                        trace_id=trace_id,
                        span_id=span_id,
                        at_ns=at,
                        name=name,
                        attributes=attributes,
                        body=json_value(log.body),
                        resource=resource,
                    )
                )
            except (ValueError, RecursionError) as error:
                found.reject(str(error)[:200])
    return found
