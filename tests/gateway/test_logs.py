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

from airboss.gateway.traces import BODY_BYTES_MAX
from airboss.gateway.traces_fitting import VALUE_CHARS_MAX
from airboss.governance.policies import policy_of
from airboss.telemetry.otlp_bounds import SPANS_MAX
from airboss.telemetry.otlp_write import fill
from airboss.testing import FakeProvider
from tests.support.gateway import Gateway, deployment
from tests.support.otlp import (
    JSON,
    PROTOBUF,
    TRACE,
    fill_value,
    llm,
    log,
    logs,
    refused,
    request,
    span,
    span_id,
)

DETAILS = "gen_ai.client.inference.operation.details"
AT = time.time_ns() - 10**9


def as_protobuf(*logs: dict[str, Any]) -> bytes:
    """The same request in protobuf."""
    made = ExportLogsServiceRequest()
    of_scope = made.resource_logs.add().scope_logs.add()
    for each in logs:
        one = of_scope.log_records.add()
        one.trace_id, one.span_id = bytes.fromhex(each["traceId"]), bytes.fromhex(each["spanId"])
        one.time_unix_nano, one.event_name = int(each["timeUnixNano"]), each["eventName"]
        if "body" in each:
            fill_value(one.body, each["body"])
    return bytes(made.SerializeToString())


def send(
    gateway: Gateway, content: bytes, headers: dict[str, str], path: str = "/v1/logs"
) -> httpx2.Response:
    """Post a body as it is."""
    with gateway.client() as client:
        return client.post(path, content=content, headers=headers)


