"""Answers of other dialects, read: what holds for all of them, however they come and whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import ApiError, UpstreamRefused
from airboss.domain.plan import Target
from airboss.domain.release import ProviderKind
from airboss.gateway.sse import Splitter, event_data
from airboss.gateway.translated import Translation
from airboss.providers import fake_answers
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.assembly import Assembly
from airboss.providers.aws_frames import AwsFrames
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.compatible import read_reply
from airboss.providers.dialect import Frames, Outgoing, Reader
from airboss.providers.dialects import foreign
from airboss.providers.fake_faults import Behaviour
from airboss.providers.fake_tongues import read_foreign
from airboss.providers.fake_wire import event_text
from airboss.providers.gemini_answer import GeminiReader

Json = dict[str, Any]
KINDS: tuple[ProviderKind, ...] = ("anthropic", "gemini", "bedrock")
BASE: dict[ProviderKind, str] = {"anthropic": "/v1", "gemini": "/v1beta", "bedrock": ""}
READERS: dict[ProviderKind, Callable[[], Reader]] = {
    "anthropic": lambda: AnthropicReader(7, answer_tool="json_answer"),
    "gemini": lambda: GeminiReader(7, model="m"),
    "bedrock": lambda: BedrockReader(7, id="b", model="m", answer_tool="json_answer"),
}
F: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def outgoing(kind: ProviderKind, request: Json) -> Outgoing:
    """The request in a dialect."""
    target = Target(provider="p", kind=kind, base_urls=("http://x",), upstream_model="m", region="r")
    body = json.dumps({"model": "m", **request}).encode()
    return foreign(body, target, "chat")


def asked(kind: ProviderKind, request: Json) -> tuple[Outgoing, fake_answers.Call]:
    """The request in a dialect, and as the fake of that dialect, which is strict, understands it."""
    sent = outgoing(kind, request)
    call = read_foreign((BASE[kind] + sent.path).partition("?")[0], sent.body, "")
    assert call is not None
    return sent, call


TEXTS = st.text(st.sampled_from('ab ä🚀\n"\\'), min_size=1, max_size=20).filter(lambda t: bool(t.strip()))
IDS = st.text(st.sampled_from("abc.:_-9"), min_size=1, max_size=6)
ARGUMENTS = st.dictionaries(
    TEXTS, st.one_of(TEXTS, st.integers(-9, 9), st.lists(TEXTS, max_size=2)), max_size=2
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    """Conversations as OpenAI takes them: turns in any order, calls with their results."""
    messages: list[Json] = []
    for number in range(draw(st.integers(1, 5))):
        role = draw(st.sampled_from(["system", "user", "assistant", "call"]))
        if role != "call":
            messages.append({"role": role, "content": draw(TEXTS)})
            continue
        names = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
        ids = [f"{name}{number}" for name in names]
        calls = [
            {
                "id": id_,
                "type": "function",
                "function": {"name": "f", "arguments": json.dumps(draw(ARGUMENTS))},
            }
            for id_ in ids
        ]
        messages += [{"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": calls}]
        messages += [{"role": "tool", "tool_call_id": id_, "content": draw(TEXTS)} for id_ in ids]
    return [{"role": "user", "content": "hi"}, *messages]


@given(conversations(), st.sampled_from(KINDS))
def test_every_conversation_is_understood(messages: list[Json], kind: ProviderKind) -> None:
    """A provider that is strict about its own rules takes whatever conversation OpenAI takes, and every text,
    argument and result of it arrives, in order."""
    sent, _ = asked(kind, {"messages": messages, "tools": [F]})
    body = json.loads(sent.body)
    turns = json.dumps(body.get("messages") or body["contents"])
    at = 0
    for message in messages:
        if message["role"] != "system" and isinstance(message.get("content"), str):
            words = message["content"]
            if kind == "gemini" and message["role"] == "tool":
                continue  # there a result that is JSON is sent as such
            at = turns.index(json.dumps(words), at)
        for call in message.get("tool_calls", ()):
            at = turns.index(json.dumps(json.loads(call["function"]["arguments"])), at)


def wire(call: fake_answers.Call, behaviour: Behaviour, fault: str | None = None) -> bytes:
    """The bytes of a streamed answer, without HTTP around them."""
    tongue = call.tongue
    assert tongue is not None
    events = tongue.events(call, behaviour)
    if fault is not None:
        made = tongue.tools(call, behaviour, ['{"a": "x\\"y"}', "{}"], 3)
        assert isinstance(made, list)
        events = made
    return b"".join(map(event_text, events))


def assembled(sent: Outgoing, data: bytes, cuts: list[int]) -> Json:
    """A stream that comes in these pieces, read and put together as for its record."""
    translation = Translation(sent, status=200, created=7)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    out = b"".join(translation.feed(data[a:b]) for a, b in pairwise(places)) + translation.end()
    assert translation.failure is None
    *payloads, done = [event_data(event) for event in Splitter().feed(out)]
    assert done == b"[DONE]"
    assembly = Assembly("chat")
    for payload in payloads:
        assert payload is not None
        assembly.add(read_reply(payload))
    assert assembly.finished
    response = assembly.response()
    assert response is not None
    made: Json = json.loads(response)
    return made


@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(0, 5000), max_size=20),
    TEXTS,
    st.booleans(),
    st.booleans(),
    st.integers(0, 5),
)
def test_a_stream_says_what_the_whole_answer_says(  # noqa: PLR0917 - what may differ
    kind: ProviderKind, cuts: list[int], text: str, thinks: bool, calls: bool, spent: int
) -> None:
    """However a stream is cut, put together it is the whole answer: content, thoughts, calls, usage."""
    request: Json = {"messages": [{"role": "user", "content": "hi"}], "tools": [F]}
    if thinks:
        request["reasoning_effort"] = "low"
        request["model"] = "gemini-2.5-flash" if kind == "gemini" else "anthropic.claude-sonnet-4-5"
    said = Behaviour(text=text, cached_tokens=spent, written_tokens=spent, reasoning_tokens=spent)
    sent, call = asked(kind, request)
    streams, streamed = asked(kind, request | {"stream": True})
    tongue = call.tongue
    assert tongue is not None
    body = tongue.whole(call, said)
    if calls:
        made = tongue.tools(call, said, ['{"a": "x\\"y"}', "{}"], 3)
        assert isinstance(made, bytes)
        body = made
    assert sent.reader is not None
    whole = json.loads(sent.reader(7).whole(body))
    joined = assembled(streams, wire(streamed, said, "calls" if calls else None), cuts)
    assert joined["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert joined["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    (one,), (other,) = joined["choices"], whole["choices"]
    assert one["finish_reason"] == other["finish_reason"] == ("tool_calls" if calls else "stop")
    for name in ("content", "reasoning_content"):
        assert (one["message"].get(name) or "") == (other["message"].get(name) or "")
    assert [_called(each) for each in one["message"].get("tool_calls", ())] == [
        _called(each) for each in other["message"].get("tool_calls", ())
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_only_calls_has_no_text(kind: ProviderKind) -> None:
    """Not even an empty one, which some clients show: OpenAI's has none."""
    asked_for: Json = {"messages": [{"role": "user", "content": "hi"}], "tools": [F], "stream": True}
    streams, streamed = asked(kind, asked_for)
    translation = Translation(streams, status=200, created=7)
    out = translation.feed(wire(streamed, Behaviour(), "calls")) + translation.end()
    payloads = [event_data(event) for event in Splitter().feed(out)]
    chunks = [json.loads(payload) for payload in payloads if payload not in {None, b"[DONE]"}]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": None}
    assert not any(isinstance(delta.get("content"), str) for delta in deltas)


