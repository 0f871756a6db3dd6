"""OTLP from whoever wants to do harm: no 5xx, no trace of ours, bounded time, and nothing half kept."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.ports import RecordFilter
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.joining import read_span
from airboss.store.rows import span_row
from airboss.telemetry.otlp_bounds import ENTRIES_MAX, OBJECTS_MAX
from airboss.testing import FakeProvider
from tests.store.spans import span_move
from tests.support.gateway import Gateway, deployment
from tests.support.otlp import (
    JSON,
    PROTOBUF,
    TRACE,
    as_protobuf,
    llm,
    log,
    logs,
    pairs,
    refused,
    request,
    span,
    span_id,
)

SECONDS_MAX = 20.0
"""On a busy machine; what is not refused takes some tenths."""
HUGE = 10**30
DEEP: Any = "bottom"
for _ in range(300):
    DEEP = {"arrayValue": {"values": [DEEP if isinstance(DEEP, dict) else {"stringValue": DEEP}]}}
SMILE = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}


@pytest.fixture
def quiet(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own."""
    with Gateway(own_root, deployment(provider.url)) as running:
        yield running


def send(
    gateway: Gateway, content: bytes, headers: dict[str, str], path: str = "/v1/traces"
) -> httpx2.Response:
    """Post a body as it is; the answer is none of a defect, and comes soon."""
    began = time.monotonic()
    with gateway.client() as client:
        answer = client.post(path, content=content, headers=headers)
    assert time.monotonic() - began < SECONDS_MAX
    assert answer.status_code < 500, answer.text
    assert b"Traceback" not in answer.content
    return answer


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, in protobuf."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number, in protobuf."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def test_cut_off_anywhere(quiet: Gateway) -> None:
    """A request in protobuf is refused, or is what has come of it whole; nothing of a refused one is kept."""
    whole = as_protobuf(request(llm(1), span(2)))
    for end in range(0, len(whole), 7):
        held = len(quiet.spans())
        answer = send(quiet, whole[:end], PROTOBUF)
        if answer.status_code == 400:
            assert refused(answer, PROTOBUF)[1] == 3
            assert len(quiet.spans()) == held
        else:
            assert answer.status_code == 200


ODD: list[dict[str, Any]] = [
    {"droppedAttributesCount": HUGE},
    {"droppedAttributesCount": -HUGE},
    {"flags": HUGE},
    {"kind": HUGE},
    {"kind": "SPAN_KIND_WHATEVER"},
    {"status": {"code": HUGE, "message": "x" * 100_000}},
    {"status": {"code": -1}},
    {"startTimeUnixNano": "0"},
    {"startTimeUnixNano": "-1"},
    {"startTimeUnixNano": -(2**70)},
    {"startTimeUnixNano": "9" * 5_000},
    {"startTimeUnixNano": "1e9"},
    {"startTimeUnixNano": str(2**64 - 1), "endTimeUnixNano": str(2**64 - 1)},
    {"endTimeUnixNano": "1300000000000000000"},
    {"traceId": "0" * 32},
    {"traceId": "zz" * 16},
    {"traceId": "ab" * 15},
    {"spanId": "0" * 16},
    {"spanId": "é" * 16},
    {"parentSpanId": "ab"},
    {"parentSpanId": span_id(1)},
    {"attributes": [{"key": "n", "value": {"intValue": "9" * 400}}]},
    {"attributes": [{"key": "n", "value": {"intValue": HUGE}}]},
    {"attributes": [{"key": "n", "value": {"doubleValue": "nope"}}]},
    {"attributes": [{"key": "n", "value": {"doubleValue": "NaN"}}]},
    {"attributes": [{"key": "n", "value": DEEP}]},
    {"attributes": [{"key": "n" * 100_000, "value": {}}, {"value": {"stringValue": "\0\x7f\u2028"}}, {}]},
    {"attributes": pairs({f"k{n}": n for n in range(100_000)})},
    {"events": [{"timeUnixNano": "9" * 400, "name": "e"}]},
    {"events": [{"timeUnixNano": str(2**64 - 1), "name": "e" * 10_000, "attributes": [{}] * 2_000}]},
    {"events": [{}] * 100_000, "links": [{}] * 100_000},
    {"name": "\0" * 100_000},
]


