"""Chat answers as Anthropic's Messages: golden cases, streams cut in every way, and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from airboss.dialects.messages_answer import MessagesSpeech
from airboss.dialects.messages_request import AsChat
from airboss.dialects.speech import Counts
from airboss.domain.errors import UpstreamFailed
from tests.dialects.said import USAGE, call, chunk, events, piece, streamed, usage_chunk, whole

RECORD = "0197b0f2-6c1e-7cc2-9a3e-0d3a8f1b2c4d"
USED = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 6,
    "cache_read_input_tokens": 4,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 3},
}


def speech(begun: str = "") -> MessagesSpeech:
    """A call's speech."""
    made = MessagesSpeech(AsChat(body=b"", model="asked", rich=False, begun=begun))
    made.record_id = RECORD
    return made


def message(chat: bytes, begun: str = "") -> Any:
    """What a whole answer becomes."""
    return json.loads(speech(begun).whole(chat))


def text(said: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": said}


def test_a_whole_answer() -> None:
    """An answer in words has one block, the record's id, and usage in parts that do not overlap."""
    assert message(whole(content="Hi.")) == {
        "id": "msg_0197b0f26c1e7cc29a3e0d3a8f1b2c4d",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": [text("Hi.")],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USED,
    }


CONTENT: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"content": ""}, []),
    ({"content": [{"type": "text", "text": "parts"}]}, [text("parts")]),
    ({"refusal": "No."}, [text("No.")]),
    (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "x"},
            ]
        },
        [{"type": "thinking", "thinking": "hm", "signature": ""}, text("x")],
    ),
    (
        {"content": "x", "reasoning_content": "hm"},
        [{"type": "thinking", "thinking": "hm", "signature": "reasoning_content"}, text("x")],
    ),
    (
        {"content": "x", "reasoning": "hm"},
        [{"type": "thinking", "thinking": "hm", "signature": ""}, text("x")],
    ),
    (
        {
            "content": "x",
            "reasoning_content": "hm",
            "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
        },
        [{"type": "thinking", "thinking": "hm", "signature": "s"}, text("x")],
    ),
    (
        {"content": "x", "tool_calls": [call(0), call(1, arguments="")]},
        [
            text("x"),
            {"type": "tool_use", "id": "call_0", "name": "look_up", "input": {"a": 1}},
            {"type": "tool_use", "id": "call_1", "name": "look_up", "input": {}},
        ],
    ),
    (
        {"tool_calls": [call(0, arguments='{"a": tru')]},
        [{"type": "tool_use", "id": "call_0", "name": "look_up", "input": {"arguments": '{"a": tru'}}],
    ),
    (
        {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        [{"type": "tool_use", "id": f"toolu_{RECORD.replace('-', '')}_0", "name": "f", "input": {}}],
    ),
]


