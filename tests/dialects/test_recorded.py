"""Records of other dialects, read as chat."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.dialects.recorded import dialect_of, in_chat
from airboss.domain.record import InferenceRecord
from tests.dialects.said import call, whole
from tests.dialects.test_messages_answer import speech as messages
from tests.dialects.test_responses_answer import speech as responses

ANSWERS: list[dict[str, Any]] = [
    {"content": "Hi."},
    {"content": "Hi.", "tool_calls": [call(0), call(1, "f", "{}")]},
    {"content": None, "tool_calls": [call(0)]},
]
CHAT = {"messages": [{"role": "user", "content": "x"}]}
MESSAGES = {"max_tokens": 5, **CHAT, "system": "S"}
RESPONSES = {"input": "x", "instructions": "S"}


def record(request: Any, response: Any, operation: Any = "chat") -> InferenceRecord:
    """A record with these bodies."""
    if isinstance(request, dict):
        request = {"model": "m", **request}
    fields: dict[str, Any] = dict.fromkeys(InferenceRecord.__struct_fields__)
    fields |= {"id": "r", "started_at": datetime(2026, 1, 1, tzinfo=UTC), "operation": operation}
    return InferenceRecord(**fields | {"request": request, "response": response})


@pytest.mark.parametrize("said", ANSWERS)
@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_there_and_back(said: dict[str, Any], finish: str) -> None:
    """What a client was told reads as chat as it was in chat."""
    if finish == "stop" and said.get("tool_calls"):
        finish = "tool_calls"
    chat = whole(finish, **said)
    for request, answer in ((MESSAGES, messages().whole(chat)), (RESPONSES, responses().whole(chat))):
        read = in_chat(record(request, json.loads(answer)))
        assert read.request["messages"] == [{"role": "system", "content": "S"}, *CHAT["messages"]]
        choice = read.response["choices"][0]
        assert choice["finish_reason"] == finish
        assert choice["message"]["content"] == said["content"]
        assert choice["message"].get("tool_calls") == said.get("tool_calls")


def test_which_dialect() -> None:
    """The shape of the bodies tells."""
    told: dict[str, list[tuple[Any, Any]]] = {
        "chat": [(CHAT, {"choices": []}), (CHAT, None), (None, None), ({"prompt": "x"}, None)],
        "messages": [(CHAT, {"type": "message"}), (MESSAGES, None), (CHAT, {"type": "error", "error": {}})],
        "responses": [(RESPONSES, None), ({"input": []}, {"object": "response"})],
    }
    for dialect, cases in told.items():
        for request, response in cases:
            assert dialect_of(record(request, response)) == dialect
    assert dialect_of(record({"input": "x"}, None, "embeddings")) == "chat"


def test_a_cut_answer_has_no_reason() -> None:
    """What never ended does not look as if it had."""
    cut = whole(None, content="Hi")
    for request, answer in ((MESSAGES, messages().whole(cut)), (RESPONSES, responses().whole(cut))):
        read = in_chat(record(request, json.loads(answer)))
        assert read.response["choices"][0]["finish_reason"] is None


def test_what_builds_on_others_says_so() -> None:
    """A record has its own input only, and must not pass for the whole conversation."""
    read = in_chat(record({"input": "x", "previous_response_id": "resp_1"}, None))
    assert read.request["previous_response_id"] == "resp_1"


shapes = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["user", "message", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "input", "messages", "output", "object", "text", "system"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(shapes, shapes)
def test_nothing_raises(request: Any, response: Any) -> None:
    """Whatever a body is, it is read or stays as it is."""
    bases: list[dict[str, Any]] = [{}, MESSAGES, RESPONSES]
    kinds: list[dict[str, Any]] = [{}, {"type": "message"}, {"object": "response"}]
    for base in bases:
        asked = {**base, **request} if isinstance(request, dict) else request
        for kind in kinds:
            got = {**response, **kind} if isinstance(response, dict) else response
            in_chat(record(asked, got))
