"""What spans say of model calls: requests recorded from the instrumentations themselves, and what is odd."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from airboss.telemetry.genai_kinds import kind_of
from airboss.telemetry.genai_spans import ModelCall, call_of, session_of, tags_of, user_of
from airboss.telemetry.otlp_read import RawSpan, read_json, read_protobuf
from airboss.telemetry.otlp_read_logs import logs_of_json
from tests.support.otlp import as_protobuf, log, logs, request, span

DATA = Path(__file__).parent / "data"
ANSWER = "The air boss launches, watches and recovers every aircraft on the deck of the carrier."
ASKED = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hello there, write to bob@example.org"},
]


def recorded(name: str) -> tuple[list[RawSpan], list[ModelCall]]:
    """The spans of a request that an instrumentation sent, and the calls they tell of."""
    reading = read_protobuf((DATA / f"{name}.bin").read_bytes(), time.time_ns())
    assert reading.rejected == {}
    kinds = [(each, kind_of(each.attributes)) for each in reading.spans]
    return reading.spans, [call_of(each, kind) for each, kind in kinds if kind in {"llm", "embedding"}]


def read(attributes: dict[str, Any], **fields: Any) -> RawSpan:
    """One span with these attributes, as it is read from JSON and from protobuf alike."""
    said = request(span(1, attributes=attributes, **fields))
    (found,) = read_json(json.dumps(said).encode(), time.time_ns()).spans
    if not fields:
        assert read_protobuf(as_protobuf(said), time.time_ns()).spans == [found]
    return found


def call(attributes: dict[str, Any], **fields: Any) -> ModelCall:
    """What one span tells of a model call."""
    raw = read(attributes, **fields)
    kind = kind_of(raw.attributes)
    assert kind in {"llm", "embedding"}, kind
    return call_of(raw, kind)


NAMES = [
    "openinference-0.1",
    "openllmetry-0.40",
    "openllmetry-0.62",
    "opentelemetry-1.36",
    "opentelemetry-latest",
]


@pytest.mark.parametrize("name", NAMES)
def test_recorded_calls_are_read(name: str) -> None:
    """Every instrumentation gives the same calls: models, tokens, content, the person and the session."""
    spans, calls = recorded(name)
    first, streamed, tools = calls[:3]
    assert {each.provider for each in calls} == {"openai"}
    assert first.models == ("gpt-4o",)
    assert (first.input_tokens, first.output_tokens, first.finish_reason) == (7, 15, "stop")
    assert (first.operation, first.error_type) == ("chat", None)
    assert [each.operation for each in calls].count("embeddings") == 1
    embedded = next(each for each in calls if each.operation == "embeddings")
    assert (embedded.input_tokens, embedded.models) == (2, ("gpt-4o",))
    agent = next(each for each in spans if each.name == "agent")
    assert (user_of(agent.attributes), session_of(agent.attributes)) == ("ann", "s-1")
    assert kind_of(next(each for each in spans if "weather" in each.name).attributes) == "tool"
    if name == "opentelemetry-1.36":  # it writes content to logs only
        assert first.request is None
        return
    asked = json.loads(first.request or b"")
    assert (asked["messages"], asked["temperature"], asked["max_tokens"]) == (ASKED, 0.5, 20)
    for each in (first, streamed):
        said = json.loads(each.response or b"")
        assert said["choices"][0]["message"]["content"] == ANSWER
        assert said["choices"][0]["finish_reason"] == "stop"
    if name in {"openinference-0.1", "openllmetry-0.62"}:
        offered = json.loads(tools.request or b"")["tools"]
        assert offered[0]["function"]["name"] == "get_weather"
    if name != "opentelemetry-latest":
        assert streamed.stream
        assert streamed.ttft_ms is not None


@pytest.mark.parametrize("name", ["openinference-0.1", "openllmetry-0.62"])
def test_recorded_errors_are_read(name: str) -> None:
    """A call that failed has its error's type."""
    failed = [each for each in recorded(name)[1] if each.error_type is not None]
    assert [each.error_type.rpartition(".")[2] for each in failed if each.error_type] == ["NotFoundError"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\uDE00 first", "\ufffd first"),
        (r"\ud83d\ud83d\ude00\udc00", "\ufffd\U0001f600\ufffd"),
        (r"\\ud83d is text, \\\ud83d is not", "\\ud83d is text, \\\ufffd is not"),
    ],
)
def test_half_of_a_character_costs_no_span(said: str, kept: str) -> None:
    """JavaScript cuts long texts between the two: what is left is replaced, in a name of the service too."""
    text = json.dumps(
        request(span(1, attributes=TODAY | {"gen_ai.prompt.0.content": "SAID"}), service="SAID")
    )
    (found,) = read_json(text.replace("SAID", said).encode(), time.time_ns()).spans
    assert found.attributes["gen_ai.prompt.0.content"] == found.resource["service.name"] == kept
    record = json.dumps(logs(log("gen_ai.user.message", attributes={"content": "SAID"})))
    (told,) = logs_of_json(record.replace("SAID", said).encode(), time.time_ns()).logs
    assert told.attributes["content"] == kept


