"""Who waits at the cache for an answer of a provider that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from airboss.testing import FakeProvider
from tests.gateway.edge_wire import post
from tests.gateway.test_cache import state, worker
from tests.support.fake import held
from tests.support.gateway import Gateway
from tests.support.said_upstream import said_upstream
from tests.support.wait import until
from tests.support.wire_http import Wire


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
    provider.script(*[fails] * asks)
    said = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    with ExitStack() as opened:
        callers = [opened.enter_context(Wire(gateway.port)) for _ in range(12)]
        with held(provider):
            for n, each in enumerate(callers):
                each.send(post(json.dumps(said | {"stream": n % 2 == 1}).encode()))
                until(lambda: len(gateway.frames()[0]) == 1)
            gateway.heard()
        answers = [each.answer() for each in callers]
    told = [each for each in answers if each is not None]
    assert [each.status for each in told] == [status] * 12
    assert len({each.json()["error"]["message"] for each in told}) == 1
    assert provider.stats().requests == asks
    closed = [gateway.closed(each.headers["x-request-id"]) for each in told]
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
