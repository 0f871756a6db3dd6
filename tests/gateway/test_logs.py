"""What was said in calls of models, sent as log records: `POST /v1/logs`."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from airboss.gateway.traces import BODY_BYTES_MAX, VALUE_CHARS_MAX
from airboss.governance.policies import policy_of
from airboss.telemetry.otlp_write import fill
from airboss.testing import FakeProvider
from tests.support.gateway import Gateway, deployment
from tests.support.otlp import JSON, PROTOBUF, TRACE, pairs, span_id, value

DETAILS = "gen_ai.client.inference.operation.details"
AT = time.time_ns() - 10**9


def log(name: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    """A log record of span `number` in OTLP's JSON; `attributes` and `body` are plain values."""
    given: dict[str, Any] = {
        "traceId": TRACE,
        "spanId": span_id(number),
        "timeUnixNano": str(AT),
        "eventName": name,
        "attributes": pairs(fields.pop("attributes", {})),
    }
    if "body" in fields:
        given["body"] = value(fields.pop("body"))
    return given | fields


def request(*logs: Any) -> dict[str, Any]:
    """A request in JSON."""
    resource = {"attributes": pairs({"service.name": "bot"})}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": list(logs)}]}]}


def send(
    gateway: Gateway, content: bytes, headers: dict[str, str], path: str = "/v1/logs"
) -> httpx2.Response:
    """Post a body as it is."""
    with gateway.client() as client:
        return client.post(path, content=content, headers=headers)


def kept(gateway: Gateway, *logs: Any) -> list[dict[str, Any]]:
    """The spans that log records become."""
    answer = send(gateway, json.dumps(request(*logs)).encode(), JSON)
    assert (answer.status_code, answer.json()) == (200, {}), answer.text
    return gateway.spans()


@pytest.fixture
def quiet(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own."""
    with Gateway(own_root, deployment(provider.url)) as running:
        yield running


SAID = [{"role": "user", "parts": [{"type": "text", "content": "be kind"}]}]


def test_messages_stand_below_their_call(quiet: Gateway) -> None:
    """Those of today and of before; each is kept once, however often it is sent."""
    logs = [
        log(DETAILS, attributes={"gen_ai.input.messages": SAID}),
        log("gen_ai.user.message", body={"content": "be kind"}),
        log("gen_ai.choice", body={"index": 0, "message": {"content": "yes"}}),
        log(
            "",
            attributes={"event.name": "gen_ai.user.message"},
            body={"content": "and brief"},
            timeUnixNano="0",
        )
        | {"observedTimeUnixNano": str(AT)},
    ]
    found = kept(quiet, *logs)
    assert [each["name"] for each in found] == [
        DETAILS,
        "gen_ai.user.message",
        "gen_ai.choice",
        "gen_ai.user.message",
    ]
    assert {(each["trace_id"], each["parent_id"], each["service"]) for each in found} == {
        (TRACE, span_id(1), "bot")
    }
    assert found[0]["attributes"] == {"gen_ai.input.messages": SAID}
    assert [each["attributes"]["body"] for each in found[1:3]] == [
        {"content": "be kind"},
        {"index": 0, "message": {"content": "yes"}},
    ]
    again = kept(quiet, *logs)
    assert len({each["id"] for each in again}) == len({each["span_id"] for each in again}) == 4


def test_protobuf_and_json_are_the_same(quiet: Gateway) -> None:
    """Packed or not; the answer is in the same encoding."""
    made = ExportLogsServiceRequest()
    resource = made.resource_logs.add()
    fill(resource.resource.attributes, {"service.name": "bot"})
    one = resource.scope_logs.add().log_records.add()
    one.event_name, one.time_unix_nano = DETAILS, AT
    one.trace_id, one.span_id = bytes.fromhex(TRACE), bytes.fromhex(span_id(1))
    fill(one.attributes, {"gen_ai.response.id": "a"})
    one.body.string_value = "said"
    packed = PROTOBUF | {"content-encoding": "gzip"}
    for content, headers in (
        (made.SerializeToString(), PROTOBUF),
        (gzip.compress(made.SerializeToString()), packed),
    ):
        answer = send(quiet, content, headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, PROTOBUF["content-type"])
        assert ExportLogsServiceResponse.FromString(answer.content) == ExportLogsServiceResponse()
    found = kept(quiet, log(DETAILS, attributes={"gen_ai.response.id": "a"}, body="said"))
    assert found[0] == found[1] == found[2]


def test_other_logs_are_taken_and_not_kept(quiet: Gateway) -> None:
    """An app's own, those of no span, of no time, and those that cannot be read."""
    others: list[Any] = [
        log("app.started"),
        log("", body="GET /"),
        log(DETAILS, spanId=""),
        log(DETAILS, traceId="xy"),
        log(DETAILS, timeUnixNano="0"),
        log(DETAILS, timeUnixNano=str(AT + 10**16)),
        log(DETAILS, attributes={}) | {"attributes": 5},
        5,
    ]
    assert kept(quiet, *others) == []
    assert send(quiet, b"", PROTOBUF).status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"[]", JSON, 400),
        (b'{"resourceLogs":5}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"", {"content-type": "text/plain"}, 415),
        (b"", PROTOBUF | {"content-encoding": "br"}, 415),
        (gzip.compress(b"\0" * (BODY_BYTES_MAX + 1)), PROTOBUF | {"content-encoding": "gzip"}, 413),
    ],
)
def test_what_is_no_request_is_refused(
    gateway: Gateway, content: bytes, headers: dict[str, str], status: int
) -> None:
    """In OpenAI's shape, as traces are."""
    answer = send(gateway, content, headers)
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "code", "param"}


def test_logs_need_a_key_and_metrics_are_not_taken(quiet: Gateway) -> None:
    """Whoever sends metrics hears what to do instead."""
    for path in ("/v1/logs", "/v1/metrics"):
        stranger = httpx2.post(f"{quiet.url}{path}", content=b"", headers=PROTOBUF)
        assert stranger.status_code == 401
    refused = send(quiet, gzip.compress(b""), PROTOBUF | {"content-encoding": "gzip"}, "/v1/metrics")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "route_not_offered")
    assert "OTEL_METRICS_EXPORTER" in refused.json()["error"]["message"]


def test_what_may_not_be_recorded(provider: FakeProvider, own_root: Path) -> None:
    """Policies mask it, long texts are cut, and where records hold no bodies nothing is kept."""
    mail = "bob@example.org"
    with Gateway(own_root / "a", deployment(provider.url, policy=policy_of("mask", ("email",)))) as gateway:
        (short,) = kept(gateway, log("gen_ai.user.message", body={"content": f"to {mail}"}))
        assert short["attributes"]["body"] == {"content": "to [EMAIL]"}
        long = kept(gateway, log("gen_ai.choice", body={"content": f"{mail} " * 10_000}))[1]
        assert long["attributes"]["body"].startswith("[cut: ")
        assert len(json.dumps(long)) < VALUE_CHARS_MAX
        assert mail.encode() not in gateway.journal_bytes()
    with Gateway(own_root / "b", deployment(provider.url), bodies=False) as gateway:
        assert kept(gateway, log(DETAILS, attributes={"gen_ai.input.messages": SAID})) == []
        assert b"be kind" not in gateway.journal_bytes()
