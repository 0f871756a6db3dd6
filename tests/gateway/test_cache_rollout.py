"""A cache while a rollout runs: which calls count does not depend on the arm that they went to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Caching, Canary, Retry, Served
from airboss.domain.release import ModelVersion, Release
from airboss.releases.build import sealed
from airboss.rollouts.assign import Side, arm
from airboss.testing import FakeProvider
from tests.gateway.edge_wire import post
from tests.support.fake import held
from tests.support.gateway import Gateway, deployment
from tests.support.wait import until
from tests.support.wire_http import Answer, Wire

SALT = "salt"
MESSAGES = [{"role": "user", "content": "hello"}]
USERS = {arm(SALT, f"user:u{n}", 0.5): f"u{n}" for n in range(20)}
"""A user on each arm."""


@pytest.fixture
def gateway(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker whose deployment has a cache, and a candidate for half of the users."""
    model = ModelVersion(provider="fake", kind="openai-compatible", model="up")
    plain = deployment(provider.url, cache=Caching(ttl_s=600), retry=Retry(attempts=1))
    candidate = sealed(Release(digest="", name="next", model=model, prompt="Be brief."))
    served = Served(release=candidate, target=plain.target)
    canary = Canary(rollout="r", served=served, weight=0.5, salt=SALT)
    with Gateway(own_root, msgspec.structs.replace(plain, canary=canary)) as running:
        yield running


def ask(gateway: Gateway, side: Side, content: str, cache_control: str = "") -> httpx2.Response:
    """One call of the arm's user."""
    body = {"model": "gpt-4o", "user": USERS[side], "messages": [{"role": "user", "content": content}]}
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json=body, headers={"cache-control": cache_control})
    assert answer.headers["x-airboss-arm"] == side
    return answer


def recorded(gateway: Gateway, answer: httpx2.Response | Answer) -> str:
    """What the call's record says of the cache."""
    cache: str = gateway.closed(answer.headers["x-request-id"])["cache"]
    return cache


@pytest.mark.parametrize("first", ["stable", "canary"])
def test_what_one_arm_has_an_answer_to(gateway: Gateway, provider: FakeProvider, first: Side) -> None:
    """Neither arm's call counts: on one it is a hit, on the other it is asked, as its client is told, and
    recorded as known. What has no answer counts on both, and so does who wants a fresh one."""
    second = next(side for side in USERS if side != first)
    assert recorded(gateway, ask(gateway, first, "hello")) == "miss"
    until(lambda: recorded(gateway, ask(gateway, first, "hello")) == "hit")
    before = provider.stats().requests
    known = ask(gateway, second, "hello")
    assert provider.stats().requests == before + 1
    assert known.headers["x-airboss-cache"] == "miss"
    assert recorded(gateway, known) == "known"
    until(lambda: recorded(gateway, ask(gateway, second, "hello")) == "hit")
    assert recorded(gateway, ask(gateway, second, "something else")) == "miss"
    assert recorded(gateway, ask(gateway, second, "hello", "no-cache")) == "miss"


@pytest.mark.parametrize("fault", ["ok", "503"])
@pytest.mark.parametrize("second", ["stable", "canary"])
def test_what_is_on_its_way(gateway: Gateway, provider: FakeProvider, fault: str, second: Side) -> None:
    """Who asks what is just being asked does not count, on whichever arm, and however that ends: one failure
    of the provider is one."""
    provider.script(fault)
    with Wire(gateway.port) as one, Wire(gateway.port) as other:
        with held(provider):
            for wire, user in ((one, USERS["stable"]), (other, USERS[second])):
                asked = {"model": "gpt-4o", "user": user, "messages": MESSAGES}
                wire.send(post(json.dumps(asked).encode()))
                until(lambda: gateway.frames()[0])
            gateway.heard()
        first, answer = one.answer(), other.answer()
    assert first is not None
    assert answer is not None
    assert [each.headers["x-airboss-arm"] for each in (first, answer)] == ["stable", second]
    assert recorded(gateway, first) == "miss"
    assert recorded(gateway, answer) == ("hit" if fault == "ok" and second == "stable" else "known")
