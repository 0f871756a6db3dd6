"""A whole answer streamed again, and a stream put together, say the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.gateway.replay import PIECES_MAX, events_of, unasked_stream, unasked_whole, whole_of
from airboss.gateway.sse import event_data

texts = st.text(max_size=200)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": texts},
    optional={
        "refusal": st.none(),
        "reasoning_content": texts,
        "annotations": st.lists(st.dictionaries(st.text(max_size=3), scalars, max_size=2), max_size=2),
        "odd": st.integers(),
    },
)
logprobs = st.none() | st.fixed_dictionaries(
    {"content": st.lists(st.fixed_dictionaries({"token": texts}), max_size=3)}
)
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A whole answer to a chat, or to a prompt."""
    chat = draw(st.booleans())
    choices = []
    for index in range(draw(st.integers(1, 3))):
        said = {"message": draw(messages)} if chat else {"text": draw(texts)}
        choices.append({"index": index, **said, "logprobs": draw(logprobs), "finish_reason": "stop"})
    return {
        "id": "x",
        "object": "chat.completion" if chat else "text_completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": draw(st.none() | st.just("f")),
        "choices": choices,
        "usage": USAGE,
    }


@given(answers(), st.booleans())
def test_a_stream_made_of_an_answer_says_it(answer: dict[str, Any], with_usage: bool) -> None:
    """Whatever it holds, put together again it is the same; usage comes only where it was asked for."""
    events = [*events_of(json.dumps(answer).encode(), with_usage=with_usage)]
    whole = whole_of(b"".join(events) + b"data: [DONE]\n\n")
    assert whole is not None
    expected = answer if with_usage else {name: each for name, each in answer.items() if name != "usage"}
    assert json.loads(whole) == expected
    assert sum(b'"usage"' in event for event in events) == int(with_usage)


def test_a_long_text_comes_in_pieces() -> None:
    """As a stream does: the role first, then words, then why it ended."""
    text = "one two three four five " * 20
    answer = {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant"}}]}
    answer["choices"][0]["message"]["content"] = text  # type: ignore[index]  # made just above
    answer["choices"][0]["finish_reason"] = "stop"  # type: ignore[index]  # as above
    events = [*events_of(json.dumps(answer).encode(), with_usage=True)]
    chunks = [json.loads(event_data(event) or b"")["choices"][0] for event in events]
    assert chunks[0]["delta"]["role"] == "assistant"
    assert len(chunks) > 10
    assert "".join(chunk["delta"].get("content", "") for chunk in chunks) == text
    assert [chunk["finish_reason"] for chunk in chunks[-2:]] == [None, "stop"]


@pytest.mark.parametrize("text", ["one two three " * 80_000, "x" * 1_000_000, "\n" * 1_000_000])
def test_a_very_long_text_comes_in_longer_pieces(text: str) -> None:
    """Each is an event, so that there are not many."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    answer = {"object": "chat.completion", "choices": [choice]}
    events = [*events_of(json.dumps(answer).encode(), with_usage=True)]
    assert len(events) <= PIECES_MAX + 2
    assert json.loads(whole_of(b"".join(events)) or b"")["choices"] == [choice]


def test_what_came_in_many_pieces_is_put_together_in_the_time_of_reading_them() -> None:
    """Four times as many take four times as long, not sixteen times."""

    def seconds(count: int) -> float:
        calls = [{"index": 0, "function": {"arguments": "x" * 64}}]
        piece = {"index": 0, "delta": {"content": "y" * 64, "tool_calls": calls}}
        stream = b"data: %s\n\n" % json.dumps({"choices": [piece]}).encode() * count
        began = time.process_time()
        whole = whole_of(stream)
        took = time.process_time() - began
        assert whole is not None
        message = json.loads(whole)["choices"][0]["message"]
        assert message["content"] == "y" * 64 * count
        assert message["tool_calls"][0]["function"]["arguments"] == "x" * 64 * count
        return took

    few = min(seconds(15_000) for _ in range(3))
    # What else the processor does meanwhile may double it, once.
    assert any(seconds(60_000) < 8 * few for _ in range(3))


def test_an_error_is_no_answer() -> None:
    """Nothing is made of a stream that holds one."""
    assert whole_of(b'data: {"error":{"message":"x"}}\n\n') is None
    assert whole_of(b'data: {"choices":[],"error":{"message":"x"}}\n\n') is None
    assert whole_of(b"") is None


@pytest.mark.parametrize("odd", [[], {}, 5, None, "x"], ids=str)
def test_an_answer_that_calls_itself_anything_is_one(odd: Any) -> None:
    """Where a stream came for a whole answer, and the other way round: what it says counts."""
    said = {"object": odd, "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
    events = unasked_whole(json.dumps(said).encode())
    assert b'"object":"chat.completion.chunk"' in events
    streamed = unasked_stream(events.replace(b'"chat.completion.chunk"', json.dumps(odd).encode()))
    assert json.loads(streamed)["object"] == "chat.completion"
    assert json.loads(streamed)["choices"][0]["message"]["content"] == "hi"
