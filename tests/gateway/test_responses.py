"""`/v1/responses` through the real gateway: what goes upstream, what is recorded, and what is kept."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest

from airboss.domain.ports import ApiKey
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.spoken import error, say, streamed, text
from tests.support.wait import until

OTHER = "ab_" + "o" * 43
TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}


def sent(provider: FakeProvider) -> Any:
    """What went upstream last."""
    return json.loads(provider.last().body)


def made(response: Any) -> Any:
    """The response object of an answer, streamed or not."""
    if response.headers["content-type"] == "application/json":
        return response.json()
    return streamed(response)[-1][1]["response"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """A call goes upstream as chat, and its record has what the client sent and got."""
    body: dict[str, Any] = {
        "instructions": "Be kind.",
        "max_output_tokens": 9,
        "metadata": {"session_id": "s-1", "team": "blue"},
        "user": "u-1",
        "reasoning": {"effort": "low"},
        "stream": stream,
    }
    response = say(gateway, "responses", 'fake:{"words": 4, "reasoning_tokens": 3}', **body)
    assert response.status_code == 200
    asked = sent(provider)
    assert asked["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (asked["model"], asked["max_tokens"], asked["reasoning_effort"]) == ("up", 9, "low")
    record_id = response.headers["x-request-id"]
    opened, closed = gateway.frames()[0][record_id], gateway.closed(record_id)
    assert (opened["operation"], opened["user"], opened["session"]) == ("chat", "u-1", "s-1")
    assert opened["tags"] == {"team": "blue"}
    assert opened["request"]["instructions"] == "Be kind."
    assert closed["response"] == made(response)
    assert closed["response"]["id"] == f"resp_{record_id.replace('-', '')}"
    usage = closed["response"]["usage"]
    assert usage["output_tokens_details"]["reasoning_tokens"] == closed["reasoning_tokens"] == 3
    assert usage["total_tokens"] == closed["input_tokens"] + closed["output_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_conversations(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """Three responses, each built on the one before; instructions are each call's own."""
    ids: list[str] = []
    for number in range(3):
        previous = {"previous_response_id": ids[-1]} if ids else {}
        asked = f'q{number} fake:{{"text": "a{number}"}}'
        response = say(gateway, "responses", asked, instructions=f"i{number}", stream=stream, **previous)
        ids.append(made(response)["id"])
    said = [(each["role"], each["content"].partition(" ")[0]) for each in sent(provider)["messages"]]
    assert said == [
        ("system", "i2"),
        ("user", "q0"),
        ("assistant", "a0"),
        ("user", "q1"),
        ("assistant", "a1"),
        ("user", "q2"),
    ]
    # A branch goes on from where it leaves.
    say(gateway, "responses", "other", previous_response_id=ids[0])
    assert [each["role"] for each in sent(provider)["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("stream", [False, True])
def test_function_calls(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """Parallel calls come as items, and their outputs go on from the response that made them."""
    provider.script("tool-split")
    first = made(say(gateway, "responses", "x", tools=[TOOL], stream=stream))
    calls = first["output"]
    assert [call["type"] for call in calls] == ["function_call", "function_call"]
    outputs = [{"type": "function_call_output", "call_id": c["call_id"], "output": "sunny"} for c in calls]
    say(gateway, "responses", outputs, tools=[TOOL], previous_response_id=first["id"])
    messages = sent(provider)["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "tool"]
    given = [call["function"]["arguments"] for call in messages[1]["tool_calls"]]
    assert given == [call["arguments"] for call in calls]


def test_a_kept_response(gateway: Gateway) -> None:
    """A response is there from the moment that it has ended, until it is deleted."""
    for stream in (False, True):
        response = made(say(gateway, "responses", stream=stream))
        with gateway.client() as client:
            url = f"/v1/responses/{response['id']}"
            got = client.get(url)
            assert got.json() == response
            assert got.headers["x-request-id"]
            again = client.get(url, params={"stream": "true"})
            assert (again.status_code, error("responses", again)["param"]) == (400, "stream")
            gone = client.delete(url)
            assert gone.json() == {"id": response["id"], "object": "response", "deleted": True}
            for again in (client.get(url), client.delete(url)):
                assert again.status_code == 404
                assert error("responses", again)["code"] == "response_not_found"
        refused = say(gateway, "responses", previous_response_id=response["id"])
        assert refused.status_code == 404
        assert error("responses", refused)["code"] == "previous_response_not_found"


def test_a_lost_link(gateway: Gateway) -> None:
    """Where a response in the middle was deleted, nothing can be built on what follows it."""
    first = made(say(gateway, "responses"))
    second = made(say(gateway, "responses", previous_response_id=first["id"]))
    with gateway.client() as client:
        client.delete(f"/v1/responses/{first['id']}")
    assert say(gateway, "responses", previous_response_id=second["id"]).status_code == 404


def test_not_kept(gateway: Gateway, provider: FakeProvider) -> None:
    """`store: false` keeps nothing, and neither does a call that failed."""
    response = say(gateway, "responses", store=False).json()
    assert response["store"] is False
    provider.script("cut-end;words=20")
    failed = made(say(gateway, "responses", stream=True))
    with gateway.client() as client:
        for each in (response, failed):
            assert client.get(f"/v1/responses/{each['id']}").status_code == 404


def test_a_conversation_is_bounded_in_bytes(own_root: Path, provider: FakeProvider) -> None:
    """One that has become longer than the memory of a worker should hold is told so, in sizes; an earlier
    response can be built on, and what it was made from can be asked for."""
    ids: list[str | None] = [None]
    with Gateway(own_root, deployment(provider.url)) as gateway:
        for size, answered in ((30_000_000, 1), (30_000_000, 1), (6_500_000, 200_000)):
            asked = "x" * size + f' fake:{{"words": {answered}}}'
            said = say(gateway, "responses", asked, previous_response_id=ids[-1])
            assert said.status_code == 200
            ids.append(said.json()["id"])
        before = provider.stats().requests
        refused = say(gateway, "responses", "and?", previous_response_id=ids[-1])
        told = error("responses", refused)
        assert (refused.status_code, told["code"]) == (400, "conversation_too_long")
        assert re.search(r"last 3 responses have \d{8} bytes, of 67108864 at most", told["message"])
        with gateway.client() as client:
            assert client.get(f"/v1/responses/{ids[-1]}/input_items").status_code == 400
            assert len(client.get(f"/v1/responses/{ids[1]}/input_items").json()["data"]) == 1
            counted = {"model": "gpt-4o", "input": "x", "previous_response_id": ids[-1]}
            assert client.post("/v1/responses/input_tokens", json=counted).status_code == 400
        assert provider.stats().requests == before
        assert say(gateway, "responses", "and?", previous_response_id=ids[-2]).status_code == 200


def test_who_asks_for_long_responses_and_reads_none(own_root: Path, provider: FakeProvider) -> None:
    """They take a bounded part of the memory, and give it back when they are gone."""
    with Gateway(own_root, deployment(provider.url)) as gateway, ExitStack() as left:
        kept = say(gateway, "responses", instructions="x" * 20_000_000).json()["id"]
        path = f"/v1/responses/{kept}"
        before = resident(gateway)
        asked = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode()
        for _ in range(40):
            left.enter_context(socket.create_connection(("127.0.0.1", gateway.port))).sendall(asked)
        until(lambda: resident(gateway) > before + 200_000_000)
        with gateway.client() as client:
            short = say(gateway, "responses").json()["id"]
            assert client.get(f"/v1/responses/{short}").status_code == 200
        assert resident(gateway) < before + 600_000_000
        left.close()
        with gateway.client() as client:
            assert len(client.get(path).content) > 20_000_000


def resident(gateway: Gateway) -> int:
    """The memory that a gateway has."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


@pytest.mark.parametrize(("name", "owner"), [("other", None), ("app", "app later")])
def test_another_keys_response(own_root: Path, provider: FakeProvider, name: str, owner: str | None) -> None:
    """A response is its key's alone: to others it does not exist, nor to one that has the name later."""
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=datetime.now(UTC)),
        ApiKey(name=name, sha256=hash_key(OTHER), created_at=datetime.now(UTC), owner=owner),
    )
    with Gateway(own_root, deployment(provider.url), keys=keys) as gateway:
        response = say(gateway, "responses").json()
        with gateway.client() as client:
            client.headers["authorization"] = f"Bearer {OTHER}"
            url = f"/v1/responses/{response['id']}"
            assert client.get(url).status_code == 404
            assert client.delete(url).status_code == 404
            built = client.post(
                "/v1/responses",
                json={"model": "gpt-4o", "input": "x", "previous_response_id": response["id"]},
            )
            assert built.status_code == 404
            client.headers["authorization"] = "Bearer nobody"
            assert client.get(url).status_code == 401
        with gateway.client() as client:
            assert client.get(url).status_code == 200


def test_with_bodies_off_nothing_is_kept(own_root: Path, provider: FakeProvider) -> None:
    """Where bodies are kept out of records, responses are not kept either, and say so."""
    with Gateway(own_root, deployment(provider.url), bodies=False) as gateway:
        response = say(gateway, "responses", "zanzibar").json()
        assert response["store"] is False
        refused = say(gateway, "responses", previous_response_id=response["id"])
        assert refused.status_code == 404
        assert "bodies are off" in error("responses", refused)["message"]
        kept = b"".join(path.read_bytes() for path in own_root.glob("ledger.db*"))
        assert b"zanzibar" not in kept


def test_state_outlives_a_kill(own_root: Path, provider: FakeProvider) -> None:
    """A response whose end the client has seen can be built on after the worker was killed."""
    with Gateway(own_root, deployment(provider.url)) as gateway:
        response = made(say(gateway, "responses", stream=True))
        gateway.kill()
        gateway.restart()
        with gateway:
            assert say(gateway, "responses", previous_response_id=response["id"]).status_code == 200
            assert len(sent(provider)["messages"]) == 3


def test_a_ledger_that_cannot_be_written(own_root: Path, provider: FakeProvider) -> None:
    """An answer that was paid for is delivered all the same, and says that it is not kept."""
    with Gateway(own_root, deployment(provider.url)) as gateway:
        assert made(say(gateway, "responses"))["store"]
        with closing(sqlite3.connect(own_root / "ledger.db")) as ledger:
            ledger.execute("DROP TABLE responses")
        for stream in (False, True):
            response = say(gateway, "responses", stream=stream)
            end = gateway.closed(response.headers["x-request-id"])
            assert made(response)["store"] is end["response"]["store"] is False
            assert text("responses", response, stream=stream)
        away = say(gateway, "responses", previous_response_id="resp_0")
        assert away.status_code == 503
        assert error("responses", away)["code"] == "responses_unavailable"


def test_the_real_client(gateway: Gateway) -> None:
    """OpenAI's own client understands every event and every object."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        first = client.responses.create(model="gpt-4o", input='fake:{"words": 3}')
        assert first.output_text == "word0 word1 word2"
        with client.responses.stream(
            model="gpt-4o", input='fake:{"words": 5}', previous_response_id=first.id
        ) as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            last = stream.get_final_response()
        assert "".join(deltas) == last.output_text == "word0 word1 word2 word3 word4"
        assert last.usage is not None
        assert last.usage.output_tokens == 5
        assert client.responses.retrieve(last.id).output_text == last.output_text
        with client.responses.stream(
            model="gpt-4o",
            input='fake:{"fault": "tool-split"}',
            tools=[{"type": "function", "name": "look_up", "parameters": {}, "strict": False}],
        ) as stream:
            called = [item for item in stream.get_final_response().output if item.type == "function_call"]
        assert [json.loads(call.arguments)["days"] for call in called] == [3, 1]
        client.responses.delete(last.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(last.id)
        broken = client.responses.create(
            model="gpt-4o", input='fake:{"fault": "cut-end", "words": 9}', stream=True
        )
        assert [event.type for event in broken][-1] == "response.failed"


def test_input_items(gateway: Gateway) -> None:
    """What a response was made from is listed in pages, newest first, with what it builds on."""
    first = say(gateway, "responses", "one").json()
    second = say(gateway, "responses", "two", previous_response_id=first["id"]).json()
    with gateway.client() as client:
        path = f"/v1/responses/{second['id']}/input_items"
        newest = client.get(path).json()
        oldest = client.get(path, params={"order": "asc", "limit": 2}).json()
        rest = client.get(path, params={"order": "asc", "after": oldest["last_id"]}).json()
        assert client.get(path, params={"limit": 0}).status_code == 400
        assert client.get(path, params={"order": "odd"}).json()["error"]["param"] == "order"
        assert client.get("/v1/responses/resp_0/input_items").status_code == 404
    texts = [item["content"][0]["text"] for item in newest["data"]]
    assert (texts[0], texts[-1], len(texts)) == ("two", "one", 3)
    assert (oldest["has_more"], rest["has_more"]) == (True, False)
    assert [item["id"] for item in oldest["data"] + rest["data"]] == [
        item["id"] for item in reversed(newest["data"])
    ]
