"""A wall clock that is set forward or back while a worker serves."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from airboss.domain.plan import Limits
from airboss.domain.ports import ApiKey
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Clock, Gateway, deployment

HOUR_S = 3600
LIMIT = 3
ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S, -86_400, 400 * 86_400])
def test_a_limit_goes_by_the_time_that_passes(own_root: Path, provider: FakeProvider, step_s: int) -> None:
    """A step opens no limit that is used up, and shuts none for longer than the minute that it has left."""
    clock = Clock(own_root)
    key = ApiKey(
        name="app",
        sha256=hash_key(KEY),
        created_at=datetime.now(UTC),
        limits=Limits(requests_per_minute=LIMIT),
    )
    with Gateway(own_root, deployment(provider.url), keys=(key,)) as gateway:
        assert [gateway.chat().status_code for _ in range(LIMIT + 1)] == [*[200] * LIMIT, 429]
        clock.set(wall_s=step_s)
        refused = gateway.chat()
        assert refused.status_code == 429
        assert float(refused.headers["retry-after"]) <= 62
        clock.set(wall_s=step_s, passed_s=61)
        assert [gateway.chat().status_code for _ in range(LIMIT + 1)] == [*[200] * LIMIT, 429]


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
def test_calls_go_on(own_root: Path, provider: FakeProvider, step_s: int) -> None:
    """Calls under way, kept connections, kept responses and records go on as if nothing were, and no age is
    negative."""
    clock = Clock(own_root)
    with Gateway(own_root, deployment(provider.url)) as gateway, gateway.client() as client:
        first = client.post("/v1/responses", json={"model": "gpt-4o", "input": "hi"}).raise_for_status()
        provider.script("ok;words=20;tokens_per_s=20")
        with client.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as stream:
            lines = stream.iter_lines()
            next(lines)
            clock.set(wall_s=step_s)
            said = [line for line in lines if line]
        assert said[-1] == "data: [DONE]"
        follows = {"model": "gpt-4o", "input": "and?", "previous_response_id": first.json()["id"]}
        answers = [
            client.post("/v1/responses", json=follows),
            client.post("/v1/chat/completions", json=ASKED),
        ]
        assert [each.status_code for each in answers] == [200, 200]
        ids = [each.headers["x-request-id"] for each in (first, stream, *answers)]
        assert ids == sorted(ids)
        ends = [gateway.closed(each) for each in ids]
        assert {each["status"] for each in ends} == {"ok"}
        assert all(0 <= each["latency_ms"] < 30_000 for each in ends)
        shown = httpx2.get(f"{gateway.url}/metrics").text
        ages = [
            float(age) for age in re.findall(r"^airboss_\w+(?:age|lag)_seconds (\S+)$", shown, re.MULTILINE)
        ]
        assert ages
        assert min(ages) >= 0
