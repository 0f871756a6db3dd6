"""Secrets that upstreams say again: none in what is kept for later calls, be it an answer or a response."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import Caching, DeploymentPlan, Semantic, Target
from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider
from tests.gateway.test_secrets_echoed import OWN_KEY, PROVIDER_KEY, TOKEN, parts
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say
from tests.support.wait import until

FREE = {"temperature": 0}


def plans(url: str, vectors_url: str, root: Path) -> list[DeploymentPlan]:
    """A deployment that keeps answers, one that does under a policy, and one that compares questions."""
    (root / "key").write_text(PROVIDER_KEY)
    plain = deployment(
        url, name="plain", aliases=(), api_key_ref=f"file:{root / 'key'}", cache=Caching(ttl_s=600)
    )
    compares = Target(
        provider="vectors", kind="openai-compatible", base_urls=(vectors_url,), upstream_model="embed"
    )

    def other(name: str, **changes: Any) -> DeploymentPlan:
        return deployment(
            url,
            name=name,
            aliases=(),
            api_key_ref=f"file:{root / 'key'}",
            **{"cache": plain.cache, **changes},
        )

    near = other("near", cache=Caching(semantic=Semantic(model="vectors")), compares=compares)
    masks = policy_of("mask", None)
    natives = other("native", kind="openai"), other("masked", kind="openai", policy=masks)
    return [plain, other("mask", policy=masks), near, *natives]


@pytest.fixture(scope="module")
def gateway(
    upstream: SaidUpstream, fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker with these."""
    root = tmp_path_factory.mktemp("kept")
    with Gateway(root, *plans(upstream.url, fake_process.url, tmp_path_factory.mktemp("key"))) as running:
        yield running


def files(gateway: Gateway) -> bytes:
    """All that is kept."""
    root = gateway.journal.parent
    return b"".join(each.read_bytes() for each in root.glob("*.db*"))


def answers(upstream: SaidUpstream, text: str, *, stream: bool = False, **choice: Any) -> None:
    """Have the upstream say this."""
    if stream:
        upstream.stream([{"content": text[at : at + 5]} for at in range(0, len(text), 5)])
        return
    said = {"role": "assistant", "content": text}
    upstream.events = []
    upstream.body = {
        "id": "u",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }


def native(response_id: str, *items: Any) -> dict[str, Any]:
    """A response of a provider that has them itself."""
    text = {"type": "output_text", "text": "Yes.", "annotations": []}
    said = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}
    made = {"id": response_id, "object": "response", "status": "completed", "output": [*items, said]}
    return made | {"store": True, "created_at": 1, "usage": {"input_tokens": 1, "output_tokens": 1}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("secret", [PROVIDER_KEY, OWN_KEY])
def test_an_answer_with_a_key(gateway: Gateway, upstream: SaidUpstream, secret: str, stream: bool) -> None:
    """It is its caller's alone: nobody is given it again, and it is in no file, however it was cut."""
    asked = f"What is it? {stream} {secret[:2]}"
    for _ in range(2):
        answers(upstream, f"It is {secret}.", stream=stream)
        assert gateway.chat(asked, model="plain", stream=stream).headers["x-airboss-cache"] == "miss"
    answers(upstream, "It is a secret.", stream=stream)
    assert gateway.chat(asked, model="plain", stream=stream).headers["x-airboss-cache"] == "miss"
    until(lambda: gateway.chat(asked, model="plain").headers["x-airboss-cache"] == "hit")
    assert secret.encode() not in files(gateway)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_masked(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """It is kept as it was masked."""
    answers(upstream, f"It is {TOKEN} now.", stream=stream)
    asked = f"Which {TOKEN}? {stream}"
    gateway.chat(asked, model="mask", stream=stream)
    until(lambda: gateway.chat(asked, model="mask").headers["x-airboss-cache"] == "hit")
    given = gateway.chat(asked, model="mask").json()
    assert given["choices"][0]["message"]["content"] == "It is [SECRET] now."
    assert TOKEN.encode() not in files(gateway)


def test_a_question_with_a_key(gateway: Gateway, upstream: SaidUpstream) -> None:
    """It is not kept to be compared; its answer is, for whoever asks the same."""
    answers(upstream, "No.")
    asked = f"Is the key of the shop {PROVIDER_KEY} or another one?"
    gateway.chat(asked, model="near")
    until(lambda: gateway.chat(asked, model="near").headers["x-airboss-cache"] == "hit")
    other = "Is the key of the house an old one or another one?"
    gateway.chat(other, model="near")
    until(lambda: other.encode() in files(gateway))
    assert PROVIDER_KEY.encode() not in files(gateway)


def test_a_response_that_broke_off(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Half of a key that it ends in is not kept for the next one to build on."""
    answers(upstream, f"It is {PROVIDER_KEY[:20]}", finish_reason="length")
    made = say(gateway, "responses", model="plain").json()
    assert (made["status"], made["store"]) == ("incomplete", True)
    with gateway.client() as client:
        kept = client.get(f"/v1/responses/{made['id']}").json()
    assert kept["output"][0]["content"][0]["text"] == "It is [REDACTED]"
    assert not [each for each in parts(PROVIDER_KEY) if each.encode() in files(gateway)]


def test_a_response_that_is_called_by_a_key(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Its provider's name for it is none to keep it by."""
    upstream.events = []
    upstream.body = native(PROVIDER_KEY)
    response = say(gateway, "responses", model="native", user=OWN_KEY)
    assert response.status_code == 200, response.text
    upstream.body["id"] = "resp_1"
    assert say(gateway, "responses", model="native", user=OWN_KEY).json()["store"] is True
    assert PROVIDER_KEY.encode() not in files(gateway)
    assert OWN_KEY.encode() not in files(gateway)


@pytest.mark.parametrize("model", ["mask", "masked"])
def test_what_a_client_said_is_kept_masked(gateway: Gateway, upstream: SaidUpstream, model: str) -> None:
    """Under a policy, whatever of it the response says again."""
    upstream.events = []
    if model == "mask":
        answers(upstream, "Yes.")
    else:
        search = {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search"}}
        upstream.body = native("resp_2", search)
    said = [{"role": "user", "content": f"Is {TOKEN} one?"}]
    tools = [{"type": "function", "name": "find", "description": TOKEN, "parameters": {}, "strict": False}]
    more = {"instructions": f"Hide {TOKEN}.", "metadata": {"what": TOKEN}, "tools": tools}
    made = say(gateway, "responses", said, model=model, **more)
    assert (made.status_code, made.json()["store"]) == (200, True)
    assert TOKEN.encode() not in files(gateway)
    assert b"[SECRET]" in files(gateway)