def test_one_odd_span_harms_no_other(quiet: Gateway) -> None:
    """It is kept as far as it makes sense, or rejected alone; the one beside it is kept."""
    held = 0
    for number, odd in enumerate(ODD):
        said = request(span(1, attributes=SMILE) | odd, span(1000 + number))
        answer = send(quiet, json.dumps(said).encode(), JSON)
        assert answer.status_code == 200, number
        rejected = int(answer.json().get("partialSuccess", {}).get("rejectedSpans", 0))
        kept = quiet.spans()[held:]
        assert len(kept) == 2 - rejected, number
        assert kept[-1]["span_id"] == span_id(1000 + number)
        held += len(kept)


TEXTS = [
    json.dumps([{"role": HUGE, "parts": [{"type": HUGE, "content": HUGE}]}]),
    json.dumps([{"role": "user", "parts": "x"}, 5, None, [], {"parts": [None, 5, {"type": "tool_call"}]}]),
    json.dumps({"a": HUGE, "b": -HUGE}),
    '{"a":1e999}',
    "[" * 50_000,
    '["\\ud800"]',
    "\0",
    "NaN",
]


def test_what_is_read_once_more_may_be_anything(quiet: Gateway) -> None:
    """Attributes that are JSON, or should be: in every one that is read, at once and each alone."""
    for text in TEXTS:
        everywhere(quiet, text)


def everywhere(quiet: Gateway, text: str) -> None:
    """Send this text in whatever is read."""
    names = [
        *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"),
        *("gen_ai.tool.definitions", "gen_ai.response.finish_reasons", "gen_ai.response.id", "metadata"),
        *("llm.invocation_parameters", "llm.tools.0.tool.json_schema", "input.value", "output.value"),
        *("gen_ai.prompt.0.content", "gen_ai.completion.0.content", "llm.input_messages.0.message.content"),
        *("gen_ai.usage.input_tokens", "gen_ai.usage.cost", "gen_ai.response.time_to_first_chunk"),
        *("server.address", "server.port", "user.id", "error.type", "gen_ai.request.stream"),
    ]
    spans = [llm(1, attributes=dict.fromkeys(names, text))]
    spans += [span(2 + at, attributes={**SMILE, name: text}) for at, name in enumerate(names)]
    answer = send(quiet, json.dumps(request(*spans)).encode(), JSON)
    assert (answer.status_code, answer.json()) == (200, {})
    records = [
        log("gen_ai.client.inference.operation.details", attributes=dict.fromkeys(names, text)),
        *(log(name, body=text) for name in ("gen_ai.choice", "gen_ai.user.message", "gen_ai.tool.message")),
        log("gen_ai.choice", body={"message": text, "index": -HUGE % 2**62, "tool_calls": text}),
        log("gen_ai.assistant.message", body={"tool_calls": [text, {"function": text}], "role": text}),
    ]
    answer = send(quiet, json.dumps(logs(*records)).encode(), JSON, "/v1/logs")
    assert (answer.status_code, answer.json()) == (200, {})


def test_all_of_it_can_be_stored(quiet: Gateway, tmp_path: Path) -> None:
    """Parents in circles, spans that are their own, odd messages: the store takes and settles them."""
    circle = [llm(1, 2), llm(2, 3), llm(3, 1), llm(4, 4), span(5, 4, attributes=SMILE)]
    assert send(quiet, json.dumps(request(*circle)).encode(), JSON).json() == {}
    said = [log("gen_ai.choice", 5, body={"message": each, "index": 1}) for each in TEXTS]
    assert send(quiet, json.dumps(logs(*said)).encode(), JSON, "/v1/logs").json() == {}
    spans = [read_span(json.dumps(each).encode()) for each in quiet.spans()]
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(span_move(*spans))
    last = max(each.started_at for each in spans) + timedelta(days=25_000)
    while record_log.settle_calls(last, limit=3):
        pass
    assert 1 <= len(record_log.records(RecordFilter(), limit=10, bodies=True)) <= 5
    assert len(record_log.trace(TRACE)) == len(spans)
    record_log.close()


