"""What identifies an answer and is no text: no value passes in it, and no answer is refused for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.governance.screening import Action
from airboss.governance.screening_chat import AnswerScreen
from airboss.governance.screening_responses import ResponsesScreen
from airboss.governance.tokens import Tokens
from tests.support.policies import one_action

MAIL, CARD = "jane.doe@example.com", "4111 1111 1111 1111"
NAMES = ("id", "model", "object", "system_fingerprint", "service_tier", "created")
UUID = "chatcmpl-01234567-0123-4567-8901-abcdef012345"
"""Its middle could as well be a phone number."""

acting = pytest.mark.parametrize("action", ["mask", "tokenize", "block"])


def tokens() -> Tokens:
    """A call's, whose request is through."""
    made = Tokens(b"of one call")
    made.seal()
    return made


def whole(action: Action, body: dict[str, Any]) -> dict[str, Any]:
    """What the client gets of a whole chat answer."""
    said: dict[str, Any] = json.loads(AnswerScreen(one_action(action), tokens()).whole(_raw(body)).given)
    return said


def _raw(body: object) -> bytes:
    return json.dumps(body).encode()


def _chat(**named: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello."}
    return {**named, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _events(**named: Any) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"content": "Hello"}, {"content": " there"}, {"content": "."}, {}]
    ends = [None, None, None, "stop"]
    return [
        {**named, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in zip(said, ends, strict=True)
    ]


@acting
@pytest.mark.parametrize("name", ["id", "model", "object"])
def test_of_a_whole_answer(action: Action, name: str) -> None:
    """It is masked, and the answer given."""
    body = whole(action, _chat(**{name: f"x {MAIL} y"}))
    assert body[name] == "x [EMAIL] y"
    assert body["choices"][0]["message"]["content"] == "Hello."


@acting
@pytest.mark.parametrize("name", NAMES)
def test_of_a_stream(action: Action, name: str) -> None:
    """It is masked in every event, those that are known by their bytes too, and the answer given."""
    screen = AnswerScreen(one_action(action), tokens())
    out = []
    for event in _events(**{name: f"x {CARD} y"}):
        known = screen.known(_raw(event))
        out += screen.event(_raw(event)) if known is None else screen.more(_raw(event), *known)
    out += screen.end()
    given = [json.loads(each.given) for each in out]
    assert {each[name] for each in given} == {"x [CARD] y"}
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in given) == "Hello there."
    assert not screen.blocked


@acting
def test_of_a_stream_what_counts(action: Action) -> None:
    """What texts its usage has are masked; a member whose name may be a value is left out."""
    screen = AnswerScreen(one_action(action), tokens())
    last = {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "who": MAIL}, CARD: 1, "took_ms": 5}
    given = json.loads(screen.event(_raw(last))[0].given)
    assert given == {
        "id": "c", "choices": [], "usage": {"prompt_tokens": 3, "who": "[EMAIL]"}, "took_ms": 5,
    }  # fmt: skip


@acting
def test_of_a_response(action: Action) -> None:
    """Ids of it and of what is in it are masked, and what events call an item is what it is called."""
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
    said = ResponsesScreen(one_action(action), tokens()).whole(
        _raw({"id": f"resp:{MAIL}", "model": CARD, "output": [{"id": MAIL, **message}]})
    )
    body = json.loads(said.given)
    assert (body["id"], body["model"], body["output"][0]["id"]) == ("resp:[EMAIL]", "[CARD]", "[EMAIL]")
    assert body["output"][0]["content"][0]["text"] == "Hello."
    screen = ResponsesScreen(one_action(action), tokens())
    dense = CARD.replace(" ", "")
    delta = {"type": "response.output_text.delta", "item_id": dense, "output_index": 0, "content_index": 0}
    given = json.loads(screen.event(_raw(delta | {"delta": "Hello there, "}))[0].given)
    assert given["item_id"] == "[CARD]"


@acting
def test_uuids_stay(action: Action) -> None:
    """An id that is a UUID is nobody's number, whatever its digits are; what is plain is the same object."""
    raw = _raw(_chat(id=UUID, model="gpt-4o-2024-08-06", system_fingerprint="fp_50cad350e4"))
    assert AnswerScreen(one_action(action), tokens()).whole(raw).given is raw


def test_what_is_only_observed_stays() -> None:
    """It is neither changed nor counted."""
    screen = AnswerScreen(one_action("observe"))
    raw = _raw(_chat(id=MAIL))
    assert screen.whole(raw).given is raw
    assert screen.findings == ()