@pytest.mark.parametrize(("said", "wanted"), CONTENT)
def test_content(said: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    """Words, thoughts and calls each have their block; broken arguments are shown as they came."""
    assert message(whole(**said))["content"] == wanted


STOPS = [
    ("stop", {}, "end_turn"),
    ("length", {}, "max_tokens"),
    ("tool_calls", {"tool_calls": [call(0)]}, "tool_use"),
    ("stop", {"tool_calls": [call(0)]}, "tool_use"),
    ("content_filter", {}, "refusal"),
    ("something new", {}, "end_turn"),
    (None, {}, None),
]


@pytest.mark.parametrize(("finish", "said", "reason"), STOPS)
def test_stop_reasons(finish: str | None, said: dict[str, Any], reason: str | None) -> None:
    """Each reason has its word; what was cut has none."""
    assert message(whole(finish, **said))["stop_reason"] == reason


@pytest.mark.parametrize(
    ("said", "reason"), [({"content": "x"}, "end_turn"), ({"tool_calls": [call(0)]}, "tool_use")]
)
def test_an_answer_that_is_over_has_a_reason(said: dict[str, Any], reason: str) -> None:
    """Anthropic's clients are always told one of a whole answer, also where the server tells none."""
    over = speech()
    over.over = True
    assert json.loads(over.whole(whole(None, **said)))["stop_reason"] == reason


def test_how_much_of_an_answer_was_thought() -> None:
    """It stands where Anthropic's newer clients read it."""
    usage = {"prompt_tokens": 3, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}
    said = message(whole(content="x", usage=usage))["usage"]
    assert said["output_tokens_details"] == {"thinking_tokens": 5}


@pytest.mark.parametrize("member", ["stop_reason", "matched_stop"])
def test_a_stop_sequence_that_the_server_tells(member: str) -> None:
    """A server may tell, as vLLM and SGLang do, which sequence ended an answer."""
    value = json.loads(whole(content="x"))
    value["choices"][0][member] = "END"
    said = message(json.dumps(value).encode())
    assert (said["stop_reason"], said["stop_sequence"]) == ("stop_sequence", "END")


def test_an_answer_that_goes_on() -> None:
    """Where a server repeats what the answer goes on from, it is taken off."""
    assert message(whole(content="One, two"), begun="One,")["content"] == [text(" two")]
    assert message(whole(content=" two"), begun="One,")["content"] == [text(" two")]


@pytest.mark.parametrize(
    "odd",
    [b"[]", b"{}", b'{"choices":[7]}', b'{"choices":[{"message":3}],"usage":{"completion_tokens":"x"}}'],
)
def test_odd_answers_never_raise(odd: bytes) -> None:
    """Whatever is JSON becomes a message."""
    said = message(odd)
    assert said["content"] == []
    assert said["usage"]["output_tokens"] == 0


def test_usage_that_nobody_told_is_the_estimate() -> None:
    """Where no usage came, the estimate is told, streamed or not."""
    made = speech()
    made.estimate = Counts(input=5, output=2)
    assert json.loads(made.whole(whole(content="x", usage=None)))["usage"]["output_tokens"] == 2
    made.event(chunk(content="x"))
    made.event(chunk(finish="stop"))
    assert dict(events(made.end()))["message_delta"]["usage"]["input_tokens"] == 5


@pytest.mark.parametrize("odd", [-5, 10**30, True, 1.5])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_usage_that_cannot_be_true_is_the_estimate(name: str, odd: object) -> None:
    """The client hears what the record says, and no count of nothing."""
    made = speech()
    made.estimate = Counts(input=5, output=2)
    usage = {"prompt_tokens": 9, "completion_tokens": 9, name: odd}
    told = json.loads(made.whole(whole(content="x", usage=usage)))["usage"]
    assert (told["input_tokens"], told["output_tokens"]) == (5, 2)


def test_a_stream() -> None:
    """The events are Anthropic's, in its order."""
    made = speech()
    out = made.event(chunk(role="assistant", content=""))
    out += made.event(chunk(content="Hi")) + made.event(chunk(content="."))
    out += made.event(chunk(finish="stop")) + made.event(usage_chunk()) + made.end()
    found = events(out)
    assert [name for name, _ in found] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(name == data["type"] for name, data in found)
    start = found[0][1]["message"]
    assert (start["content"], start["stop_reason"], start["model"]) == ([], None, "up")
    assert found[2][1]["content_block"] == text("")
    assert found[6][1] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": USED,
    }


def grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a piece to its block."""
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            block["json"] += delta["partial_json"]


def put_together(out: bytes) -> Any:
    """A stream as the message that it makes, as Anthropic's client would; blocks must come one by one."""
    made: Any = None
    opened: int | None = None
    for name, data in events(out):
        match name:
            case "message_start":
                assert made is None
                made = data["message"]
            case "content_block_start":
                assert opened is None
                opened = data["index"]
                assert opened == len(made["content"])
                made["content"].append(data["content_block"] | {"json": ""})
            case "content_block_delta":
                assert data["index"] == opened
                grow(made["content"][opened], data["delta"])
            case "content_block_stop":
                assert data["index"] == opened
                opened = None
                block = made["content"][-1]
                joined = block.pop("json")
                if joined:
                    block["input"] = json.loads(joined)
            case "message_delta":
                made |= data["delta"] | {"usage": data["usage"]}
    assert opened is None
    return made


@given(streamed())
def test_a_stream_is_the_whole(said: tuple[dict[str, Any], str, list[bytes]]) -> None:
    """However an answer is cut, and calls interleave, the stream makes the message that the whole makes."""
    answer, finish, chunks = said
    made = speech()
    out = b"".join(made.event(each) for each in chunks) + made.end()
    assert put_together(out) == message(whole(finish, **answer))


