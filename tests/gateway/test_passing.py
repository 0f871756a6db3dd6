"""Anthropic's client in front of Anthropic: bytes pass, and what chat has no words for passes with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from airboss.dialects.messages_answer import MessagesSpeech
from airboss.dialects.messages_passing import PassingReader, pass_on
from airboss.dialects.messages_request import messages_as_chat
from airboss.domain.plan import Caching
from airboss.domain.release import Example, ModelVersion, Policy, Release
from airboss.providers.dialect import DONE
from tests.dialects.said import events
from tests.dialects.test_messages_request import asked
from tests.support.gateway import DIGEST, KEY, PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error, say, streamed

MODEL = ModelVersion(provider="fake", kind="anthropic", model="claude-up")
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
USAGE = {
    "input_tokens": 3,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 7,
    "output_tokens": 11,
    "server_tool_use": {"web_search_requests": 1},
}
ANSWER: dict[str, Any] = {
    "id": "msg_theirs",
    "type": "message",
    "role": "assistant",
    "model": "claude-up",
    "content": [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"odd": 1.50}]},
        {"type": "text", "text": "Found.", "citations": [{"type": "x", "url": "https://e"}]},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
    "new_member": {"a": [1, 2]},
}


def release(**members: Any) -> Release:
    """A release of the model."""
    return Release(digest=DIGEST, name="r", model=MODEL, **members)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
    """A worker in front of it, as Anthropic and as a server of OpenAI's dialect."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text("sk-ant-secret-0123456789")
    plan = deployment(
        upstream.url,
        kind="anthropic",
        upstream_model="claude-up",
        price=PRICE,
        api_key_ref=f"file:{secret}",
        stable=release(),
    )
    shaped = release(
        prompt="Be {{ tone }}.",
        examples=(Example("1+1", "2"),),
        params={"temperature": 0.25, "max_tokens": 4},
        params_force={"stop": "END"},
    )
    odd = release(params={"seed": 7})
    masks = release(policy=Policy(pii=(("email", "mask"),), detectors="1"))
    looks = release(policy=Policy(pii=(("email", "observe"),), detectors="1"))
    chat = deployment(upstream.url, name="chat", aliases=())
    drops = deployment(upstream.url, name="drops", aliases=(), drop_unsupported=True)
    more = {"shaped": shaped, "odd": odd, "masks": masks, "looks": looks}
    plans = [msgspec.structs.replace(plan, name=n, aliases=(), stable=r) for n, r in more.items()]
    cached = msgspec.structs.replace(plan, name="cached", aliases=(), cache=Caching())
    with Gateway(tmp_path_factory.mktemp("gateway"), plan, *plans, chat, drops, cached) as running:
        yield running


@pytest.fixture
def gateway(worker: Gateway, upstream: SaidUpstream) -> Gateway:
    """That worker; its upstream has nothing to say yet."""
    upstream.reset()
    return worker


