"""OTLP requests to send: small builders with a default for every field."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}


def span_id(number: int) -> str:
    """The id of span `number`."""
    return f"{number:016x}"


def span(number: int, parent: int | None = None, *, trace: str = TRACE, **fields: Any) -> dict[str, Any]:
    """Span `number` in OTLP's JSON, of the last second; `attributes` is a plain dictionary."""
    start = fields.pop("start_ns", time.time_ns() - 10**9)
    given = {
        "traceId": trace,
        "spanId": span_id(number),
        "name": f"span {number}",
        "kind": 1,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 10**9),
        "attributes": pairs(fields.pop("attributes", {})),
    }
    if parent is not None:
        given["parentSpanId"] = span_id(parent)
    return given | fields


def llm(number: int, parent: int | None = None, **fields: Any) -> dict[str, Any]:
    """A call of a model, as OpenTelemetry's conventions of today write it."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }
    return span(number, parent, **{**fields, "attributes": attributes | fields.get("attributes", {})})


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP writes them."""
    return [{"key": key, "value": value(each)} for key, each in attributes.items()]


def value(given: Any) -> dict[str, Any]:
    """An AnyValue."""
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": given}
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(each) for each in given]}}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": pairs(given)}}
    return {"stringValue": given}


def request(*spans: dict[str, Any], service: str = "bot") -> dict[str, Any]:
    """A request in JSON."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": pairs({"service.name": service})},
                "scopeSpans": [{"scope": {"name": "tests"}, "spans": list(spans)}],
            }
        ]
    }


def log(name: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    """A log record of span `number` in OTLP's JSON; `attributes` and `body` are plain values."""
    given: dict[str, Any] = {
        "traceId": TRACE,
        "spanId": span_id(number),
        "timeUnixNano": str(time.time_ns() - 10**9),
        "eventName": name,
        "attributes": pairs(fields.pop("attributes", {})),
    }
    if "body" in fields:
        given["body"] = value(fields.pop("body"))
    return given | fields


def logs(*records: Any) -> dict[str, Any]:
    """A request of log records in JSON."""
    resource = {"attributes": pairs({"service.name": "bot"})}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": list(records)}]}]}


def as_protobuf(given: dict[str, Any]) -> bytes:
    """The same request in protobuf."""
    made = ExportTraceServiceRequest()
    for of_resource in given["resourceSpans"]:
        resource = made.resource_spans.add()
        for each in of_resource["resource"]["attributes"]:
            _fill(resource.resource.attributes.add(), each)
        for of_scope in of_resource["scopeSpans"]:
            scope = resource.scope_spans.add()
            scope.scope.name = of_scope["scope"]["name"]
            for said in of_scope["spans"]:
                one = scope.spans.add()
                one.trace_id = bytes.fromhex(said["traceId"])
                one.span_id = bytes.fromhex(said["spanId"])
                one.parent_span_id = bytes.fromhex(said.get("parentSpanId", ""))
                one.name, one.kind = said["name"], said["kind"]
                one.start_time_unix_nano = int(said["startTimeUnixNano"])
                one.end_time_unix_nano = int(said["endTimeUnixNano"])
                one.status.code = said.get("status", {}).get("code", 0)
                one.status.message = said.get("status", {}).get("message", "")
                for each in said["attributes"]:
                    _fill(one.attributes.add(), each)
                for event in said.get("events", ()):
                    made_event = one.events.add()
                    made_event.time_unix_nano, made_event.name = int(event["timeUnixNano"]), event["name"]
                    for each in event["attributes"]:
                        _fill(made_event.attributes.add(), each)
    return bytes(made.SerializeToString())


def _fill(pair: Any, given: dict[str, Any]) -> None:
    pair.key = given["key"]
    fill_value(pair.value, given["value"])


def fill_value(into: Any, given: dict[str, Any]) -> None:
    """Fill protobuf's value with one in JSON."""
    ((kind, said),) = given.items()
    if kind == "arrayValue":
        into.array_value.SetInParent()
        for each in said["values"]:
            fill_value(into.array_value.values.add(), each)
    elif kind == "kvlistValue":
        into.kvlist_value.SetInParent()
        for each in said["values"]:
            _fill(into.kvlist_value.values.add(), each)
    else:
        names = {"stringValue": "string_value", "boolValue": "bool_value", "doubleValue": "double_value"}
        setattr(into, names.get(kind, "int_value"), int(said) if kind == "intValue" else said)


def partial(content: bytes) -> tuple[int, str]:
    """How many spans a protobuf answer says were rejected, and why."""
    answer = ExportTraceServiceResponse()
    answer.ParseFromString(content)
    return answer.partial_success.rejected_spans, answer.partial_success.error_message


def refused(answer: httpx2.Response, headers: Mapping[str, str]) -> tuple[int, int, str]:
    """HTTP's status, gRPC's code and the message of a refusal, which must be a `google.rpc.Status` in the
    encoding of the request; in JSON OpenAI's shape is in it too."""
    if headers["content-type"] == PROTOBUF["content-type"]:
        assert answer.headers["content-type"] == PROTOBUF["content-type"]
        said = ExportTracePartialSuccess.FromString(answer.content)  # a number and a text, as a status is
        return answer.status_code, said.rejected_spans, said.error_message
    found = answer.json()
    assert set(found["error"]) == {"message", "type", "code", "param"}
    assert found["error"]["message"] == found["message"]
    return answer.status_code, found["code"], found["message"]
