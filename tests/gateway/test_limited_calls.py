"""Limits and budgets on every route, streamed and not: each call counts, and its tokens are those it used."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Allowance, Budget, Limits, Queue, Timeouts
from airboss.domain.ports import ApiKey
from airboss.domain.release import ModelVersion, Release
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from tests.support.fake import held
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.wait import until

SAID = 'fake:{"words": 7}'
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": SAID}]}
CUT: dict[str, Any] = {
    "messages": [{"role": "user", "content": 'fake:{"fault": "cut-close", "words": 9, "after": 4}'}],
    "stream": True,
}
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "chat-streamed": ("/v1/chat/completions", {**CHAT, "stream": True}),
    "text": ("/v1/completions", {"prompt": SAID}),
    "text-streamed": ("/v1/completions", {"prompt": SAID, "stream": True}),
    "responses": ("/v1/responses", {"input": SAID}),
    "responses-streamed": ("/v1/responses", {"input": SAID, "stream": True}),
    "messages": ("/v1/messages", {**CHAT, "max_tokens": 50}),
    "messages-streamed": ("/v1/messages", {**CHAT, "max_tokens": 50, "stream": True}),
    "embeddings": ("/v1/embeddings", {"input": SAID}),
    "cut": ("/v1/chat/completions", CUT),
}
TOKENS = 100_000
MODEL = ModelVersion(provider="fake", kind="openai-compatible", model="up")
LIMITS = Limits(requests_per_minute=2, tokens_per_minute=TOKENS, concurrency=3)
BUDGET = Budget(usd=Decimal(1))


def secret(name: str) -> str:
    """The secret of a key."""
    return f"ab_{name:k<43}"


def key(name: str, **terms: Any) -> ApiKey:
    """A key as the ledger has it."""
    return ApiKey(name=name, sha256=hash_key(secret(name)), created_at=datetime.now(UTC), **terms)


def a_minute_from(began: float, refused: httpx2.Response) -> bool:
    """Whether a refusal says to come back when the first call, made at `began`, is a minute ago."""
    left_s = 60 - (time.monotonic() - began)
    return left_s - 2 <= int(refused.headers["retry-after"]) <= 61


def metrics(gateway: Gateway) -> str:
    """All of them."""
    with gateway.client() as client:
        return client.get(f"{gateway.url}/metrics").text


@pytest.fixture(scope="module")
def limited(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker where each route has a key of its own, with limits and a budget."""
    plans = (
        deployment(fake_process.url, price=PRICE, continuation="off"),
        deployment(fake_process.url, name="unpriced", aliases=()),
    )
    keys = [key(name, limits=LIMITS, budget=BUDGET) for name in (*ROUTES, "counting", "poor")]
    each = Allowance(limits=Limits(requests_per_minute=3))
    keys += [key(name, each_user=each) for name in ("app", "beside")]
    with Gateway(tmp_path_factory.mktemp("limited"), *plans, keys=tuple(keys)) as running:
        yield running


def call(gateway: Gateway, name: str, path: str, body: dict[str, Any]) -> httpx2.Response:
    """One call by the key of that name."""
    headers = {"authorization": f"Bearer {secret(name)}"}
    return httpx2.post(gateway.url + path, json={"model": "gpt-4o"} | body, headers=headers, timeout=20.0)


@pytest.mark.parametrize("name", ROUTES)
def test_every_route_counts(limited: Gateway, name: str) -> None:
    """Two calls go, with what is left in their heads; the third is told when to come back, in its dialect's
    shape; what was reserved of tokens has become what the records say."""
    path, body = ROUTES[name]
    began = time.monotonic()
    first, second = call(limited, name, path, body), call(limited, name, path, body)
    for answer, left in ((first, "1"), (second, "0")):
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == left
    used = 0
    for answer in (first, second):
        closed = limited.closed(answer.headers["x-request-id"])
        assert closed["cost_usd"] > 0
        used += closed["input_tokens"] + (closed["output_tokens"] or 0)
    third = call(limited, name, path, body)
    assert third.status_code == 429
    assert a_minute_from(began, third)
    error = third.json()
    assert ("type" in error) == path.startswith("/v1/messages")
    assert error["error"]["code"] == "rate_limit_exceeded"
    assert "has had 2 requests in the last minute" in error["error"]["message"]
    until(lambda: used_tokens(limited, name) == used)


def test_a_user_is_the_same_on_every_route(limited: Gateway) -> None:
    """By whatever name a dialect has for it; who is over is told so in its shape, and others are served."""
    named: dict[str, dict[str, Any]] = {
        "chat": {"user": "ana"},
        "text": {"safety_identifier": "ana"},
        "responses": {"user": "ana"},
        "messages": {"metadata": {"user_id": "ana"}},
        "chat-streamed": {"user": "ana"},
        "embeddings": {"user": "ana"},
    }
    began = time.monotonic()
    said = [call(limited, "app", ROUTES[name][0], ROUTES[name][1] | who) for name, who in named.items()]
    assert [each.status_code for each in said] == [200, 200, 200, 429, 429, 429]
    assert said[2].headers["x-ratelimit-remaining-requests"] == "0"
    for refused in said[3:]:
        assert a_minute_from(began, refused)
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert "this user of key 'app' has had 3 requests" in refused.json()["error"]["message"]
        assert "ana" not in refused.text
    chat, body = ROUTES["chat"]
    assert call(limited, "app", chat, body | {"user": "bea"}).status_code == 200
    assert [call(limited, "app", chat, body).status_code for _ in range(4)] == [200, 200, 200, 429]
    text = httpx2.get(f"{limited.url}/metrics").text
    assert 'airboss_limit_refusals_total{limit="requests",name="app",scope="user"} 4.0' in text