def test_signed_thoughts_in_a_stream() -> None:
    """A signature ends the block of thoughts that was streamed; hidden thoughts are a block of their own."""
    made = speech()
    out = made.event(chunk(reasoning_content="hm"))
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "d"}
    out += made.event(chunk(thinking_blocks=[signed])) + made.event(chunk(thinking_blocks=[hidden]))
    out += made.event(chunk(content="x")) + made.event(chunk(finish="stop")) + made.end()
    said = put_together(out)["content"]
    assert said == [signed, {"type": "redacted_thinking", "data": "d"}, text("x")]


@pytest.mark.parametrize(
    ("name", "signature"), [("reasoning_content", "reasoning_content"), ("reasoning", "")]
)
def test_unsigned_thoughts_in_a_stream(name: str, signature: str) -> None:
    """They say in place of a signature by which name they came: some servers want them back by it."""
    made = speech()
    said: list[dict[str, Any]] = [{name: "h"}, {name: "m"}, {"content": "x"}, {"finish": "stop"}]
    out = b"".join(made.event(chunk(**each)) for each in said) + made.end()
    signature = name if name == "reasoning_content" else ""
    thought = {"type": "thinking", "thinking": "hm", "signature": signature}
    assert put_together(out)["content"] == [thought, text("x")]


def test_names_in_pieces() -> None:
    """A call's name may come in pieces: its block begins when it is whole."""
    made = speech()
    out = made.event(chunk(tool_calls=[piece(0, id="c", name="look_")]))
    out += made.event(chunk(tool_calls=[piece(0, name="up")]))
    out += made.event(chunk(tool_calls=[piece(0, arguments="{}")]))
    out += made.event(chunk(finish="tool_calls")) + made.end()
    assert put_together(out)["content"][0]["name"] == "look_up"


def test_a_call_that_goes_on_after_words_is_a_failure() -> None:
    """A call that was whole cannot go on: the stream fails rather than lose a part of it."""
    made = speech()
    made.event(chunk(tool_calls=[piece(0, id="c", name="f", arguments='{"a":2}')]))
    made.event(chunk(content="x"))
    with pytest.raises(UpstreamFailed):
        made.event(chunk(tool_calls=[piece(0, arguments="1}")]))


def test_the_last_piece_twice() -> None:
    """A repeated end changes nothing."""
    made = speech()
    out = made.event(chunk(content="x")) + made.event(chunk(finish="stop")) * 1
    again = made.event(chunk(finish="stop"))
    assert again == b""
    assert [name for name, _ in events(out + made.end())][-1] == "message_stop"


def test_other_choices_are_passed_over() -> None:
    """Of several answers the first is said."""
    made = speech()
    made.event(chunk(content="a"))
    assert made.event(chunk(index=1, content="b")) == b""


STATUSES = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (405, "invalid_request_error"),
    (413, "request_too_large"),
    (429, "rate_limit_error"),
    (500, "api_error"),
    (502, "api_error"),
    (503, "overloaded_error"),
    (504, "timeout_error"),
]


@pytest.mark.parametrize(("status", "type_"), STATUSES)
def test_errors(status: int, type_: str) -> None:
    """An error keeps its words, code and param; its type is Anthropic's."""
    said = {"message": "no", "type": "x", "code": "c", "param": "p"}
    body = json.dumps({"error": said}).encode()
    assert json.loads(speech().error(status, body)) == {"type": "error", "error": said | {"type": type_}}


def test_an_error_in_a_stream() -> None:
    """It is an event of its own."""
    body = json.dumps({"error": {"message": "no", "type": "upstream_error", "code": "stream_cut"}}).encode()
    ((name, said),) = events(speech().error_event(body))
    assert name == said["type"] == "error"
    assert said["error"] == {"type": "api_error", "message": "no", "code": "stream_cut", "param": None}


def test_the_parts_of_usage_sum_up() -> None:
    """The parts together are the prompt."""
    said = message(whole(content="x"))["usage"]
    assert said["output_tokens"] == USAGE["completion_tokens"]
    assert sum(said[name] for name in said if "input" in name) == USAGE["prompt_tokens"]
