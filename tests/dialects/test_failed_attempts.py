"""What was said in attempts that failed, as a record has it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airboss.dialects.failed_attempts import WORDS_CHARS_MAX, answered, attempt_words
from airboss.dialects.recorded import in_chat
from tests.console.site import sample

TOLD = [{"attempt": 1, "message": "no more money"}]
CHAT = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]
}
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "yes"}],
    "stop_reason": "end_turn",
}
RESPONSE = {
    "id": "r",
    "object": "response",
    "status": "completed",
    "output": [
        {
            "id": "o",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "yes", "annotations": []}],
        }
    ],
}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    "response",
    [
        None,
        "text",
        [],
        7,
        {},
        {"failed_attempts": None},
        {"failed_attempts": "text"},
        {"failed_attempts": {"attempt": 1, "message": "x"}},
        {"failed_attempts": [None, 7, "x", [], {}, {"attempt": 1}, {"message": "x"}]},
        {"failed_attempts": [{"attempt": "1", "message": "x"}, {"attempt": 1.5, "message": "x"}]},
        {"failed_attempts": [{"attempt": True, "message": "x"}, {"attempt": 1, "message": None}]},
    ],
)
def test_what_is_of_another_shape_says_nothing(response: Any) -> None:
    """An old record has none; an imported one has what somebody wrote."""
    assert attempt_words(response) == {}


def test_words_are_by_their_attempt_and_bounded() -> None:
    """What is of another shape among them is passed over."""
    told = [*TOLD, 7, {"attempt": 3, "message": "x" * 5000, "more": 1}]
    assert attempt_words({"failed_attempts": told}) == {1: "no more money", 3: "x" * WORDS_CHARS_MAX + "…"}


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (ASKED, CHAT),
        (ASKED | {"max_tokens": 5}, MESSAGE),
        ({"model": "m", "input": "hi"}, RESPONSE),
        (ASKED, {"error": {"message": "no", "type": "t", "code": None, "param": None}}),
    ],
    ids=["chat", "messages", "responses", "error"],
)
def test_a_record_as_chat_has_none(request_: Any, response: Any) -> None:
    """Whoever evaluates, shows or learns from the answer sees what it would be without."""
    plain = sample(request=request_, response=response)
    told = msgspec.structs.replace(plain, response=response | {"failed_attempts": TOLD})
    assert in_chat(told) == in_chat(plain)
    assert "failed_attempts" in told.response


def test_where_that_is_all_there_was_no_answer() -> None:
    """Its client left before anybody answered."""
    assert answered({"failed_attempts": TOLD}) is None
    assert in_chat(sample(request=ASKED, response={"failed_attempts": TOLD})).response is None
