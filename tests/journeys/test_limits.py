"""Promise: limits are limits. Four workers together admit what one would, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss
from tests.support.wait import until

FLOOD_S = 4.0
LIMIT = 240


class Calls:
    """Calls by one key, each on a connection of its own, so that any worker may get it."""

    def __init__(self, airboss: Airboss, key: str) -> None:
        self.base_url = airboss.ready["base_url"]
        self.headers = {"authorization": f"Bearer {key}", "connection": "close"}

    def chat(self, content: str = 'fake:{"words": 3}', **members: Any) -> httpx2.Response:
        """One call, answered whole."""
        body = {"model": "support", "messages": [{"role": "user", "content": content}]} | members
        return httpx2.post(f"{self.base_url}/chat/completions", json=body, headers=self.headers, timeout=30.0)

    def flood(self, seconds: float, *, threads: int = 12) -> Counter[int]:
        """As many as come in, by status."""
        counts: Counter[int] = Counter()
        ends = time.monotonic() + seconds
        lock = threading.Lock()

        def call() -> None:
            while time.monotonic() < ends:
                try:
                    status = self.chat().status_code
                except httpx2.TransportError:
                    status = 0
                with lock:
                    counts[status] += 1

        callers = [threading.Thread(target=call) for _ in range(threads)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
        return counts

    @contextmanager
    def under_way(self, n: int, seconds: float = 20.0) -> Iterator[None]:
        """So many calls that last, until the end of the block at most."""
        slow = f'fake:{{"words": {int(seconds * 10)}, "tokens_per_s": 10}}'
        with httpx2.Client(headers=self.headers, timeout=60.0) as client:
            streams = []
            try:
                for _ in range(n):
                    body = {"model": "support", "stream": True}
                    body |= {"messages": [{"role": "user", "content": slow}]}
                    request = client.build_request("POST", f"{self.base_url}/chat/completions", json=body)
                    stream = client.send(request, stream=True)
                    assert stream.status_code == 200, stream.read()
                    streams.append(stream)
                yield
            finally:
                for stream in streams:
                    stream.close()


def key_of(airboss: Airboss, name: str) -> Calls:
    """Calls by a new key, once every gateway knows it."""
    secret = json.loads(airboss.verb("keys", "create", name, "--json"))["key"]
    headers = {"authorization": f"Bearer {secret}", "connection": "close"}
    models = f"{airboss.ready['base_url']}/models"
    known = [0]

    def all_know() -> bool:
        known[0] = known[0] + 1 if httpx2.get(models, headers=headers).status_code == 200 else 0
        return known[0] > 12

    until(all_know, timeout_s=20)
    return Calls(airboss, secret)


def kill(airboss: Airboss, name: str) -> None:
    """End a process at once, and wait until another has taken its place."""
    pid = until(lambda: airboss.pid(name), timeout_s=20)
    os.kill(pid, signal.SIGKILL)
    until(lambda: airboss.pid(name) not in {pid, None}, timeout_s=20)


def shown(airboss: Airboss, name: str) -> dict[str, Any]:
    """A key as `airboss keys list` shows it."""
    lines = airboss.verb("keys", "list", "--json").splitlines()
    return next(each for each in map(json.loads, lines) if each["name"] == name)


LIMITS = f"""
[keys.flooding]
limits = {{ requests_per_minute = {LIMIT} }}
[keys.again]
limits = {{ requests_per_minute = {LIMIT} }}
[keys.placed]
limits = {{ concurrency = 3 }}
[keys.poor]
budget = {{ usd = 0.0005, per = "day" }}
"""


@pytest.mark.parametrize("workers", [1, 4])
def test_a_flood_gets_the_limit_and_a_kill_gives_no_more(
    fake_process: FakeProvider, tmp_path: Path, workers: int
) -> None:
    """One worker or four: a flood gets its limit within one percent. With whoever counts killed in the middle
    of another, it still gets no more: what was counted is kept."""
    with Airboss(tmp_path / "a", fake(fake_process.url, LIMITS), "--workers", str(workers)) as airboss:
        counts = key_of(airboss, "flooding").flood(FLOOD_S)
        assert abs(counts[200] - LIMIT) <= max(1, LIMIT * 0.01), counts
        assert counts[429] > 0
        assert set(counts) == {200, 429}
        used = {"what": "requests", "limit": LIMIT, "used": counts[200]}
        until(lambda: shown(airboss, "flooding")["limits"] == [used], timeout_s=10)
        calls = key_of(airboss, "again")
        first = calls.flood(0.3)
        kill(airboss, "counters" if workers > 1 else "gateway-0")
        until(lambda: calls.chat().status_code in {200, 429}, timeout_s=10)
        counts = first + calls.flood(FLOOD_S)
        assert counts[200] <= LIMIT * 1.01 + 1, counts
        assert counts[200] >= LIMIT * 0.9, counts


def test_places_are_exact_across_workers_and_kills(fake_process: FakeProvider, tmp_path: Path) -> None:
    """Of three places three are taken, by four workers too; those of a killed worker are free again, and
    those of living ones stay taken when the owner is killed."""
    with Airboss(tmp_path / "a", fake(fake_process.url, LIMITS), "--workers", "4") as airboss:
        calls = key_of(airboss, "placed")
        with calls.under_way(3):
            refused = calls.chat()
            assert refused.status_code == 429
            assert "3 calls under way" in refused.json()["error"]["message"]
            assert refused.headers["retry-after"] == "1"
            assert [calls.chat().status_code for _ in range(20)] == [429] * 20
            kill(airboss, "counters")
            until(lambda: calls.chat().status_code == 429, timeout_s=10)
            assert {calls.chat().status_code for _ in range(20)} == {429}
            for number in range(4):
                kill(airboss, f"gateway-{number}")
            until(lambda: calls.chat().status_code == 200, timeout_s=20)
        until(lambda: all(calls.chat().status_code == 200 for _ in range(20)), timeout_s=10)


def test_without_whoever_counts_limited_calls_wait_and_others_go_on(
    fake_process: FakeProvider, tmp_path: Path
) -> None:
    """While the owner hangs, a limited call is told to come again in a second; a key without limits is
    served; when the owner is back, so is everybody."""
    with Airboss(tmp_path / "a", fake(fake_process.url, LIMITS), "--workers", "2") as airboss:
        limited, free = key_of(airboss, "placed"), key_of(airboss, "free")
        pid = until(lambda: airboss.pid("counters"))
        os.kill(pid, signal.SIGSTOP)
        try:
            answer = limited.chat()
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "counters_away"
            assert answer.headers["retry-after"] == "1"
            assert free.chat().status_code == 200
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: limited.chat().status_code == 200, timeout_s=10)


def test_spend_is_the_sum_of_records_whoever_is_killed(fake_process: FakeProvider, tmp_path: Path) -> None:
    """A budget is overspent by the calls under way at most, through kills of a worker and of the owner; what
    `keys list` shows is what the records say, and the refusals are records too."""
    with Airboss(tmp_path / "a", fake(fake_process.url, LIMITS), "--workers", "4") as airboss:
        calls = key_of(airboss, "poor")
        threads = 6
        counts = calls.flood(0.05, threads=threads)
        kill(airboss, "gateway-1")
        counts += calls.flood(0.05, threads=threads)
        kill(airboss, "counters")
        until(lambda: calls.chat().status_code in {200, 429}, timeout_s=10)
        while (more := calls.flood(0.3, threads=threads))[200] + more[503]:
            counts += more
        answer = calls.chat()
        assert answer.status_code == 429
        error = answer.json()["error"]
        assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
        assert "of 0.0005 USD today" in error["message"]
        assert answer.headers["x-should-retry"] == "false"
        airboss.settled()
        records = [record for record in airboss.records() if record["key"] == "poor"]
        costs = [Decimal(str(each["cost_usd"])) for each in records if each["cost_usd"] is not None]
        spent = sum(costs, Decimal(0))
        assert Decimal("0.0005") <= spent <= Decimal("0.0005") + threads * max(costs)
        until(lambda: Decimal(str(shown(airboss, "poor")["budget"]["spent_usd"])) == spent, timeout_s=10)
        refused = {each["error_type"] for each in records if each["status"] == "refused"}
        assert refused == {"budget_exceeded"}