@pytest.mark.parametrize("character", ["u", '"', "\x01", "\u2028"])
def test_a_row_has_room_for_what_is_longer_as_it_is_kept(quiet: Gateway, character: str) -> None:
    """Names as long as they may be, and texts whose characters take several each: all is cut to what fits."""
    long = character * 16_384
    names = ("user.id", "session.id", "a", "b", "c", "d", "langfuse.trace.metadata.k")
    message = {"code": 2, "message": long}
    odd = span(1, attributes=SMILE | dict.fromkeys(names, long), name=long, status=message)
    before = len(quiet.spans())
    assert send(quiet, json.dumps(request(odd)).encode(), JSON).json() == {}
    (kept,) = [read_span(json.dumps(each).encode()) for each in quiet.spans()[before:]]
    assert len(kept.user or "") >= len(long) - 2, "quotes around a name are not of it"
    assert span_row(kept)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_small_requests_that_would_be_large(quiet: Gateway, path: str) -> None:
    """Bombs, and millions of nothings in a few bytes each, are refused before they are read."""
    nothing = b"\x0a\x00" * (ENTRIES_MAX + 1)
    inner = field(1, field(2, b"\x12\x00" * (ENTRIES_MAX + 1)))
    objects = b'{"resourceSpans":[%s{}]}' % (b"{}," * OBJECTS_MAX)
    packed = {"content-encoding": "gzip"}
    for content, headers in (
        (gzip.compress(b"\0" * (64 * 1024 * 1024)), PROTOBUF | packed),
        (gzip.compress(b"\x0a\x00" * (8 * 1024 * 1024 - 1)), PROTOBUF | packed),
        (nothing, PROTOBUF),
        (inner, PROTOBUF),
        (objects, JSON),
        (gzip.compress(objects), JSON | packed),
    ):
        assert refused(send(quiet, content, headers, path), headers)[0] == 413
    hidden = b"\x1b\x1c" + nothing  # behind a group, which a reader passes over
    assert refused(send(quiet, hidden, PROTOBUF, path), PROTOBUF)[0] == 400
    assert quiet.spans() == []


NONE: list[bytes] = [
    b"\xff" * 100,
    b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    b"\x0b" * 10_000,
    field(1, field(2, field(2, field(5, b"\xff\xfe not UTF-8")))),
    field(1, field(2, field(2, field(9, b"")))),
    b"{}",
    b"null",
]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_what_is_no_protobuf(quiet: Gateway, path: str) -> None:
    """Refused, with a status in protobuf, or read as far as it says anything: nothing is kept."""
    for content in NONE:
        answer = send(quiet, content, PROTOBUF, path)
        assert answer.status_code in {200, 400}
        if answer.status_code == 400:
            assert refused(answer, PROTOBUF)[1] == 3
    assert quiet.spans() == []


def test_nested_as_deep_as_bytes_go(quiet: Gateway) -> None:
    """A value in a value, ten thousand times: protobuf itself refuses that, and fifty are cut."""
    for depth, status in ((10_000, 400), (20, 200)):
        value = field(1, b"bottom")
        for _ in range(depth):
            value = field(5, field(1, value))
        attribute = field(9, field(1, b"deep") + field(2, value))
        ids = field(1, b"\x01" * 16) + field(2, b"\x01" * 8)
        now = (time.time_ns() - 10**9).to_bytes(8, "little")
        one = ids + b"\x39" + now + b"\x41" + now + attribute
        assert send(quiet, field(1, field(2, field(2, one))), PROTOBUF).status_code == status
    (kept,) = quiet.spans()
    assert "bottom" not in json.dumps(kept)


def test_other_content_types(quiet: Gateway) -> None:
    """415 for what is neither; a parameter changes nothing."""
    for kind in ("text/plain", "application/grpc", "application/json; charset=\xff", "", "a" * 900):
        with quiet.client() as client:
            headers = {b"content-type": kind.encode("latin-1")}
            answer = client.post("/v1/traces", content=b"{}", headers=headers)
        assert answer.status_code == (200 if kind.startswith("application/json") else 415)
