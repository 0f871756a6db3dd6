"""Answers of Anthropic's Messages, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import UpstreamFailed
from airboss.providers.anthropic_answer import AnthropicReader

Json = dict[str, Any]
TEXT: Json = {"type": "text", "text": "Hi."}
THOUGHT: Json = {"type": "thinking", "thinking": "hm", "signature": "s"}
HIDDEN: Json = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
USE: Json = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
BARE: Json = {"type": "tool_use", "id": "t2", "name": "g", "input": {}}
ANSWER: Json = {"type": "tool_use", "id": "t3", "name": "json_answer", "input": {"a": 1}}


def called(use: Json, arguments: str) -> Json:
    """The call as OpenAI has it."""
    return {"id": use["id"], "type": "function", "function": {"name": use["name"], "arguments": arguments}}


def reader() -> AnthropicReader:
    """A reader of a request that wanted a schema."""
    return AnthropicReader(7, answer_tool="json_answer")


GOLDEN: dict[str, tuple[list[Json], Json, Json, Json]] = {
    "a text": ([TEXT], {"stop_reason": "end_turn"}, {"content": "Hi."}, {"finish_reason": "stop"}),
    "a stop sequence": (
        [TEXT],
        {"stop_reason": "stop_sequence", "stop_sequence": "END"},
        {"content": "Hi."},
        {"finish_reason": "stop", "stop_reason": "END"},
    ),
    "two texts": (
        [TEXT, TEXT],
        {"stop_reason": "max_tokens"},
        {"content": "Hi.Hi."},
        {"finish_reason": "length"},
    ),
    "thoughts, some hidden": (
        [THOUGHT, HIDDEN, TEXT],
        {"stop_reason": "end_turn"},
        {"content": "Hi.", "reasoning_content": "hm", "thinking_blocks": [THOUGHT, HIDDEN]},
        {"finish_reason": "stop"},
    ),
    "calls": (
        [TEXT, USE, BARE],
        {"stop_reason": "tool_use"},
        {"content": "Hi.", "tool_calls": [called(USE, '{"x":1}'), called(BARE, "{}")]},
        {"finish_reason": "tool_calls"},
    ),
    "a call and no word": (
        [USE],
        {"stop_reason": "tool_use"},
        {"content": None, "tool_calls": [called(USE, '{"x":1}')]},
        {"finish_reason": "tool_calls"},
    ),
    "an answer by schema": (
        [ANSWER],
        {"stop_reason": "tool_use"},
        {"content": '{"a":1}'},
        {"finish_reason": "stop"},
    ),
    "a refusal": ([], {"stop_reason": "refusal"}, {"content": ""}, {"finish_reason": "content_filter"}),
    "a pause": ([TEXT], {"stop_reason": "pause_turn"}, {"content": "Hi."}, {"finish_reason": "stop"}),
    "a reason of tomorrow": ([TEXT], {"stop_reason": "nap"}, {"content": "Hi."}, {"finish_reason": "stop"}),
    "a block of tomorrow": (
        [{"type": "dream", "scene": 1}, TEXT],
        {"stop_reason": "end_turn"},
        {"content": "Hi."},
        {"finish_reason": "stop"},
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_an_answer_is_read(case: str) -> None:
    """Nothing is left out, and nothing is added."""
    content, end, message, ending = GOLDEN[case]
    usage = {
        "input_tokens": 1,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 4,
        "output_tokens": 8,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    head = {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": content}
    made = json.loads(reader().whole(json.dumps({**head, **end, "usage": usage}).encode()))
    assert made == {
        "id": "m",
        "object": "chat.completion",
        "created": 7,
        "model": "c",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "refusal": None, **message},
                "logprobs": None,
                **ending,
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 8,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }


STEPS = [
    {"type": "compaction", "input_tokens": 1000, "output_tokens": 300, "cache_creation_input_tokens": 20,
     "cache_creation": {"ephemeral_1h_input_tokens": 5}},
    {"type": "advisor_message", "model": "other", "input_tokens": 100, "output_tokens": 30,
     "cache_read_input_tokens": 7},
    {"type": "message", "input_tokens": 1, "output_tokens": 8},
    {"type": "of tomorrow", "input_tokens": 5, "output_tokens": 5},
]  # fmt: skip
"""What an answer was made in, as its usage tells beside its totals."""
WITH_STEPS = {
    "prompt_tokens": 1 + 1000 + 20 + 100 + 7,
    "completion_tokens": 8 + 300 + 30,
    "total_tokens": 1128 + 338,
    "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 20, "cache_write_1h_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def test_what_a_compaction_used_is_counted() -> None:
    """A conversation that was made shorter on the way costs that too, though the totals are without it."""
    usage = {"input_tokens": 1, "output_tokens": 8, "iterations": STEPS}
    said = {"content": [{"type": "compaction", "content": "s"}], "stop_reason": "end_turn", "usage": usage}
    assert json.loads(reader().whole(json.dumps(said).encode()))["usage"] == WITH_STEPS
    *_, end = streamed(
        {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    )
    assert end == {"usage": WITH_STEPS}


def streamed(*events: Json) -> list[Json]:
    """What a stream's events become, without what they have in common."""
    found = []
    read = reader()
    for event in events:
        for data in read.event(json.dumps(event).encode()):
            if data != b"[DONE]":
                chunk = json.loads(data)
                (choice,) = chunk["choices"] or [{"delta": {"usage": chunk.get("usage")}}]
                found.append(choice["delta"])
    return found


