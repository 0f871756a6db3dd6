"""What comparing questions costs and who pays it, with a hosted model that makes the vectors."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import Budget, Caching, DeploymentPlan, Semantic, Target
from airboss.domain.ports import ApiKey
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, PRICE, Gateway, deployment
from tests.support.said_upstream import said_upstream
from tests.support.wait import until

CACHE = Caching(semantic=Semantic(model="vectors"))
PATIENT = tuple(
    f"--set=gateway.{time}=60" for time in ("near:PATIENCE_S", "cached:PATIENCE_S", "breaker:OPEN_S")
)
"""A worker that goes on without a vector, or asks again for one, after no machine's pause, however busy."""


def worker(url: str, vectors_url: str, root: Path, budget: Budget | None = None) -> Gateway:
    """A worker that has questions compared at `vectors_url`."""
    key = ApiKey(name="app", sha256=hash_key(KEY), created_at=datetime.now(UTC), budget=budget)
    return Gateway(root, planned(url, vectors_url), keys=(key,), options=PATIENT)


def planned(url: str, vectors_url: str) -> DeploymentPlan:
    """Its deployment."""
    compares = Target(
        provider="vectors",
        kind="openai-compatible",
        base_urls=(vectors_url,),
        upstream_model="embed",
        price=PRICE,
    )
    return deployment(url, cache=CACHE, compares=compares, price=PRICE)


@pytest.fixture
def gateway(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own."""
    with worker(provider.url, provider.url, own_root) as running:
        yield running


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def whys(closed: dict[str, Any]) -> list[str]:
    """Why each attempt was made."""
    return [each["why"] for each in closed["attempts"]]


def test_a_comparison_is_paid_for_once(gateway: Gateway) -> None:
    """It is an attempt of the call, whose sums are those of all. The answer that is kept says what the model
    that wrote it used, and no more."""
    gateway.chat("warm up")
    first = gateway.chat("How are you?", stream=True)
    closed = gateway.closed(first.headers["x-request-id"])
    assert whys(closed) == ["cache", "first"]
    assert [each["model"] for each in closed["attempts"]] == ["embed", "up"]
    for name in ("input_tokens", "output_tokens"):
        assert closed[name] == sum(each["usage"][name] for each in closed["attempts"])
    costs = [Decimal(str(each["cost_usd"])) for each in closed["attempts"]]
    assert Decimal(str(closed["cost_usd"])) == sum(costs)
    assert min(costs) > 0
    again = until(lambda: _hit(gateway, "How are you?"))
    wrote = closed["attempts"][1]["usage"]
    usage = again.json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
        wrote["input_tokens"],
        wrote["output_tokens"],
    )
    exact = gateway.closed(again.headers["x-request-id"])
    assert (exact["cache"], exact["attempts"], exact["cost_usd"]) == ("hit", [], 0)


def _hit(gateway: Gateway, text: str) -> Any:
    answer = gateway.chat(text)
    return answer if answer.headers["x-airboss-cache"] == "hit" else None


def test_who_has_no_money_compares_nothing(provider: FakeProvider, own_root: Path) -> None:
    """A vector costs some: it is made after the call's money is reserved."""
    with worker(provider.url, provider.url, own_root, Budget(usd=Decimal("0.000001"))) as poor:
        poor.closed(poor.chat("How are you?").headers["x-request-id"])  # spends it all
        asked = provider.stats().requests
        answer = poor.chat("And now?")
        assert answer.status_code == 429
        assert provider.stats().requests == asked == 2
        assert poor.closed(answer.headers["x-request-id"])["attempts"] == []


def test_nobody_there_is_a_miss(provider: FakeProvider, own_root: Path, nobody: str) -> None:
    """Each call is answered; after a few failures nobody is asked any more."""
    with worker(provider.url, nobody, own_root) as alone:
        answers = [alone.chat(f"question {n}") for n in range(8)]
        assert {(each.status_code, each.headers["x-airboss-cache"]) for each in answers} == {(200, "miss")}
        ends = [alone.closed(each.headers["x-request-id"]) for each in answers]
        assert [whys(each) for each in ends] == [["cache", "first"]] * 5 + [["first"]] * 3
        assert {(each["status"], each["cost_usd"] > 0) for each in ends} == {("ok", True)}
        with alone.client() as client:
            counted = 'airboss_cache_comparisons_total{deployment="assistant",outcome="failed"} 8.0'
            assert counted in client.get("/metrics").text


@pytest.mark.parametrize("behaviour", ["html", "error-200", "500"])
def test_what_is_no_vector_is_a_miss(own_root: Path, provider: FakeProvider, behaviour: str) -> None:
    """Whatever a provider of vectors says, the call is answered."""
    with FakeProvider() as vectors, worker(provider.url, vectors.url, own_root) as running:
        vectors.script(behaviour)
        answer = running.chat("How are you?")
        assert (answer.status_code, answer.headers["x-airboss-cache"]) == (200, "miss")
        assert vectors.stats().requests == 1


def test_a_vector_for_who_leaves_is_recorded(own_root: Path, provider: FakeProvider) -> None:
    """Whoever leaves while the question is being compared has a record, with what that cost."""
    with FakeProvider(default="silence") as vectors, worker(provider.url, vectors.url, own_root) as running:
        body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"How are you?"}]}'
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
                b"content-length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
            )
            until(lambda: vectors.stats().requests, every_s=0.005)
        closed = running.only_closed()
        assert (closed["status"], closed["error_type"]) == ("cancelled", "client_disconnected")
        assert (closed["response"], whys(closed)[0]) == (None, "cache")
        assert closed["attempts"][0]["cost_usd"] > 0


def test_vectors_of_another_place_are_not_compared(own_root: Path, provider: FakeProvider) -> None:
    """Behind the same names another model may make them: they would be near to what they do not mean. Both
    here say the same of every question."""
    with said_upstream() as first, said_upstream() as second:
        for each in (first, second):
            each.body = {"data": [{"index": 0, "embedding": [1.0, 0.0]}], "model": "embed"}
        with worker(provider.url, first.url, own_root) as running:
            asked = map("How are you{}".format, itertools.accumulate(itertools.repeat("?")))
            # What is kept, with its vector, may be there a moment after the answer.
            until(lambda: running.chat(next(asked)).headers["x-airboss-cache"] == "hit; cosine=1.000")
            running.publish(planned(provider.url, second.url))
            until(lambda: running.chat("привет").headers["x-airboss-plan"] == "2")  # is not compared
            assert running.chat("How are you!").headers["x-airboss-cache"] == "miss"
            assert len(second.seen) == 1
