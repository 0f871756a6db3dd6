"""Screened streams that break off: what is held back stays so, whatever else of the answer is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.test_screen import chat, record_of, screened
from tests.support.gateway import Gateway
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say

__all__ = ["screened"]


@pytest.mark.parametrize("piece", ["jane@exam", "jane@example.com", "4111 1111 1111 11"])
@pytest.mark.parametrize("action", ["mask", "tokenize", "block"])
@pytest.mark.parametrize("done", [True, False])
def test_a_stream_that_is_cut(
    screened: Gateway, upstream: SaidUpstream, done: bool, action: str, piece: str
) -> None:
    """What is held stays held, for the client and the record: it may be the beginning of a value, however
    orderly the upstream's connection ends. Then comes the error; no clean end."""
    upstream.stream([{"content": "Mail "}, {"content": piece[:6]}, {"content": piece[6:]}], finish=None)
    upstream.done = done
    try:
        response = chat(screened, action, stream=True)
    finally:
        upstream.done = True
    lines = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]
    assert "".join(c["delta"]["content"] for line in lines for c in line.get("choices", ())) == "Mail "
    assert lines[-1]["error"]["code"] == "stream_cut"
    _, closed = record_of(screened, response)
    assert closed["response"]["choices"][0]["message"]["content"] == "Mail "


@pytest.mark.parametrize("piece", ["jane@exam", "4111 1111 1111 11"])
@pytest.mark.parametrize("action", ["mask", "tokenize", "block"])
@pytest.mark.parametrize("done", [True, False])
def test_one_choice_that_is_cut_beside_one_that_is_whole(
    screened: Gateway, upstream: SaidUpstream, done: bool, action: str, piece: str
) -> None:
    """That another choice has said why it ended says nothing of this one: what is held of it stays held."""
    said: list[tuple[int, dict[str, Any], str | None]] = [
        (0, {"content": "Mail "}, None),
        (1, {"content": "Fine."}, None),
        (0, {"content": piece}, None),
        (1, {}, "stop"),
    ]
    upstream.events = [
        json.dumps({"id": "u", "choices": [{"index": index, "delta": delta, "finish_reason": why}]})
        for index, delta, why in said
    ]
    upstream.done = done
    try:
        response = chat(screened, action, stream=True, n=2)
    finally:
        upstream.done = True
    lines = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]
    texts = ["", ""]
    for choice in [each for line in lines for each in line.get("choices", ())]:
        texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == ["Mail ", "Fine."]
    assert lines[-1]["error"]["code"] == "stream_cut"
    _, closed = record_of(screened, response)
    assert [each["message"]["content"] for each in closed["response"]["choices"]] == texts


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
@pytest.mark.parametrize("together", [True, False])
def test_choices_that_nobody_asked_for(
    screened: Gateway, upstream: SaidUpstream, dialect: str, together: bool
) -> None:
    """What one of them is blocked for ends the others too, and says so: no answer ends without a reason."""
    value = "jane@example.com"
    said = [[(0, "Well, "), (1, "Mail ")], [(0, "so"), (1, "now ")], [(1, value)], [(1, " or call")]]
    grouped = said if together else [[each] for group in said for each in group]
    upstream.events = [
        json.dumps({"id": "u", "choices": [{"index": at, "delta": {"content": text}} for at, text in group]})
        for group in grouped
    ]
    if dialect == "chat":
        response = chat(screened, "block", stream=True)
        lines = [line for line in response.text.split("\n\n") if line]
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        ends = {each["index"]: each.get("finish_reason") for chunk in chunks for each in chunk["choices"]}
        assert ends == {0: "content_filter", 1: "content_filter"}
        assert lines[-1] == "data: [DONE]"
    else:
        response = say(screened, dialect, model="block", stream=True)
        wanted = {"messages": '"stop_reason":"refusal"', "responses": '{"reason":"content_filter"}'}[dialect]
        assert wanted in response.text
    assert value not in response.text
    assert record_of(screened, response)[1]["status"] == "refused"