def _called(call: Json) -> tuple[str, Any]:
    return call["function"]["name"], json.loads(call["function"]["arguments"])


@given(st.sampled_from(KINDS), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_usage_adds_up(kind: ProviderKind, cached: int, written: int, thought: int, words: int) -> None:
    """The buckets of usage do not overlap and sum to the totals, whatever a provider's own counting is."""
    _, call = asked(kind, {"messages": [{"role": "user", "content": "one two three"}]})
    said = Behaviour(words=words + 1, cached_tokens=cached, written_tokens=written, reasoning_tokens=thought)
    assert call.tongue is not None
    usage = json.loads(READERS[kind]().whole(call.tongue.whole(call, said)))["usage"]
    spent = usage["prompt_tokens_details"]
    assert spent["cached_tokens"] == cached
    assert spent["cache_write_tokens"] == (0 if kind == "gemini" else written)
    assert usage["prompt_tokens"] - spent["cached_tokens"] - spent["cache_write_tokens"] == 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    if kind != "bedrock":  # which does not tell
        assert usage["completion_tokens_details"]["reasoning_tokens"] == thought
        assert usage["completion_tokens"] == words + 1 + thought


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "tool_use", "STOP"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "a"]), inner)
    ),
    max_leaves=5,
)


@st.composite
def spoiled(draw: st.DrawFn, value: Any) -> Any:
    """The value with something else in one place of it."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(value)))
        return value | {name: draw(spoiled(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(spoiled(value[at])), *value[at + 1 :]]
    return draw(JSONS)


def events_of(kind: ProviderKind) -> list[Json]:
    """Events of a good stream with thoughts, text and calls."""
    request: Json = {"messages": [{"role": "user", "content": "hi"}], "tools": [F], "stream": True}
    sent, call = asked(kind, request | {"reasoning_effort": "low", "model": "anthropic.claude-sonnet-4-5"})
    data = wire(call, Behaviour(text="a b")) + wire(call, Behaviour(), "calls")
    frames: Frames = AwsFrames() if sent.framing == "aws" else Splitter()
    return [json.loads(event_data(event) or b"{}") for event in frames.feed(data)]


EVENTS = {kind: events_of(kind) for kind in KINDS}


@given(st.data(), st.sampled_from(KINDS))
def test_whatever_comes_is_read_or_refused(data: st.DataObject, kind: ProviderKind) -> None:
    """An upstream that sends nonsense costs an attempt, never more: readers raise ApiError, or nothing."""
    reader = READERS[kind]()
    for event in EVENTS[kind]:
        said = data.draw(spoiled(event)) if data.draw(st.booleans()) else event
        with suppress(ApiError):
            reader.event(json.dumps(said).encode())
    reader.end()
    for said in (data.draw(spoiled(WHOLE[kind])), data.draw(JSONS)):
        for read in (READERS[kind]().whole, lambda body: READERS[kind]().error(500, body)):
            with suppress(ApiError):
                read(json.dumps(said).encode())


def whole_of(kind: ProviderKind) -> Json:
    """A good answer."""
    _, call = asked(kind, {"messages": [{"role": "user", "content": "hi"}], "tools": [F]})
    assert call.tongue is not None
    made: Json = json.loads(call.tongue.whole(call, Behaviour(text="a b")))
    return made


WHOLE = {kind: whole_of(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b'"x"', b"\xff", b"[" * 5000, b"{}"])
def test_errors_of_any_shape_are_told(kind: ProviderKind, body: bytes) -> None:
    """An error answer always has a message for people."""
    said = json.loads(READERS[kind]().error(500, body))
    assert said["error"]["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_inside_of_a_stream_has_its_status(kind: ProviderKind) -> None:
    """Its code is the HTTP status that it would have had, so that it is told apart from others."""
    event = {
        "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "later"}},
        "gemini": {"error": {"code": 503, "message": "later", "status": "UNAVAILABLE"}},
        "bedrock": {"serviceUnavailableException": {"message": "later"}},
    }[str(kind)]
    (made,) = READERS[kind]().event(json.dumps(event).encode())
    error = json.loads(made)["error"]
    assert (error["message"], error["code"]) == ("later", 529 if kind == "anthropic" else 503)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("gemini", "MALFORMED_FUNCTION_CALL"),
        ("gemini", "UNEXPECTED_TOOL_CALL"),
        ("gemini", "OTHER"),
        ("bedrock", "malformed_tool_use"),
        ("bedrock", "malformed_model_output"),
    ],
)
def test_an_answer_that_could_not_be_read_is_none(kind: ProviderKind, reason: str) -> None:
    """It is an error that is asked again, not an empty answer that has ended well."""
    candidate = {"content": {}, "finishReason": reason, "finishMessage": "no such name"}
    whole: Json = {"candidates": [candidate]}
    event = whole
    if kind == "bedrock":
        whole = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": reason}
        event = {"messageStop": {"stopReason": reason}}
    streamed = READERS[kind]()
    for said in (
        READERS[kind]().whole(json.dumps(whole).encode()),
        (streamed.event(json.dumps(event).encode()) or streamed.end())[-1],
    ):
        error = json.loads(said)["error"]
        assert (error["code"], reason in error["message"]) == (502, True)


@pytest.mark.parametrize(
    ("reason", "fields", "stopped_at"),
    [
        ("stop_sequence", {"stop_sequence": "END"}, "END"),
        ("stop_sequence", {}, None),
        ("stop_sequence", None, None),
        ("stop_sequence", {"stop_sequence": 7}, None),
        ("end_turn", {"stop_sequence": None}, None),
    ],
)
def test_a_stop_sequence_that_bedrock_tells(reason: str, fields: Any, stopped_at: str | None) -> None:
    """Claude's is told where it was asked for, whole and streamed."""
    end = {"stopReason": reason, "additionalModelResponseFields": fields}
    whole = end | {"output": {"message": {"content": [{"text": "a"}]}}}
    answers = [READERS["bedrock"]().whole(json.dumps(whole).encode())]
    answers += READERS["bedrock"]().event(json.dumps({"messageStop": end}).encode())
    for answer in answers:
        choice = json.loads(answer)["choices"][0]
        assert (choice["finish_reason"], choice.get("stop_reason")) == ("stop", stopped_at)