NULLS: dict[str, dict[str, Any]] = {
    "span": dict.fromkeys(
        ["parentSpanId", "kind", "attributes", "events", "status", "flags", "droppedAttributesCount", "links"]
    ),
    "events": {"events": [{"timeUnixNano": None, "name": None, "attributes": None}]},
    "status": {"status": {"code": None, "message": None}},
    "values": {
        "attributes": [
            {"key": "a", "value": {"stringValue": None}},
            {"key": None, "value": None},
            {"key": "b", "value": {"arrayValue": {"values": None}}},
            {"key": "c", "value": {"kvlistValue": {"values": None}}},
        ]
    },
}


def without_nulls(value: Any) -> Any:
    """A JSON value without members that are null."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("where", NULLS)
def test_null_is_as_if_it_were_not_there(where: str) -> None:
    """As protobuf in JSON has it, which some exporters write for what is empty."""
    span = {
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": "00f067aa0ba902b7",
        "name": None,
        "startTimeUnixNano": "1795900000000000000",
        "endTimeUnixNano": "1795900001000000000",
    }
    scopes = [{"scope": {"name": None}, "spans": [span | NULLS[where]]}, {"scope": None, "spans": None}]
    said = {
        "resourceSpans": [
            {"resource": {"attributes": None}, "scopeSpans": scopes},
            {"resource": None, "scopeSpans": None},
        ]
    }
    found = [read_json(json.dumps(each).encode(), time.time_ns()) for each in (said, without_nulls(said))]
    assert found[0] == found[1]
    assert len(found[0].spans) == 1
    assert read_json(b'{"resourceSpans": null}', time.time_ns()).spans == []


def test_an_error_without_a_name_is_none() -> None:
    """Some write the attribute empty where nothing failed; where something did, it has a name."""
    assert call(TODAY | {"error.type": ""}).error_type is None
    assert call(TODAY | {"error.type": ""}, status={"code": 2}).error_type == "error"
    assert call(TODAY | {"error.type": "timeout"}).error_type == "timeout"


TODAY = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude",
}


def test_todays_messages_are_chat() -> None:
    """Parts of every kind: text, reasoning, calls of tools and their results, media."""
    messages = [
        {"role": "user", "parts": [{"type": "text", "content": "a"}, {"type": "uri", "uri": "x"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"x": 1}},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"y": 2}}]},
    ]
    answer = [{"role": "assistant", "parts": [{"type": "text", "content": "b"}], "finish_reason": "stop"}]
    given = TODAY | {
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "s"}]),
        "gen_ai.output.messages": json.dumps(answer),
        "gen_ai.response.id": "r1",
    }
    function = {"name": "f", "arguments": '{"x":1}'}
    wanted = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a\n[uri]"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"y":2}'},
    ]
    for written in (json.dumps(messages), messages):  # as text, or structured
        found = call(given | {"gen_ai.input.messages": written})
        assert json.loads(found.request or b"")["messages"] == wanted
        said = json.loads(found.response or b"")
        assert (said["id"], said["choices"][0]["message"]["content"]) == ("r1", "b")
        assert found.finish_reason == "stop"


def test_events_of_before_are_chat() -> None:
    """Messages and choices that were events of the span."""

    def event(name: str, **attributes: Any) -> dict[str, Any]:
        said = span(1, attributes=attributes)["attributes"]
        return {"timeUnixNano": "0", "name": name, "attributes": said}

    found = call(
        TODAY,
        events=[
            event("gen_ai.system.message", content="s"),
            event("gen_ai.user.message", content="a"),
            event("gen_ai.choice", index=0, finish_reason="stop", message='{"content":"b"}'),
        ],
    )
    asked = json.loads(found.request or b"")["messages"]
    assert asked == [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    assert json.loads(found.response or b"")["choices"][0]["message"]["content"] == "b"
    older = call(
        TODAY,
        events=[
            event("gen_ai.content.prompt", **{"gen_ai.prompt": '[{"role":"user","content":"a"}]'}),
            event("gen_ai.content.completion", **{"gen_ai.completion": '[{"content":"b"}]'}),
        ],
    )
    assert json.loads(older.request or b"")["messages"] == [{"role": "user", "content": "a"}]


def test_numbered_tool_calls_and_parts_are_read() -> None:
    """OpenInference's contents and calls of tools, and OpenLLMetry's."""
    inference = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.contents.0.message_content.type": "text",
        "llm.input_messages.0.message.contents.0.message_content.text": "a",
        "llm.input_messages.0.message.contents.1.message_content.type": "image",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
        "llm.token_count.prompt": 5,
        "llm.token_count.prompt_details.cache_read": 3,
        "llm.cost.total": 0.25,
        "metadata": '{"team":"a","n":1}',
    }
    found = call(inference)
    assert json.loads(found.request or b"")["messages"] == [{"role": "user", "content": "a\n[media]"}]
    made = json.loads(found.response or b"")["choices"][0]["message"]["tool_calls"][0]
    assert made == {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert (found.input_tokens, found.cached_input_tokens, found.cost_usd) == (5, 3, 0.25)
    assert tags_of(read(inference).attributes) == {"team": "a", "n": "1"}
    traceloop = {
        "llm.request.type": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": '[{"type":"text","text":"a"}]',
        "gen_ai.completion.0.tool_calls.0.name": "f",
        "gen_ai.completion.0.tool_calls.0.arguments": "{}",
        "traceloop.association.properties.user_id": "u",
        "traceloop.association.properties.session_id": "s",
        "traceloop.association.properties.plan": "pro",
    }
    found = call(traceloop)
    assert json.loads(found.request or b"")["messages"][0]["content"] == "a"
    attributes = read(traceloop).attributes
    assert (user_of(attributes), session_of(attributes), tags_of(attributes)["plan"]) == ("u", "s", "pro")


def test_answers_written_whole_are_kept_so() -> None:
    """OpenInference writes the provider's own answer: of Responses with why it ended in chat's words, of
    completions with their operation."""
    call_ = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    asked = {"model": "m", "input": "hi", "instructions": "be kind"}
    for output, more, finish in (
        ([{"type": "message"}], {"status": "completed"}, "stop"),
        ([{"type": "message"}, call_], {"status": "completed"}, "tool_calls"),
        ([], {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ([], {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        (7, {"status": "failed", "incomplete_details": 7}, None),
    ):
        whole = {"id": "resp_1", "object": "response", "output": output, **more}
        given = {
            "openinference.span.kind": "LLM",
            "input.value": json.dumps(asked),
            "output.value": json.dumps(whole),
        }
        found = call(given | {"llm.output_messages.0.message.content": "hello"})
        assert json.loads(found.request or b"") == asked
        assert json.loads(found.response or b"") == whole
        assert (found.models, found.answer_id, found.finish_reason) == (("m",), "resp_1", finish)
        assert (found.operation, found.output_chars) == ("chat", 5)
    text = {"id": "cmpl-1", "object": "text_completion", "choices": [{"text": "so"}]}
    given = {"input.value": '{"model":"m","prompt":"x"}', "output.value": json.dumps(text)}
    found = call({"openinference.span.kind": "LLM"} | given)
    assert (found.operation, found.answer_id) == ("text_completion", "cmpl-1")
    assert json.loads(found.response or b"") == text


def test_cached_tokens_are_in_the_input_once() -> None:
    """Who leaves the cache out of the input, as Anthropic's own count does, is seen by its being larger."""
    one = call(TODAY | {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 90})
    assert (one.input_tokens, one.cached_input_tokens) == (100, 90)
    other = call(TODAY | {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read_input_tokens": 90})
    assert (other.input_tokens, other.cached_input_tokens) == (100, 90)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        (
            {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m", "gen_ai.system": "x"},
            "agent",
        ),
        (
            {"gen_ai.operation.name": "something_new", "gen_ai.request.model": "m", "gen_ai.system": "x"},
            "other",
        ),
        ({"gen_ai.request.model": "m", "gen_ai.system": "x"}, "llm"),
        ({"openinference.span.kind": "AGENT"}, "agent"),
        ({"openinference.span.kind": "PROMPT"}, "other"),
        ({"openinference.span.kind": ["LLM"]}, "other"),
        ({"traceloop.span.kind": "workflow"}, "chain"),
        ({"http.request.method": "POST"}, "other"),
        ({}, "other"),
    ],
)
def test_kinds(attributes: dict[str, Any], kind: str) -> None:
    """A span is a model call only where it says so."""
    assert kind_of(read(attributes).attributes) == kind


@pytest.mark.parametrize(
    ("said", "stream"),
    [(True, True), (1, True), ("True", True), (False, False), (0, False), ("false", False), ("", False)],
)
def test_a_stream_is_one_that_is_said_to_be(said: Any, stream: bool) -> None:
    """Yes and no are read as text, too: the word for no is no yes."""
    assert call(TODAY | {"gen_ai.request.stream": said}).stream is stream


@pytest.mark.parametrize("wrong", [True, -1, 2**60, "7", "x", 1.5, [1], {"a": 1}])
def test_counts_that_are_none_are_unknown(wrong: Any) -> None:
    """Nothing is taken for a number of tokens that is none; and nothing fails."""
    names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cost")
    found = call(TODAY | dict.fromkeys(names, wrong))
    assert (found.input_tokens, found.output_tokens) == (None, None)


@pytest.mark.parametrize(
    "odd", ["{", "[]", "[1,[2]]", '[{"parts":5}]', '[{"parts":[1,{"type":[]}]}]', 5, [[]], True]
)
def test_odd_content_is_harmless(odd: Any) -> None:
    """Messages of any shape give a call, with whatever can be read of them."""
    names = (
        *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"),
        *("gen_ai.tool.definitions", "gen_ai.response.finish_reasons", "llm.invocation_parameters"),
        *(
            "input.value",
            "output.value",
            "metadata",
            "gen_ai.prompt.0.content",
            "llm.input_messages.0.message.role",
        ),
        *("user.id", "session.id", "gen_ai.response.id", "error.type", "server.address"),
    )
    found = call(TODAY | dict.fromkeys(names, odd))
    assert found.models[0] == "claude"
    assert tags_of({"metadata": odd}) in ({}, {"metadata": odd})