def block(index: int, begun: Json, *deltas: Json) -> list[Json]:
    """The events of one block."""
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    start = {"type": "content_block_start", "index": index, "content_block": begun}
    return [start, *pieces, {"type": "content_block_stop", "index": index}]


def test_calls_are_numbered_among_themselves() -> None:
    """The first call is number 0, whatever blocks came before; one without arguments has an empty object."""
    made = streamed(
        *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}),
        *block(1, USE | {"input": {}}, {"type": "input_json_delta", "partial_json": '{"x":1}'}),
        *block(2, BARE, {"type": "input_json_delta", "partial_json": ""}),
    )
    calls = [piece["tool_calls"][0] for piece in made if "tool_calls" in piece]
    assert calls == [
        {"index": 0, **called(USE, "")},
        {"index": 0, "function": {"arguments": '{"x":1}'}},
        {"index": 1, **called(BARE, "")},
        {"index": 1, "function": {"arguments": "{}"}},
    ]


def test_thoughts_are_signed_when_they_end() -> None:
    """Their words come as they come; the signed block comes whole, and a hidden one too, each with the number
    by which OpenAI's clients put a list together: without one they fail at the second."""
    made = streamed(
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "h"},
            {"type": "thinking_delta", "thinking": "m"},
            {"type": "signature_delta", "signature": "s"},
        ),
        *block(1, HIDDEN),
    )
    assert made == [
        {"role": "assistant", "reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"thinking_blocks": [{"index": 0, **THOUGHT}]},
        {"thinking_blocks": [{"index": 1, **HIDDEN}]},
    ]


def test_later_counts_replace_earlier_ones() -> None:
    """Usage comes twice; what the end says counts, and what it does not say stays."""
    made = streamed(
        {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "ping"},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )
    usage = made[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, 9)


def test_a_piece_of_nothing_is_a_failure() -> None:
    """A piece of a block that has not begun breaks the stream, rather than getting lost."""
    with pytest.raises(UpstreamFailed, match="block 3"):
        streamed({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "a"}})


def test_a_stream_that_never_said_why_is_not_whole() -> None:
    """`message_stop` without a reason before it ends nothing: the answer then counts as cut."""
    assert streamed({"type": "message_stop"}) == []