def test_a_request_passes_as_it_is(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Byte for byte but for the model, unknown members too, with Anthropic's headers and our key."""
    upstream.body = ANSWER
    raw = (
        b'{"model":"gpt-4o", "max_tokens":9,"mcp_servers":[{"url":"https://x"}], "messages":[{"role":"user",'
        b'"content":[{"type":"container_upload","file_id":"f"},{"type":"text","text":"hi","odd": 1.50}]}],'
        b'"tools":[{"type":"web_search_20250305","name":"web_search"}],  "new":{"x":[1e3]}}'
    )
    with gateway.client() as client:
        answer = client.post("/v1/messages", content=raw, headers={"anthropic-beta": "mcp-client-2025-04-04"})
    assert answer.status_code == 200, answer.text
    assert upstream.seen[-1] == raw.replace(b'"gpt-4o"', b'"claude-up"')
    assert upstream.paths[-1] == "/v1/messages"
    sent = upstream.headers[-1]
    assert sent["anthropic-beta"] == "mcp-client-2025-04-04"
    assert (sent["anthropic-version"], sent["x-api-key"]) == ("2023-06-01", "sk-ant-secret-0123456789")
    assert KEY not in str(sent)


def test_a_whole_answer_comes_as_it_is(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Its bytes are the client's and the record's; usage and cost are counted all the same."""
    upstream.body = ANSWER
    answer = say(gateway, "messages", tools=[SEARCH])
    assert answer.content == json.dumps(ANSWER).encode()
    assert "x-airboss-dropped" not in answer.headers
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["response"] == ANSWER
    assert (closed["input_tokens"], closed["cached_input_tokens"], closed["output_tokens"]) == (15, 5, 11)
    assert (closed["finish_reason"], closed["usage_estimated"]) == ("stop", False)
    assert closed["cost_usd"] > 0


EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**ANSWER, "content": [], "stop_reason": None, "new": 1}},
    {"type": "content_block_start", "index": 0, "content_block": {**ANSWER["content"][0], "input": {}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"q'}},
    {"type": "content_block_stop", "index": 0},
    {"type": "ping"},
    {"type": "content_block_start", "index": 1, "content_block": ANSWER["content"][1]},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Found."}},
    {"index": 2, "delta": {"type": "citations_delta", "citation": {"a": 1}}, "type": "content_block_delta"},
    {"type": "content_block_stop", "index": 2},
    {"type": "brand_new_event", "x": "\u00e4"},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USAGE},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("write_bytes", [1 << 20, 7])
def test_a_stream_comes_as_it_is(gateway: Gateway, upstream: SaidUpstream, write_bytes: int) -> None:
    """Every event in its order, those that nobody knows too, however it is cut; the record has its text."""
    upstream.events = [json.dumps(event) for event in EVENTS]
    upstream.done, upstream.write_bytes = False, write_bytes
    answer = say(gateway, "messages", stream=True, tools=[SEARCH])
    assert [data for _, data in streamed(answer)] == EVENTS
    assert [name for name, _ in streamed(answer)] == [event["type"] for event in EVENTS]
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["response"]["content"] == [{"type": "text", "text": "Found."}]
    assert (closed["input_tokens"], closed["output_tokens"], closed["status"]) == (15, 11, "ok")


def test_what_comes_behind_the_reason_to_stop_is_heard(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A block that begins there too: a client could not tell what its pieces are of."""
    late: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 9, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "More."}},
        {"type": "content_block_stop", "index": 9},
        {"type": "of_tomorrow"},
    ]
    upstream.events = [json.dumps(each) for each in (*EVENTS[:-1], *late, EVENTS[-1])]
    heard = [data for _, data in streamed(say(gateway, "messages", stream=True))]
    assert [each for each in heard if each in late] == late
    assert [each["type"] for each in heard[-2:]] == ["message_delta", "message_stop"]


def test_a_policy_that_only_looks_changes_nothing(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Under it a stream comes as it is, too."""
    upstream.events, upstream.done = [json.dumps(event) for event in EVENTS], False
    answer = say(gateway, "messages", model="looks", stream=True, tools=[SEARCH])
    assert [data for _, data in streamed(answer)] == EVENTS


def test_attempts_beside_each_other() -> None:
    """What is heard rides with the chat that was read from it: two attempts at once do not mix."""
    first, second = PassingReader(0), PassingReader(0)
    written = json.dumps(asked(stream=True)).encode()
    speech = MessagesSpeech(messages_as_chat(written))
    assert speech.passing(written, deployment("http://x/v1", kind="anthropic").target, release(), ())
    other = {**EVENTS[0], "message": {**ANSWER, "id": "msg_other"}}
    second.event(json.dumps(other).encode())
    said = b"".join(
        speech.event(piece)
        for event in EVENTS
        for piece in first.event(json.dumps(event).encode())
        if piece != DONE
    )
    assert b"msg_other" not in said
    assert [data for _, data in events(said + speech.end())] == EVENTS


def test_a_last_word_that_got_lost_is_said(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Behind the reason to stop comes no more of an answer: it is whole, and its client is told so."""
    upstream.done = False
    upstream.events = [json.dumps(event) for event in EVENTS[:-1]]
    response = say(gateway, "messages", stream=True)
    assert [name for name, _ in streamed(response)][-2:] == ["message_delta", "message_stop"]
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["usage_estimated"]) == ("ok", False)


