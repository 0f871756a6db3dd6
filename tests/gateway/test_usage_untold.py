"""The usage of a stream whose upstream tells none: who asked for it gets what the record has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import Caching
from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider
from tests.gateway.test_cache import kept, state
from tests.gateway.test_continuation import chunks
from tests.gateway.test_unasked_streams import BEDROCK, events, frames, parts
from tests.gateway.test_unasked_streams import TEXT as BLOCK
from tests.support.dialects import SECRET
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.wait import until

ASKS: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
MODELS = ("gpt-4o", "masks", "bedrock", "claude", "gemini")
UNTOLD = {
    "anthropic": events(
        {"type": "message_start", "message": {"id": "m", "model": "c"}},
        *BLOCK,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ),
    "gemini": events(parts("One "), parts("two.", finishReason="STOP")),
    "bedrock": frames(**{name: BEDROCK[name] for name in list(BEDROCK)[:5]}),
}
"""Of those with words of their own."""
TEXT = "Twelve words are said here, so that there is something to count."


@pytest.fixture
def gateway(provider: FakeProvider, own_root: Path, tmp_path: Path) -> Iterator[Gateway]:
    """A worker with a deployment for each way that a stream takes."""
    secret = tmp_path / "key"
    secret.write_text(SECRET)
    usual: dict[str, Any] = {"aliases": (), "api_key_ref": f"file:{secret}", "region": "eu-west-1"}
    base = provider.url.removesuffix("/v1")
    plans = [
        deployment(provider.url, continuation="on"),
        deployment(provider.url, name="kept", aliases=(), cache=Caching()),
        deployment(provider.url, name="masks", aliases=(), policy=policy_of("mask", None)),
        deployment(provider.url, name="blocks", aliases=(), policy=policy_of("block", ("email",))),
        deployment(provider.url, name="claude", kind="anthropic", upstream_model="claude", **usual),
        deployment(f"{base}/v1beta", name="gemini", kind="gemini", **usual),
        deployment(base, name="bedrock", kind="bedrock", **usual),
    ]
    with Gateway(own_root, *plans) as running:
        yield running


def told(response: Any) -> list[dict[str, Any]]:
    """What events of usage a whole stream has; they are its last."""
    said = chunks(response)
    found = [each for each in said if not each["choices"]]
    assert all(each.get("usage") for each in found)
    assert found == said[len(said) - len(found) :]
    return found


@pytest.mark.parametrize("model", MODELS[:3])
def test_who_asked_gets_the_records(gateway: Gateway, provider: FakeProvider, model: str) -> None:
    """In one event, like those before it, and nobody else does."""
    provider.script(*[f"no-usage;text={TEXT}"] * 2)
    answer = gateway.chat("hello there", model=model, **ASKS)
    (event,) = told(answer)
    end = gateway.closed(answer.headers["x-request-id"])
    assert end["usage_estimated"] is True
    assert event["usage"] == {
        "prompt_tokens": end["input_tokens"],
        "completion_tokens": end["output_tokens"],
        "total_tokens": end["input_tokens"] + end["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": end["cached_input_tokens"]},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert event["usage"]["completion_tokens"] > 5
    first = chunks(answer)[0]
    assert [event[name] for name in ("id", "object", "created", "model")] == [
        first[name] for name in ("id", "object", "created", "model")
    ]
    assert not told(gateway.chat("hello there", model=model, stream=True))


@pytest.mark.parametrize("kind", UNTOLD)
def test_who_asked_others(upstream: SaidUpstream, own_root: Path, tmp_path: Path, kind: Any) -> None:
    """Whose words they are makes no difference."""
    secret = tmp_path / "key"
    secret.write_text(SECRET)
    plan = deployment(upstream.url, kind=kind, api_key_ref=f"file:{secret}", region="eu-west-1")
    with Gateway(own_root, plan) as gateway:
        upstream.reset()
        upstream.body = UNTOLD[kind]
        answer = gateway.chat("hello there", **ASKS)
        (event,) = told(answer)
        end = gateway.closed(answer.headers["x-request-id"])
        assert end["usage_estimated"] is True
        assert (event["usage"]["prompt_tokens"], event["usage"]["completion_tokens"]) == (
            end["input_tokens"],
            end["output_tokens"],
        )
        assert not told(gateway.chat("hello there", stream=True))


@pytest.mark.parametrize("model", MODELS)
def test_what_was_told_is_told_once(gateway: Gateway, model: str) -> None:
    """By the upstream."""
    answer = gateway.chat("hello there", model=model, **ASKS)
    assert len(told(answer)) == 1
    assert gateway.closed(answer.headers["x-request-id"])["usage_estimated"] is False


def test_texts_have_it_too(gateway: Gateway, provider: FakeProvider) -> None:
    """As their events are called."""
    provider.script("no-usage")
    with gateway.client() as client:
        answer = client.post("/v1/completions", json={"model": "gpt-4o", "prompt": "hi"} | ASKS)
    (event,) = told(answer)
    assert event["object"] == chunks(answer)[0]["object"] == "text_completion"


@pytest.mark.parametrize("last", ["no-usage", "ok"])
def test_an_answer_that_was_gone_on_with(gateway: Gateway, provider: FakeProvider, last: str) -> None:
    """The first prompt and all of the output, once, whoever told it."""
    whole = told(gateway.chat("hello there", **ASKS))[0]["usage"]
    provider.script("cut-reset;after=5", last)
    answer = gateway.chat("hello there", **ASKS)
    (event,) = told(answer)
    end = gateway.closed(answer.headers["x-request-id"])
    assert [each["why"] for each in end["attempts"]] == ["first", "continuation"]
    assert abs(event["usage"]["prompt_tokens"] - whole["prompt_tokens"]) <= 6
    assert abs(event["usage"]["completion_tokens"] - whole["completion_tokens"]) <= 4


def test_what_is_kept_has_it(gateway: Gateway, provider: FakeProvider) -> None:
    """Once, with the numbers that it was brought with."""
    provider.script("no-usage")
    brought = told(gateway.chat("hello there", model="kept", **ASKS))
    until(lambda: kept(gateway) == 1)
    again = gateway.chat("hello there", model="kept", **ASKS)
    assert state(again) == "hit"
    assert [each["usage"] for each in told(again)] == [each["usage"] for each in brought]


def test_a_whole_answer_that_is_kept_has_it(gateway: Gateway, provider: FakeProvider) -> None:
    """For a stream that is made of it."""
    provider.script("no-usage")
    end = gateway.closed(gateway.chat("hello there", model="kept").headers["x-request-id"])
    until(lambda: kept(gateway) == 1)
    (event,) = told(gateway.chat("hello there", model="kept", **ASKS))
    assert event["usage"]["completion_tokens"] == end["output_tokens"] > 0


def test_a_stream_that_is_blocked(gateway: Gateway, provider: FakeProvider) -> None:
    """It ends well for its client, with what it took until then."""
    provider.script("ok;text=Hello, you can write to jane.roe@example.org about it.")
    answer = gateway.chat("hello there", model="blocks", **ASKS)
    (event,) = told(answer)
    assert chunks(answer)[-2]["choices"][0]["finish_reason"] == "content_filter"
    end = gateway.closed(answer.headers["x-request-id"])
    assert (end["status"], event["usage"]["prompt_tokens"]) == ("refused", end["input_tokens"])


@pytest.mark.parametrize(
    "usage", ["{}", '{"prompt_tokens":3}', '{"total_tokens":9}', '{"prompt_tokens":"x"}']
)
def test_half_of_it_is_none(upstream: SaidUpstream, own_root: Path, usage: str) -> None:
    """What is counted is told in its place, also of a whole answer that is kept and then streamed."""
    upstream.reset()
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    with Gateway(own_root, deployment(upstream.url, cache=Caching())) as gateway:
        upstream.stream([{"content": TEXT}])
        upstream.events[-1] = json.dumps({"id": "u", "choices": [], "usage": json.loads(usage)})
        (event,) = told(gateway.chat("a stream", **ASKS))
        assert event["usage"]["completion_tokens"] > 10
        until(lambda: kept(gateway) == 1)
        upstream.reset()
        upstream.body = {"id": "u", "model": "up", "choices": [choice], "usage": json.loads(usage)}
        gateway.chat("whole")
        until(lambda: kept(gateway) == 2)
        again = gateway.chat("whole", **ASKS)
        assert state(again) == "hit"
        assert told(again)[0]["usage"] == event["usage"] | {
            "prompt_tokens": told(again)[0]["usage"]["prompt_tokens"],
            "total_tokens": told(again)[0]["usage"]["total_tokens"],
        }