def test_a_bedrock_answer_that_is_none_is_told_once() -> None:
    """Streamed, with its usage, which comes behind the reason."""
    reader = READERS["bedrock"]()
    assert reader.event(b'{"messageStop":{"stopReason":"malformed_tool_use"}}') == []
    (made,) = reader.event(b'{"metadata":{"usage":{"inputTokens":3,"outputTokens":7}}}')
    assert json.loads(made)["error"]["code"] == 502
    told = reader.told()
    assert told is not None
    assert (told["prompt_tokens"], told["completion_tokens"]) == (3, 7)
    assert reader.end() == []


def test_a_prompt_that_gemini_blocks_is_refused() -> None:
    """It is the caller's, has OpenAI's code, and is not tried again."""
    body = b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}'
    with pytest.raises(UpstreamRefused, match="SAFETY") as raised:
        READERS["gemini"]().whole(body)
    assert (raised.value.http_status, raised.value.code, raised.value.retryable) == (
        400,
        "content_filter",
        False,
    )


def test_a_key_that_gemini_refuses_is_ours() -> None:
    """Google calls it an invalid argument; the caller could do nothing about it."""
    body = json.dumps(
        {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [{"reason": "API_KEY_INVALID"}],
            }
        }
    )
    with pytest.raises(ApiError) as raised:
        READERS["gemini"]().error(400, body.encode())
    assert (raised.value.http_status, raised.value.code) == (502, "upstream_auth")


