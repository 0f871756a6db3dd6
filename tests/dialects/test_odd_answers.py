"""Whatever JSON an upstream says, both dialects say something, and nothing breaks but a broken call."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airboss.dialects.chat_said import read_error_said
from airboss.domain.errors import UpstreamFailed
from tests.dialects.said import events
from tests.dialects.test_messages_answer import speech as messages
from tests.dialects.test_responses_answer import speech as responses

WORDS = ["index", "delta", "message", "content", "text", "tool_calls", "function", "name", "arguments", "id"]
WORDS += [
    "choices",
    "usage",
    "finish_reason",
    "reasoning_content",
    "thinking_blocks",
    "logprobs",
    "error",
    "type",
]
WORDS += ["completion_tokens", "prompt_tokens", "prompt_tokens_details", "signature", "thinking", "code"]
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
shapes = st.recursive(
    leaves | st.sampled_from(["stop", "thinking", "redacted_thinking"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)
deltas = st.dictionaries(st.sampled_from(WORDS), shapes, max_size=4)
choice = st.fixed_dictionaries({}, optional={"index": shapes, "delta": deltas, "finish_reason": shapes})
pieces = st.fixed_dictionaries({}, optional={"choices": st.lists(choice, max_size=2), "usage": shapes})


@given(st.lists(pieces | shapes, max_size=5))
def test_streams(said: list[Any]) -> None:
    """A stream of anything ends in order, or fails as a broken one does."""
    for made, last in (
        (messages(), {"message_stop"}),
        (responses(), {"response.completed", "response.incomplete"}),
    ):
        out = b""
        with contextlib.suppress(UpstreamFailed):
            for each in said:
                out += made.event(json.dumps(each).encode())
            out += made.end()
            assert events(out)[-1][0] in last
        made.error_event(b"{}")


@given(pieces | shapes)
def test_whole_answers(said: Any) -> None:
    """A whole answer of anything is an object of the dialect."""
    for made in (messages(), responses()):
        assert isinstance(json.loads(made.whole(json.dumps(said).encode())), dict)


@given(shapes)
def test_errors(said: Any) -> None:
    """An error of anything is an error."""
    body = json.dumps({"error": said}).encode()
    assert isinstance(read_error_said(body).message, str)
    assert json.loads(messages().error(500, body))["type"] == "error"
