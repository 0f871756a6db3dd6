"""What the fake provider says when it answers well."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import InvalidRequest
from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Call, pieces, read_call, tokens
from airboss.providers.fake_faults import Behaviour


def ask(path: str = "/v1/chat/completions", **fields: Any) -> Call:
    """A request as the fake provider reads it."""
    if path == "/v1/chat/completions":
        fields = {"messages": [{"role": "user", "content": "one two three"}], **fields}
    return read_call(path, json.dumps({"model": "m", **fields}).encode())


def whole(call: Call, **behaviour: Any) -> Any:
    """The answer in one body."""
    return json.loads(answers.whole(call, Behaviour(**behaviour)))


def said(call: Call, index: int = 0, **behaviour: Any) -> str:
    """The text that the events of one choice make."""
    found = [json.loads(e.data) for e in answers.events(call, Behaviour(**behaviour)) if e.kind == "content"]
    mine = (one["choices"][0] for one in found if one["choices"][0]["index"] == index)
    return "".join(c["delta"]["content"] if call.chat else c["text"] for c in mine)


@given(text=st.text(st.characters(exclude_categories=["Cs"])), n=st.integers(1, 3), chat=st.booleans())
def test_a_stream_says_what_a_body_says(text: str, n: int, *, chat: bool) -> None:
    """Joined, the pieces of each choice are its text, and both count the same tokens."""
    call = ask(
        "/v1/chat/completions" if chat else "/v1/completions", n=n, stream_options={"include_usage": True}
    )
    body = whole(call, text=text)
    found = answers.events(call, Behaviour(text=text))
    for index, choice in enumerate(body["choices"]):
        assert said(call, index, text=text) == (choice["message"]["content"] if chat else choice["text"])
    usage = next(json.loads(event.data)["usage"] for event in found if event.kind == "usage")
    assert usage == body["usage"]


@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    """Cutting loses nothing."""
    assert "".join(pieces(text)) == text
    assert len(pieces(text)) == tokens(text)


def test_usage_counts_words_and_adds_up() -> None:
    """Prompt tokens are those of every message; the total is the sum."""
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"text": "a b c"}]}]
    usage = whole(ask(messages=turns, n=2), text="x y", reasoning_tokens=5, cached_tokens=1)["usage"]
    assert usage["prompt_tokens"] == 5
    assert usage["completion_tokens"] == 2 + 3 + 5
    assert usage["total_tokens"] == 15
    assert usage["prompt_tokens_details"]["cached_tokens"] == 1
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 5


def test_what_is_said_is_the_text_the_words_or_the_echo() -> None:
    """Each way of choosing an answer."""
    assert said(ask(), text="so be it") == "so be it"
    assert said(ask(), words=3) == "word0 word1 word2"
    assert said(ask(), echo=True) == "one two three"
    assert said(ask()) == answers.SENTENCE
    assert said(ask("/v1/completions", prompt="go on"), echo=True) == "go on"


def test_a_text_may_hang_on_the_instructions() -> None:
    """With `when` it is said only where a system message, or a raw prompt, has these words."""
    told = [{"role": "system", "content": "Say yes or no."}, {"role": "user", "content": "yes or no?"}]
    assert said(ask(messages=told), text="yes", when="Say yes") == "yes"
    assert said(ask(messages=told[1:]), text="yes", when="yes or no") == answers.SENTENCE
    assert said(ask("/v1/completions", prompt="Say yes."), text="yes", when="Say yes") == "yes"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_stops_at_the_limit(name: str) -> None:
    """A longer answer is cut, and says so."""
    two: dict[str, Any] = {name: 2}
    three: dict[str, Any] = {name: 3}
    choice = whole(ask(**two), words=3)["choices"][0]
    assert choice["message"]["content"] == "word0 word1"
    assert choice["finish_reason"] == "length"
    assert whole(ask(**three), words=3)["choices"][0]["finish_reason"] == "stop"


def test_an_assistant_prefix_is_gone_on_with() -> None:
    """What was said already is not said again."""
    turns = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "word0 word1"}]
    assert said(ask(messages=turns), words=4) == " word2 word3"
    assert said(ask(messages=[turns[0], {"role": "assistant", "content": "else"}]), words=2) == "word0 word1"


def test_the_same_request_gets_the_same_bytes() -> None:
    """Nothing is drawn by lot; another request has another id."""
    assert answers.whole(ask(), Behaviour()) == answers.whole(ask(), Behaviour())
    assert whole(ask())["id"] != whole(ask(temperature=1))["id"]


def test_usage_comes_in_a_stream_only_when_asked_for() -> None:
    """`include_usage` adds the usage event, and a null usage to the others."""
    kinds = [event.kind for event in answers.events(ask(), Behaviour(words=1))]
    assert kinds == ["role", "content", "finish", "done"]
    found = answers.events(ask(stream_options={"include_usage": True}), Behaviour(words=1))
    assert [event.kind for event in found] == ["role", "content", "finish", "usage", "done"]
    assert json.loads(found[0].data)["usage"] is None


def test_embeddings_are_unit_vectors_of_the_text() -> None:
    """The same text has the same vector, in numbers as in base64."""
    body = json.loads(answers.embeddings(ask("/v1/embeddings", input=["a b", "c", "a b"])))
    first, second, third = (one["embedding"] for one in body["data"])
    assert first == third != second
    assert math.isclose(sum(value * value for value in first), 1.0)
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    small = ask("/v1/embeddings", input="a b", dimensions=8, encoding_format="base64")
    raw = base64.b64decode(json.loads(answers.embeddings(small))["data"][0]["embedding"])
    assert len(struct.unpack("<8f", raw)) == 8
    ids = json.loads(answers.embeddings(ask("/v1/embeddings", input=[1, 2, 3])))
    assert len(ids["data"]) == 1
    assert ids["usage"]["prompt_tokens"] == 3
    with pytest.raises(InvalidRequest, match="dimensions"):
        answers.embeddings(ask("/v1/embeddings", input="a", dimensions=5000))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model": 3}', b'{"messages": "hi"}', b'{"n": 129}', b'"\xff"', b"\xff"]
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    """What cannot be read is the caller's fault."""
    with pytest.raises(InvalidRequest):
        read_call("/v1/chat/completions", body)


def test_tokens_are_counted_by_blanks() -> None:
    """A blank begins a token; no text has none."""
    assert [tokens(text) for text in ("", "a", "a b", "a  b", " a")] == [0, 1, 2, 3, 1]


def test_one_of_several_texts_is_chosen_by_the_request() -> None:
    """The same request gets the same, and each its share; logprobs tell the shares where asked for."""
    behaviour = {"texts": "yes|yes|yes|no"}
    found = [whole(ask(seed=n), **behaviour)["choices"][0] for n in range(400)]
    assert found[7]["message"] == whole(ask(seed=7), **behaviour)["choices"][0]["message"]
    assert 260 < sum(each["message"]["content"] == "yes" for each in found) < 340
    assert found[0]["logprobs"] is None
    (token,) = whole(ask(logprobs=True), **behaviour)["choices"][0]["logprobs"]["content"]
    odds = {each["token"]: math.exp(each["logprob"]) for each in token["top_logprobs"]}
    assert odds == {"yes": pytest.approx(0.75), "no": pytest.approx(0.25)}
    assert math.exp(token["logprob"]) == pytest.approx(odds[token["token"]])
    assert whole(ask(logprobs=True))["choices"][0]["logprobs"] is None