def test_a_gemini_stream_that_was_cut_has_no_end() -> None:
    """Only a stream whose every candidate said why it ended is finished by the end of the body."""
    piece = b'{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}'
    last = b'{"candidates":[{"finishReason":"STOP"}]}'
    reader = READERS["gemini"]()
    reader.event(piece)
    assert reader.end() == []
    reader.event(last)
    assert reader.end()[-1] == b"[DONE]"


def test_a_bedrock_stream_ends_with_its_usage() -> None:
    """The last word follows the usage at once; where none comes, the end of the body says it. The reason is
    said before either: both may get lost."""
    stop, usage = b'{"messageStop":{"stopReason":"end_turn"}}', b'{"metadata":{"usage":{"inputTokens":1}}}'
    reader = READERS["bedrock"]()
    (finish,) = reader.event(stop)
    assert json.loads(finish)["choices"][0]["finish_reason"] == "stop"
    assert reader.event(usage)[-1] == b"[DONE]"
    assert reader.end() == []
    silent = READERS["bedrock"]()
    silent.event(stop)
    assert silent.end()[-1] == b"[DONE]"


def test_calls_of_an_answer_without_a_name() -> None:
    """Not all that speaks Gemini's dialect names its answers: calls of two turns have names of their own."""
    part = {"functionCall": {"name": "f", "args": {}}}
    answer = {"candidates": [{"content": {"parts": [part, part]}, "finishReason": "STOP"}]}
    user = {"role": "user", "content": "go"}
    ids: list[str] = []
    for turns in ([user], [user, user]):
        read = outgoing("gemini", {"messages": turns, "tools": [F]}).reader
        assert read is not None
        whole = json.loads(read(1_790_000_000).whole(json.dumps(answer).encode()))
        ids += [call["id"] for call in whole["choices"][0]["message"]["tool_calls"]]
        streamed = read(1_790_000_000).event(json.dumps(answer).encode())
        assert ids[-1] in streamed[-1].decode()
        assert whole["id"] != "chatcmpl"
    assert len(set(ids)) == 4
    assert max(map(len, ids)) <= 40  # OpenAI takes no longer ones, to which a conversation may go on


@pytest.mark.parametrize("three", ["3", "3.0", "3e0"])
def test_counts_may_be_fractions(three: str) -> None:
    """In every dialect, as in OpenAI's: what is left out is not billed."""
    claude = AnthropicReader(0, answer_tool=None).whole(
        b'{"content":[{"type":"text","text":"x"}],"usage":{"input_tokens":%s,"output_tokens":%s}}'
        % (three.encode(), three.encode())
    )
    gemini = GeminiReader(0, model="m").whole(
        b'{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],'
        b'"usageMetadata":{"promptTokenCount":%s,"candidatesTokenCount":%s}}'
        % (three.encode(), three.encode())
    )
    for said in (claude, gemini):
        usage = json.loads(said)["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 3)