def kept(gateway: Gateway, *records: Any) -> list[dict[str, Any]]:
    """The spans that log records become."""
    answer = send(gateway, json.dumps(logs(*records)).encode(), JSON)
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
    records = [
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
    found = kept(quiet, *records)
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
    again = kept(quiet, *records)
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
    same = log(DETAILS, attributes={"gen_ai.response.id": "a"}, body="said", timeUnixNano=str(AT))
    found = kept(quiet, same)
    assert found[0] == found[1] == found[2]


def test_other_logs_are_taken_and_not_kept(quiet: Gateway) -> None:
    """An app's own, whatever they lack."""
    others = [log("app.started"), log("", body="GET /"), log("app.started", spanId="", timeUnixNano="0")]
    assert kept(quiet, *others) == []
    assert send(quiet, b"", PROTOBUF).status_code == 200


@pytest.mark.parametrize("kind", ["json", "protobuf"])
def test_what_cannot_be_kept_is_said(quiet: Gateway, kind: str) -> None:
    """Messages of no span or no time, and what is no log record; the others are kept."""
    wrong: list[dict[str, Any]] = [
        log(DETAILS, spanId=""),
        log(DETAILS, traceId="00" * 16),
        log(DETAILS, timeUnixNano="0"),
        log(DETAILS, timeUnixNano=str(AT + 10**16)),
    ]
    odd: list[Any] = [log(DETAILS, traceId="xy"), log(DETAILS) | {"attributes": 5}, 5]
    good = log("gen_ai.choice", body={"message": {"content": "yes"}})
    if kind == "json":
        answer = send(quiet, json.dumps(logs(good, *wrong, *odd)).encode(), JSON)
        success = answer.json()["partialSuccess"]
        count, why = int(success["rejectedLogRecords"]) - len(odd), success["errorMessage"]
    else:
        answer = send(quiet, as_protobuf(good, *wrong), PROTOBUF)
        success = ExportLogsServiceResponse.FromString(answer.content).partial_success
        count, why = success.rejected_log_records, success.error_message
    assert (answer.status_code, count) == (200, len(wrong))
    for part in ("8 bytes", "16 bytes", "before 2010", "an hour ahead"):
        assert part in why
    assert [each["name"] for each in quiet.spans()] == ["gen_ai.choice"]


def test_only_so_many_are_kept_of_a_request(quiet: Gateway) -> None:
    """The others are rejected, with the reason."""
    one = log("gen_ai.user.message", body="hi")
    content = as_protobuf(*(one | {"spanId": span_id(n)} for n in range(1, SPANS_MAX + 3)))
    success = ExportLogsServiceResponse.FromString(send(quiet, content, PROTOBUF).content).partial_success
    assert (success.rejected_log_records, str(SPANS_MAX) in success.error_message) == (2, True)
    assert len(quiet.spans()) == SPANS_MAX


def test_what_was_said_goes_with_it(quiet: Gateway) -> None:
    """As OpenAI's chat has it, whole, in whichever names it was written; roles alone say nothing."""
    long = "x" * 100_000
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parts = [{"type": "text", "content": long}]
    found = kept(
        quiet,
        log("gen_ai.user.message", body={"content": long}),
        log("gen_ai.assistant.message", body={"tool_calls": [call]}),
        log("gen_ai.tool.message", body={"id": "c1", "content": "sunny"}),
        log("gen_ai.choice", body={"index": 1, "finish_reason": "stop", "message": {"content": "so"}}),
        log("gen_ai.choice", body={"index": 0, "message": {"role": "assistant"}}),
        log("gen_ai.user.message"),
        log(
            f"event.{DETAILS}",
            attributes={
                "gen_ai.system_instructions": [{"type": "text", "content": "be kind"}],
                "gen_ai.input.messages": json.dumps([{"role": "user", "parts": parts}]),
                "gen_ai.output.messages": [{"role": "assistant", "parts": parts, "finish_reason": "length"}],
                "gen_ai.tool.definitions": [{"type": "function", "name": "f"}],
            },
        ),
        log("gen_ai.content.prompt", attributes={"gen_ai.prompt": "old"}),
    )
    said: list[dict[str, Any]] = [each.get("said", {}) for each in found]
    assert {each["said_in"] for each in said if each} == {span_id(1)}
    assert [each.get("place", 0) for each in said if each] == [0, 1, 2, 3, 6, 7]
    asked = [each["request"]["messages"] for each in said if each and "request" in each]
    assert asked[:3] == [
        [{"role": "user", "content": long}],
        [{"role": "assistant", "tool_calls": [call]}],
        [{"role": "tool", "tool_call_id": "c1", "content": "sunny"}],
    ]
    assert [each["role"] for each in asked[3]] == ["system", "user"]
    assert asked[4] == [{"role": "user", "content": "old"}]
    answer = {"index": 1, "message": {"role": "assistant", "content": "so"}, "finish_reason": "stop"}
    assert said[3]["response"] == {"choices": [answer]}
    whole = said[6]
    assert (whole["whole"], whole["request"]["tools"][0]["function"]) == (True, {"name": "f"})
    assert whole["response"]["choices"][0]["finish_reason"] == "length"


def test_a_span_that_says_nothing_awaits_its_messages(quiet: Gateway) -> None:
    """One of a chat, that is, in OpenTelemetry's words; OpenInference has no such log records."""
    asked = {"gen_ai.input.messages": SAID}
    content = {"traces": [llm(1), llm(2, attributes=asked), span(3)]}
    with quiet.client() as client:
        client.post("/v1/traces", json=request(*content["traces"]))
    assert [each.get("awaits", False) for each in quiet.spans()] == [True, False, False]


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
    """With a status in the sender's encoding, as traces are."""
    assert refused(send(gateway, content, headers), headers)[0] == status


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
        assert len(json.dumps(long | {"said": None})) < VALUE_CHARS_MAX
        assert long["said"]["response"]["choices"][0]["message"]["content"] == "[EMAIL] " * 10_000
        assert long["said"]["policy"][0]["kind"] == "email"
        assert mail.encode() not in gateway.journal_bytes()
    with Gateway(own_root / "b", deployment(provider.url), bodies=False) as gateway:
        assert kept(gateway, log(DETAILS, attributes={"gen_ai.input.messages": SAID})) == []
        assert b"be kind" not in gateway.journal_bytes()