def test_a_cut_stream_never_looks_whole(gateway: Gateway, upstream: SaidUpstream) -> None:
    """It ends in one error of ours, and without the events that say how a message ended."""
    upstream.done = False
    upstream.events = [json.dumps(event) for event in EVENTS[:-2]]
    names = [name for name, _ in streamed(say(gateway, "messages", stream=True))]
    assert names[-1] == "error"
    assert not {"message_delta", "message_stop"} & set(names)
    broken = {"type": "error", "error": {"type": "overloaded_error", "message": "too much"}}
    upstream.events = [json.dumps(event) for event in [*EVENTS[:-4], broken]]
    ended = streamed(say(gateway, "messages", stream=True))
    assert [name for name, _ in ended].count("error") == 1
    assert "too much" in ended[-1][1]["error"]["message"]


def test_errors_are_in_the_clients_words(gateway: Gateway, upstream: SaidUpstream) -> None:
    """What the provider refuses is told with its status and its reason."""
    upstream.status = 400
    upstream.body = {"type": "error", "error": {"type": "invalid_request_error", "message": "tools: odd"}}
    answer = say(gateway, "messages")
    assert answer.status_code == 400
    assert error("messages", answer)["message"] == "tools: odd"


def test_the_release_is_put_among_them(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Its prompt comes before the client's system, its examples before the turns, and its parameters fill
    what is open; every other member has its bytes."""
    upstream.body = ANSWER
    tools = [SEARCH]
    told = {"prompt_variables": {"tone": "kind"}, "metadata": {"user_id": "u", "session_id": "s"}}
    assert say(gateway, "messages", model="shaped", system="S", tools=tools, **told).status_code == 200
    sent = json.loads(upstream.seen[-1])
    assert [block["text"] for block in sent["system"]] == ["Be kind.", "S"]
    assert sent["messages"] == [
        {"role": "user", "content": "1+1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "hi"},
    ]
    assert (sent["temperature"], sent["max_tokens"], sent["stop_sequences"]) == (0.25, 1000, ["END"])
    assert (sent["metadata"], sent["tools"], sent["model"]) == ({"user_id": "u"}, tools, "claude-up")
    assert "prompt_variables" not in sent
    marked = [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]
    say(gateway, "messages", model="shaped", system=marked, prompt_variables={"tone": "kind"})
    assert json.loads(upstream.seen[-1])["system"] == [{"type": "text", "text": "Be kind."}, *marked]
    assert say(gateway, "messages", model="shaped").status_code == 400  # without the variable


def thought(signature: str) -> bytes:
    """A conversation with thoughts that are signed so, and one of Anthropic's own."""
    return (
        b'{"model":"gpt-4o","max_tokens":9,"messages": [{"role":"user","content":"hi"}, {"role":"assistant",'
        b'"content":[{"type":"thinking","thinking":"other","signature": "%s"},{"type":"thinking",'
        b'"thinking":"own","signature":"c2ln"},{"type":"text","text":"\\"signature\\":\\"\\"","odd": 1.50}]},'
        b'{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"%s"}]},'
        b'{"role":"user","content":"on"}]}'
    ) % (signature.encode(), signature.encode())


def test_thoughts_of_other_models_stay_away(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Anthropic would refuse them, and the conversation with them; what stands beside passes as it is."""
    upstream.body = ANSWER
    with gateway.client() as client:
        assert client.post("/v1/messages", content=thought("reasoning_content")).status_code == 200
    sent = upstream.seen[-1]
    assert [len(turn["content"]) for turn in json.loads(sent)["messages"]] == [2, 2, 2]
    assert b'"thinking":"own","signature":"c2ln"' in sent
    assert b'"odd": 1.50' in sent
    assert b"other" not in sent


def test_thoughts_that_are_signed_with_nothing(gateway: Gateway, upstream: SaidUpstream) -> None:
    """They stay away from Anthropic itself and from Claude behind whatever host. They may be the own ones of
    another server of its dialect."""
    upstream.body = ANSWER
    with gateway.client() as client:
        assert client.post("/v1/messages", content=thought("")).status_code == 200
    assert [len(turn["content"]) for turn in json.loads(upstream.seen[-1])["messages"]] == [2, 2, 2]
    other = deployment(upstream.url, kind="anthropic", upstream_model="kimi-k2").target
    as_it_is = pass_on(thought(""), other, release(), (), ())
    assert as_it_is is not None
    assert "messages" not in as_it_is.changes
    anthropic = deployment("https://api.anthropic.com/v1", kind="anthropic").target
    passing = pass_on(thought(""), anthropic, release(), (), ())
    assert passing is not None
    messages = passing.changes["messages"]
    assert messages is not None
    assert [len(turn["content"]) for turn in json.loads(messages)] == [2, 2, 2]


def test_what_chat_cannot_say_is_refused_where_it_must_be_chat(
    gateway: Gateway, upstream: SaidUpstream
) -> None:
    """To another kind of provider, under a policy that changes what is said, and with parameters that
    Anthropic does not have, a request goes as chat: what that has no words for is named."""
    upstream.body = ANSWER
    for model in ("chat", "masks", "odd"):
        answer = say(gateway, "messages", model=model, tools=[SEARCH])
        assert answer.status_code == 400
        assert error("messages", answer)["param"] == "tools[0].type"
    assert upstream.seen == []
    assert say(gateway, "messages", model="looks", tools=[SEARCH]).content == json.dumps(ANSWER).encode()


def test_what_chat_cannot_say_may_be_dropped(gateway: Gateway, upstream: SaidUpstream) -> None:
    """With `drop_unsupported` it is left out, and a header names it."""
    upstream.body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    answer = say(gateway, "messages", model="drops", tools=[SEARCH], container="c", speed="fast")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-airboss-dropped"] == "speed, container, tools[0].type"
    assert "tools" not in json.loads(upstream.seen[-1])


def test_counting_asks_in_the_same_words(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Anthropic counts what a call would send, tools of its own too."""
    upstream.body = {"input_tokens": 42}
    wanted = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "tools": [SEARCH]}
    with gateway.client() as client:
        answer = client.post("/v1/messages/count_tokens", json=wanted)
    assert answer.json() == {"input_tokens": 42}
    assert upstream.paths[-1] == "/v1/messages/count_tokens"
    assert json.loads(upstream.seen[-1]) == wanted | {"model": "claude-up"}


def test_what_passes_is_not_cached(gateway: Gateway, upstream: SaidUpstream) -> None:
    """What chat has no words for tells two requests apart, and is in the answer: a cache of chat knows
    neither, and has nothing of it for a client of chat."""
    texts = [{**ANSWER, "content": [{"type": "text", "text": text}]} for text in ("one", "two")]
    upstream.body = texts[0]
    first = say(gateway, "messages", model="cached", tools=[SEARCH])
    upstream.body = texts[1]
    second = say(gateway, "messages", model="cached", tools=[{**SEARCH, "type": "web_fetch"}])
    assert [each.headers["x-airboss-cache"] for each in (first, second)] == ["bypass", "bypass"]
    assert second.json()["content"][0]["text"] == "two"
    third = gateway.chat("hi", model="cached", max_tokens=1000)
    assert third.headers["x-airboss-cache"] == "miss"
    assert "heard" not in third.json()
