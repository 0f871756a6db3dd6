"""Instructions of Responses and Messages at servers whose models' templates take one, and that first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.domain.release import ModelVersion, Release
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say

Json = dict[str, Any]
SAID = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
ANSWER = {"id": "u", "object": "chat.completion", "model": "up", "choices": [SAID]}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
    """A worker with a server of OpenAI's dialect, one whose release has a prompt, and OpenAI's own chat."""
    model = ModelVersion(provider="fake", kind="openai-compatible", model="up")
    prompted = Release(digest="p" * 64, name="prompted", model=model, prompt="Be brief.")
    plans = (
        deployment(upstream.url, name="other", aliases=()),
        deployment(upstream.url, name="prompted", aliases=(), stable=prompted),
        deployment(upstream.url, name="openai", aliases=(), kind="openai", responses=False),
    )
    with Gateway(tmp_path_factory.mktemp("gateway"), *plans) as running:
        yield running


@pytest.fixture
def gateway(worker: Gateway, upstream: SaidUpstream) -> Gateway:
    """That worker; its upstream says yes."""
    upstream.reset()
    upstream.body = ANSWER
    return worker


def sent(upstream: SaidUpstream) -> list[tuple[str, Any]]:
    """The messages that went upstream last."""
    return [(each["role"], each["content"]) for each in json.loads(upstream.seen[-1])["messages"]]


def item(role: str, content: Any) -> Json:
    """A message."""
    return {"role": role, "content": content}


TURNS = [
    item("developer", "Ask first."),
    item("user", "hi"),
    item("assistant", "Hm."),
    item("developer", "Now."),
]
CODEX: Json = {"instructions": "You code.", "input": [*TURNS, item("user", "go on")]}


def test_all_of_them_stand_in_one_message(gateway: Gateway, upstream: SaidUpstream) -> None:
    """The release's own first, then in their order; what was said follows."""
    rest = [("user", "hi"), ("assistant", "Hm."), ("user", "go on")]
    say(gateway, "responses", model="other", **CODEX)
    assert sent(upstream) == [("system", "You code.\n\nAsk first.\n\nNow."), *rest]
    say(gateway, "responses", model="prompted", **CODEX)
    assert sent(upstream) == [("system", "Be brief.\n\nYou code.\n\nAsk first.\n\nNow."), *rest]


def test_openai_has_them_where_they_stand(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Its models tell a developer's words from others."""
    say(gateway, "responses", model="openai", **CODEX)
    roles = [role for role, _ in sent(upstream)]
    assert roles == ["system", "developer", "user", "assistant", "developer", "user"]


def test_what_is_built_on_keeps_its_place(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A conversation goes on with all that was said in it."""
    first = say(gateway, "responses", model="other", **CODEX).json()
    say(
        gateway,
        "responses",
        "more",
        model="other",
        previous_response_id=first["id"],
        instructions="You test.",
    )
    assert sent(upstream) == [
        ("system", "You test.\n\nAsk first.\n\nNow."),
        ("user", "hi"),
        ("assistant", "Hm."),
        ("user", "go on"),
        ("assistant", "Yes."),
        ("user", "more"),
    ]


def test_messages_say_them_in_parts(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A system message amid the turns, too."""
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    body: Json = {"model": "other", "max_tokens": 9, "system": parts}
    body["messages"] = [item("user", "hi"), item("system", "C"), item("user", "so?")]
    with gateway.client() as client:
        assert client.post("/v1/messages", json=body).status_code == 200
    texts = [{"type": "text", "text": each} for each in "ABC"]
    assert sent(upstream) == [("system", texts), ("user", "hi"), ("user", "so?")]


def test_one_that_stands_first_is_left_as_it_is(gateway: Gateway, upstream: SaidUpstream) -> None:
    """So is what a client of chat says itself."""
    say(gateway, "responses", "hi", model="other", instructions="You code.")
    assert sent(upstream) == [("system", "You code."), ("user", "hi")]
    with gateway.client() as client:
        client.post("/v1/chat/completions", json={"model": "other", "messages": TURNS})
    assert sent(upstream) == [(each["role"], each["content"]) for each in TURNS]
