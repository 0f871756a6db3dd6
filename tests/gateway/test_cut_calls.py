"""A stream that breaks off within a tool call or a thought: told in band, never gone on with, never whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Retry, Target
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.spoken import error_in_stream, is_whole, say, streamed

BROKEN = {
    "end": [],
    "error": ['{"error":{"message":"The engine failed","type":"server_error","code":null}}'],
    "malformed": ['{"id":"u","choices":[{"index":0,"delta":{"content":"x'],
}
"""How the stream breaks off: the events that come last."""


def called(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    """A piece of a tool call; with `name` its first."""
    first = {"id": f"call_{index}", "type": "function"} if name is not None else {}
    function = {"arguments": arguments} | ({"name": name} if name is not None else {})
    return {"tool_calls": [{"index": index, **first, "function": function}]}


ONE = [called(0, "", "look_up"), called(0, '{"q": "mo'), called(0, "on \\u00"), called(0, 'e9"')]
WHOLE = [called(0, "", "look_up"), called(0, '{"q": '), called(0, '"moon"}')]
CUT: dict[str, list[dict[str, Any]]] = {
    "a call begun": ONE[:1],
    "arguments in pieces": ONE,
    "arguments that look whole": WHOLE,
    "after text": [{"content": "Let me look. "}, *ONE],
    "the second of two calls": [*WHOLE, called(1, "", "add"), called(1, '{"a": 1, "b"')],
    "two calls in turns": [*ONE[:2], called(1, '{"a"', "add"), called(0, 'on"}'), called(1, ": 2")],
    "a thought": [{"reasoning_content": "First "}, {"reasoning_content": "I look"}],
    "text after a thought": [{"reasoning_content": "Hm. "}, {"content": "It is "}, {"content": "so"}],
    "a call after a thought": [{"reasoning_content": "Hm. "}, *ONE],
    "a call in the older way": [
        {"content": "Let me look. "},
        {"function_call": {"name": "look_up", "arguments": ""}},
        {"function_call": {"arguments": '{"q": "mo'}},
    ],
}
TOOLS = {
    "messages": [{"name": name, "input_schema": {"type": "object"}} for name in ("look_up", "add")],
    "responses": [{"type": "function", "name": n, "parameters": {}} for n in ("look_up", "add")],
    "chat": [{"type": "function", "function": {"name": name}} for name in ("look_up", "add")],
}


def unfinished(dialect: str, response: httpx2.Response) -> bool:
    """Whether the last part of what was said has no end of its own either."""
    begins, ends, where = {
        "messages": ("content_block_start", "content_block_stop", "index"),
        "responses": ("response.output_item.added", "response.output_item.done", "output_index"),
    }[dialect]
    begun = [data[where] for name, data in streamed(response) if name == begins]
    return not begun or begun[-1] not in [data[where] for name, data in streamed(response) if name == ends]


@pytest.fixture(scope="module")
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as running:
        running.done = False
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker whose only model may go on with what breaks off, and has somebody who could."""
    plan = deployment(upstream.url, continuation="on", retry=Retry(attempts=3), price=PRICE)
    other = Target(
        provider="backup",
        kind="openai-compatible",
        base_urls=(upstream.url,),
        upstream_model="big",
        continuation="on",
        price=PRICE,
    )
    plan = msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, fallbacks=(other,)))
    with Gateway(tmp_path_factory.mktemp("cut") / "g", plan) as running:
        yield running


def ask(gateway: Gateway, upstream: SaidUpstream, dialect: str, cut: str, broke: str) -> httpx2.Response:
    """A stream that breaks off so."""
    upstream.stream(CUT[cut], finish=None)
    upstream.events = [*upstream.events[:-1], *BROKEN[broke]]
    upstream.seen.clear()
    asked: dict[str, Any] = {"stream": True}
    if "call" in cut or "arguments" in cut or cut == "after text":
        asked["tools"] = TOOLS[dialect]
    return gateway.chat(**asked) if dialect == "chat" else say(gateway, dialect, **asked)


@pytest.mark.parametrize("broke", sorted(BROKEN))
@pytest.mark.parametrize("dialect", sorted(TOOLS))
@pytest.mark.parametrize("cut", CUT)
def test_it_is_told_and_nobody_goes_on(
    gateway: Gateway, upstream: SaidUpstream, cut: str, dialect: str, broke: str
) -> None:
    """The client has what came, then an error in its own words; the record has it too, without an end."""
    response = ask(gateway, upstream, dialect, cut, broke)
    assert response.status_code == 200, response.text
    assert len(upstream.seen) == 1
    assert "[DONE]" not in response.text
    assert '"delta":{"content":"x' not in response.text
    if dialect == "chat":
        *events, last = [json.loads(e[6:]) for e in response.text.rstrip().split("\n\n")]
        assert not any(choice["finish_reason"] for event in events for choice in event["choices"])
        assert [event["choices"][0]["delta"] for event in events] == CUT[cut]
        told = last["error"]
    else:
        assert not is_whole(dialect, response)
        names = [name for name, _ in streamed(response)]
        assert unfinished(dialect, response)
        assert "message_delta" not in names
        assert names[-1] == {"messages": "error", "responses": "response.failed"}[dialect]
        told = error_in_stream(dialect, response)
    assert told["message"]
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["finish_reason"], len(end["attempts"])) == ("error", None, 1)
    assert end["output_tokens"] > 0 or cut == "a call in the older way"
    assert end["cost_usd"] > 0


@pytest.mark.parametrize("dialect", sorted(TOOLS))
def test_what_came_of_calls_is_recorded(gateway: Gateway, upstream: SaidUpstream, dialect: str) -> None:
    """As far as it came: nobody may take it for a call that can be made."""
    response = ask(gateway, upstream, dialect, "the second of two calls", "end")
    kept = gateway.closed(response.headers["x-request-id"])["response"]
    written = json.dumps(kept)
    assert "look_up" in written
    assert "add" in written
    if dialect == "chat":
        calls = kept["choices"][0]["message"]["tool_calls"]
        assert [each["function"]["arguments"] for each in calls] == ['{"q": "moon"}', '{"a": 1, "b"']
        assert kept["choices"][0]["finish_reason"] is None
    elif dialect == "messages":
        assert kept["stop_reason"] is None
    else:
        assert kept["status"] in {"incomplete", "failed"}
