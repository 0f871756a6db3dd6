"""What calls that are sent on by OTLP say: in every dialect, of every try, and by bounded names."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from airboss.domain.ports import JournalMove
from airboss.domain.record import Attempt
from airboss.governance.redact import Redactor
from airboss.telemetry import otlp_write
from tests.controller.test_otlp_export import backend, exporter, follow, log_of, settings
from tests.store.samples import record, record_json
from tests.support.otlp_backend import Backend, attributes

__all__ = ["backend"]

MESSAGES = {
    "request": {
        "model": "m",
        "max_tokens": 9,
        "system": "be brief",
        "messages": [{"role": "user", "content": "a"}],
    },
    "response": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "b"}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
}
RESPONSES = {
    "request": {"model": "m", "input": "a", "instructions": "be brief", "max_output_tokens": 9},
    "response": {
        "id": "resp_1",
        "object": "response",
        "model": "claude",
        "status": "completed",
        "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]}
        ],
    },
}


@pytest.mark.parametrize("spoken", [MESSAGES, RESPONSES], ids=["messages", "responses"])
def test_what_was_said_in_other_dialects_is_sent_alike(backend: Backend, spoken: dict[str, Any]) -> None:
    """What was asked and what was answered, as chat has it, and its parameters."""
    bodies = {name: msgspec.Raw(msgspec.json.encode(body)) for name, body in spoken.items()}
    follow(exporter(log_of(1, **bodies), settings(backend.url, content=True)))
    said = attributes(backend.spans[0])
    asked = [
        (each["role"], each["parts"][0]["content"]) for each in json.loads(said["gen_ai.input.messages"])
    ]
    assert [each for each in asked if each[0] == "user"] == [("user", "a")]
    assert ("be brief" in [text for _, text in asked]) is True
    (given,) = json.loads(said["gen_ai.output.messages"])
    assert (given["parts"][0]["content"], given["finish_reason"]) == ("b", "stop")
    assert said["gen_ai.request.max_tokens"] == 9
    assert said["gen_ai.response.model"] == "claude"


def test_what_was_asked_for_is_sent_with_content(backend: Backend) -> None:
    """Parameters and the answer's id by the conventions' names; of odd values nothing, and no call is held up
    by one."""
    request = {
        "messages": [],
        "temperature": 1,
        "top_p": 0.5,
        "seed": 7,
        "n": 2,
        "max_completion_tokens": 9,
        "stop": "x",
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
    }
    odd = {"messages": [], "temperature": "hot", "seed": 2**70, "n": True, "stop": [1], "response_format": 5}
    answer = {"id": "chatcmpl-1", "model": "gpt-4o-mini-2024", "choices": []}
    log = log_of(
        1,
        **{
            name: msgspec.Raw(json.dumps(body).encode())
            for name, body in (("request", request), ("response", answer))
        },
    )
    more = record_json(2, request=msgspec.Raw(json.dumps(odd).encode()), response=msgspec.Raw(b'{"id":5}'))
    log.apply(JournalMove(segment="w/2", start=0, end=1, records=(more,)))
    follow(exporter(log, settings(backend.url, content=True, latest=True)))
    said, none = map(attributes, backend.spans)
    wanted = {
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stop_sequences": ["x"],
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.output.type": "json",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-mini-2024",
    }
    assert {name: said.get(name) for name in wanted} == wanted
    assert not set(wanted) & set(none)


def test_each_try_of_several_is_a_span_below_its_call(backend: Backend) -> None:
    """With why, where and how it ended, and always the same ids; it is no call to whoever counts those. A
    cached answer says so, and one that came whole has no first chunk."""
    tries = (
        Attempt(
            provider="openai",
            model="big",
            url="https://a.example/v1",
            start_ms=1.0,
            latency_ms=30.0,
            status_code=500,
            error_type="upstream_error",
        ),
        Attempt(
            provider="local",
            model="small",
            url="http://b.example:81/v1",
            start_ms=40.0,
            latency_ms=50.0,
            status_code=200,
            why="fallback",
        ),
    )
    log = log_of(1, attempts=tries, stream=False)
    cached = record_json(2, attempts=(), cache="hit")
    log.apply(JournalMove(segment="w/2", start=0, end=1, records=(cached,)))
    export = exporter(log, settings(backend.url))
    follow(export)
    call, first, second, other = backend.spans
    assert "gen_ai.response.time_to_first_chunk" not in attributes(call)
    assert backend.metrics["gen_ai.client.operation.time_to_first_chunk"].histogram.data_points[0].count == 1
    assert attributes(other)["airboss.cache"] == "hit"
    assert {each.parent_span_id for each in (first, second)} == {call.span_id}
    assert len({each.span_id for each in backend.spans}) == 4
    assert first.trace_id == second.trace_id == call.trace_id
    assert second.start_time_unix_nano - call.start_time_unix_nano == 40_000_000
    assert attributes(first) == {
        "airboss.attempt.number": 1,
        "airboss.attempt.why": "first",
        "airboss.attempt.model": "big",
        "airboss.attempt.provider": "openai",
        "http.response.status_code": 500,
        "server.address": "a.example",
        "error.type": "upstream_error",
    }
    assert [each.status.code for each in (first, second)] == [2, 0]
    assert export.sent == 2, "calls are counted"


def test_an_address_that_cannot_be_read_holds_nothing_up(backend: Backend) -> None:
    """A host that is called like its key is redacted, and brackets are an IPv6 address's: the call is sent
    without it, and so are those behind it."""
    url = Redactor(["lm-studio"]).redact_text("http://lm-studio:1234/v1")
    tries = tuple(
        Attempt(provider="local", model="small", url=each, start_ms=0.0, latency_ms=1.0)
        for each in ("http://b.example:99999/v1", url)
    )
    log = log_of(1, attempts=tries)
    log.apply(JournalMove(segment="w/2", start=0, end=1, records=(record_json(2),)))
    follow(exporter(log, settings(backend.url)))
    call, *parts, last = backend.spans
    assert len(parts) == 2
    for each in (call, *parts):
        assert not {"server.address", "server.port"} & set(attributes(each))
    assert last.trace_id != call.trace_id


@pytest.mark.parametrize("latest", [False, True])
def test_labels_are_bounded_and_those_known_stay(latest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past so many sets of labels others are counted together; those that are known go on by themselves."""
    monkeypatch.setattr(otlp_write, "SERIES_MAX", 3)
    totals = otlp_write.Totals(latest=latest, started_ns=0)
    for number in (1, 2, 3, 4, 5, 1):
        totals.add(record(number, model=f"m{number}"))
    said = ExportMetricsServiceRequest.FromString(totals.request(1, {}))
    metrics = {each.name: each for each in said.resource_metrics[0].scope_metrics[0].metrics}
    name = "gen_ai.client.inference.duration" if latest else "gen_ai.client.operation.duration"
    counts = {
        attributes(each)["gen_ai.request.model"]: each.count for each in metrics[name].histogram.data_points
    }
    assert counts == {"m1": 2, "m2": 1, "m3": 1, "_OTHER": 2}