@pytest.mark.parametrize("who", ["ana", "bea"])
def test_a_user_whom_a_header_names_is_limited_as_one_in_a_body(limited: Gateway, who: str) -> None:
    """Whatever the route: whoever says nothing in the body cannot have more by the header, nor the other way
    round; what the body says goes before."""
    header = {"authorization": f"Bearer {secret('beside')}", "x-airboss-metadata": f'{{"user_id": "{who}"}}'}

    def ask(name: str, **own: Any) -> int:
        path, body = ROUTES[name]
        sent = {"model": "gpt-4o"} | body | own
        return httpx2.post(limited.url + path, json=sent, headers=header, timeout=20.0).status_code

    assert [ask(name) for name in ("chat", "responses", "messages", "embeddings")] == [200, 200, 200, 429]
    assert ask("text-streamed") == 429
    assert call(limited, "beside", ROUTES["chat"][0], ROUTES["chat"][1] | {"user": who}).status_code == 429
    assert ask("chat", user=f"not {who}") == 200


def used_tokens(gateway: Gateway, name: str) -> int:
    """What /metrics says of a key's tokens."""
    text = httpx2.get(f"{gateway.url}/metrics").text
    line = f'airboss_limit_used{{limit="tokens",name="{name}",scope="key"}} '
    return int(float(text.split(line)[1].split("\n")[0]))


def test_counting_tokens_is_a_request(limited: Gateway) -> None:
    """It is asked of the provider or the engine, so it counts; it uses no tokens."""
    asked = {**CHAT, "max_tokens": 5}
    statuses = [call(limited, "counting", "/v1/messages/count_tokens", asked).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_a_model_that_nobody_knows_the_price_of_is_refused(limited: Gateway) -> None:
    """For a key with a budget, with the reason, and with a record."""
    refused = call(limited, "poor", "/v1/chat/completions", {**CHAT, "model": "unpriced"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "price_unknown")
    assert "give the model a price under [models]" in refused.json()["error"]["message"]
    closed = limited.closed(refused.headers["x-request-id"])
    assert (closed["status"], closed["error_type"]) == ("refused", "price_unknown")


def test_waiting_for_a_place_is_not_the_providers_time(provider: FakeProvider, own_root: Path) -> None:
    """`total_s` begins when the call goes to the provider: three that take turns are all answered."""
    plan = deployment(
        provider.url,
        limits=Limits(concurrency=1, queue=Queue(size=5, wait_s=10.0)),
        timeout=Timeouts(total_s=5.0),
    )
    with Gateway(own_root, plan) as gateway, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(gateway.chat, 'fake:{"words": 40, "tokens_per_s": 20}') for _ in range(3)]
        assert [each.result().status_code for each in asked] == [200, 200, 200]


def test_who_has_waited_is_served_by_what_is_in_force_then(provider: FakeProvider, own_root: Path) -> None:
    """By the plan of then; a key that was revoked meanwhile gets nothing."""
    limits = Limits(concurrency=1, queue=Queue(size=5, wait_s=15.0))
    before, after = (Release(digest=each * 64, name="assistant", model=MODEL) for each in ("a", "b"))
    app, gone = key("app"), key("gone")
    with (
        Gateway(
            own_root, deployment(provider.url, limits=limits, stable=before), keys=(app, gone)
        ) as gateway,
        ThreadPoolExecutor(3) as pool,
    ):
        with held(provider):
            first = pool.submit(call, gateway, "app", *ROUTES["chat"])
            until(lambda: len(gateway.frames()[0]) == 1)
            waiting = [pool.submit(call, gateway, name, *ROUTES["chat"]) for name in ("app", "gone")]
            until(lambda: 'limit="waiting",name="assistant",scope="deployment"} 2' in metrics(gateway))
            gateway.keys = (app, msgspec.structs.replace(gone, revoked_at=datetime.now(UTC)))
            gateway.publish(deployment(provider.url, limits=limits, stable=after))
            until(lambda: "airboss_plan_number 2" in metrics(gateway))
            assert not first.done()
        served, refused = [each.result() for each in waiting]
        assert first.result().headers["x-airboss-release"] == before.digest
        assert (served.status_code, served.headers["x-airboss-release"]) == (200, after.digest)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert provider.stats().requests == 2
        until(lambda: 'limit="concurrency",name="assistant",scope="deployment"} 0' in metrics(gateway))


def test_what_was_used_counts_though_it_cannot_be_recorded(provider: FakeProvider, own_root: Path) -> None:
    """Where the disk refuses a call's end, the call is not served; its tokens and money are spent all the
    same."""
    limits = Limits(tokens_per_minute=10 * TOKENS)
    app = key("app", limits=limits, budget=BUDGET)
    with Gateway(own_root, deployment(provider.url, price=PRICE), keys=(app,)) as gateway:
        pid, words = gateway.process.pid, 60_000
        whole = resource.prlimit(pid, resource.RLIMIT_FSIZE, (256 * 1024, resource.RLIM_INFINITY))
        body: dict[str, Any] = {"messages": [{"role": "user", "content": f'fake:{{"words": {words}}}'}]}
        refused = call(gateway, "app", ROUTES["chat"][0], body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "journal_unwritable")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, whole)
        answer = call(gateway, "app", *ROUTES["chat"])
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 10 * TOKENS - words
