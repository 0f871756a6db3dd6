"""Who waits at the cache for an answer of a provider that fails."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airboss.testing import FakeProvider
from tests.gateway.test_cache import state, worker
from tests.support.gateway import Gateway, at_once_s
from tests.support.said_upstream import said_upstream
from tests.support.wait import until


@pytest.fixture
def gateway(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker whose deployment keeps answers."""
    with worker(provider.url, own_root) as running:
        yield running


@pytest.mark.parametrize(("fails", "status"), [("500", 502), ("429;retry_after=30", 429)])
def test_a_provider_that_fails_is_not_asked_by_all_who_wait(
    gateway: Gateway, provider: FakeProvider, fails: str, status: int
) -> None:
    """They have the error of the first, each with a record of its own; who comes later asks again."""
    asks = 2 if status == 502 else 1  # the first tries twice, where it is not told to wait for long
    delay_s = max(0.5, 5 * at_once_s(gateway, calls=12))
    provider.script(*[f"{fails};delay_s={delay_s}"] * asks)
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(gateway.chat, "hello")
        until(lambda: provider.stats().requests == 1)
        asked = [first, *(pool.submit(gateway.chat, "hello", stream=n % 2 == 0) for n in range(11))]
        answers = [each.result() for each in asked]
    assert [each.status_code for each in answers] == [status] * 12
    assert len({each.json()["error"]["message"] for each in answers}) == 1
    assert provider.stats().requests == asks
    closed = [gateway.closed(each.headers["x-request-id"]) for each in answers]
    assert {(each["status"], each["error_type"]) for each in closed} == {("error", closed[0]["error_type"])}
    assert [len(each["attempts"]) > 0 for each in closed] == [True] + [False] * 11
    assert state(gateway.chat("hello")) == "miss"


@pytest.mark.parametrize("odd", [b'"embedding":[1e999]', b'"embedding":[1],"x":"\xff"'])
def test_vectors_that_cannot_be_read(own_root: Path, odd: bytes) -> None:
    """They are the client's as they came, and are not kept for another."""
    with said_upstream() as upstream, worker(upstream.url, own_root) as gateway, gateway.client() as client:
        upstream.body = b'{"object":"list","data":[{"index":0,%s}]}' % odd
        for _ in range(2):
            answer = client.post("/v1/embeddings", json={"model": "gpt-4o", "input": "hello"})
            assert (state(answer), answer.content) == ("miss", upstream.body)
        assert "Traceback" not in gateway.log
