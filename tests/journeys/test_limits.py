"""Promise: limits are limits. Four workers together admit what one would, whoever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.telemetry.metrics import read_counts
from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss
from tests.support.files import holding
from tests.support.flood import Flood, Flooded
from tests.support.periods import within
from tests.support.valkey import ValkeyServer, valkey, valkey_process
from tests.support.wait import hold_still, until

__all__ = ["valkey", "valkey_process"]

LIMIT = 120
CALLS = 3 * LIMIT
SHORT = 'fake:{"words": 3}'
# Clients whose gateway is killed leave connections that are closed when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


class Calls:
    """Calls by one key, each on a connection of its own, so that any worker may get it."""

    def __init__(self, airboss: Airboss, key: str) -> None:
        self.base_url = airboss.ready["base_url"]
        self.key = key
        self.headers = {"authorization": f"Bearer {key}", "connection": "close"}

    def chat(self, content: str = SHORT, **members: Any) -> httpx2.Response:
        """One call, answered whole."""
        body = {"model": "support", "messages": [{"role": "user", "content": content}]} | members
        url = f"{self.base_url}/chat/completions"
        return httpx2.post(url, json=body, headers=self.headers, timeout=30.0, verify=False)

    def flood(self, calls: int, *, rate: float = 400.0, **members: Any) -> Counter[int]:
        """So many, on a timetable, by status."""
        flood = Flood(self.base_url, self.key, content=SHORT, **members)
        return flood.run(rate=rate, seconds=calls / rate).statuses

    def cut_short(self) -> None:
        """A stream that the provider breaks off."""
        cut = 'fake:{"fault": "cut-close", "words": 20, "after": 5}'
        assert "data: [DONE]" not in self.chat(cut, stream=True).text

    @contextmanager
    def under_way(self, n: int, seconds: float = 120.0, **members: Any) -> Iterator[None]:
        """So many calls that last, until the end of the block at most."""
        slow = f'fake:{{"words": {int(seconds * 10)}, "tokens_per_s": 10}}'
        with httpx2.Client(headers=self.headers, timeout=60.0) as client:
            streams = []
            try:
                for _ in range(n):
                    body: dict[str, Any] = {"model": "support", "stream": True} | members
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
        known[0] = known[0] + 1 if httpx2.get(models, headers=headers, verify=False).status_code == 200 else 0
        return known[0] > 12

    until(all_know, timeout_s=60)
    return Calls(airboss, secret)


def shown(airboss: Airboss, name: str) -> dict[str, Any]:
    """A key as `airboss keys list` shows it; nothing of it while the controller is away."""
    listed = airboss.api("keys") or {"keys": []}
    nothing: dict[str, Any] = {"limits": [], "budget": {"spent_usd": "nan"}}
    return next((each for each in listed["keys"] if each["name"] == name), nothing)


LIMITS = f"""
[keys.flooding]
limits = {{ requests_per_minute = {LIMIT} }}
[keys.again]
limits = {{ requests_per_minute = {LIMIT} }}
[keys.placed]
limits = {{ concurrency = 3 }}
[keys.stuck]
limits = {{ concurrency = 1 }}
[keys.hanging]
limits = {{ concurrency = 3 }}
[keys.app]
each_user = {{ limits = {{ requests_per_minute = {LIMIT} }} }}
[keys.poor]
budget = {{ usd = 0.003, per = "month" }}
[keys.people]
each_user = {{ budget = {{ usd = 0.002, per = "month" }} }}
"""


@pytest.fixture(scope="module")
def four(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """One with four workers. Each test has keys of its own, and kills what comes again."""
    root = tmp_path_factory.mktemp("limits") / "a"
    with Airboss(root, fake(fake_process.url, LIMITS), "--workers", "4") as airboss:
        yield airboss


def gets_the_limit(airboss: Airboss, counting: str) -> None:
    """A flood gets its limit within one percent. With whoever counts killed in the middle of another, it
    still gets no more: what was counted is kept."""
    counts = key_of(airboss, "flooding").flood(CALLS)
    assert abs(counts[200] - LIMIT) <= max(1, LIMIT * 0.01), counts
    assert set(counts) == {200, 429}
    used = {"what": "requests", "limit": LIMIT, "used": counts[200]}
    until(lambda: shown(airboss, "flooding")["limits"] == [used])
    calls = key_of(airboss, "again")
    began = time.monotonic()
    counts = calls.flood(LIMIT // 2)
    airboss.begun_anew(counting)
    until(lambda: calls.chat().status_code in {200, 429})
    for _ in range(3):
        counts += calls.flood(CALLS // 3)
    assert counts[200] <= minutes_since(began) * LIMIT * 1.01 + 1, counts
    assert counts[200] >= LIMIT * 0.98 - 4, counts  # a killed worker's lease and its calls under way


def minutes_since(began: float) -> int:
    """How many minutes calls that began then have had: one, but on a machine that is very busy."""
    return 1 + int((time.monotonic() - began) / 60)


def test_a_flood_gets_the_limit_of_one_worker(fake_process: FakeProvider, tmp_path: Path) -> None:
    """It counts itself, and a kill gives no more."""
    with Airboss(tmp_path / "a", fake(fake_process.url, LIMITS), "--workers", "1") as airboss:
        gets_the_limit(airboss, "gateway-0")


def spent_by_users(airboss: Airboss) -> list[Decimal]:
    """What each user has spent, as the ledger knows it; the least first."""
    with closing(sqlite3.connect(airboss.data / "ledger.db")) as ledger:
        return sorted(Decimal(usd) for (usd,) in ledger.execute("select usd from user_spends"))


def test_a_flood_harms_nobody_else(fake_process: FakeProvider, tmp_path: Path) -> None:
    """While one key floods, its calls get 200 or 429 and nothing else; liveness and another key's calls are
    answered as before; the worker's memory stays."""
    with Airboss(tmp_path / "a", fake(fake_process.url, LIMITS)) as airboss:
        base_url = airboss.ready["base_url"]
        flooding, other = key_of(airboss, "flooding").key, key_of(airboss, "other").key
        pid = airboss.pid("gateway-0")
        Flood(base_url, other).run(rate=50, seconds=1)

        async def all_at_once() -> tuple[Flooded, Flooded, Flooded]:
            return await asyncio.gather(
                Flood(base_url, flooding, connections=200).calls(rate=500, seconds=4),
                Flood(base_url, other).calls(rate=50, seconds=4),
                Flood(base_url, "", path="/healthz").calls(rate=20, seconds=4),
            )

        def as_before() -> bool:
            """Whether others are answered nearly as soon as without the flood."""
            alone_s = Flood(base_url, other).run(rate=50, seconds=3).quantile_s(0.9)
            flooded, beside, alive = asyncio.run(all_at_once())
            counts.append(flooded.statuses)
            assert (set(beside.statuses), set(alive.statuses)) == ({200}, {200})
            return max(beside.quantile_s(0.9) - alone_s, alive.quantile_s(0.9)) <= 0.25 + alone_s

        counts: list[Counter[int]] = []
        before = rss_mb(pid)
        # The generator and other tests share the cores with what it measures: what is so at any time is no
        # harm of the flood's. `benchmarks.limits` is the fine measure.
        assert any(as_before() for _ in range(4))
        assert set(counts[0]) == {200, 429}
        assert abs(counts[0][200] - LIMIT) <= max(1, LIMIT * 0.01), counts
        assert all(set(each) <= {200, 429} for each in counts)
        assert rss_mb(pid) < before + 40


def rss_mb(pid: int | None) -> float:
    """A process's memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


QUEUED = """
[keys.urgent]
priority = "high"
"""


def test_calls_wait_for_a_place_and_too_many_do_not(fake_process: FakeProvider, tmp_path: Path) -> None:
    """With a queue nobody is refused for want of a place; who is over its size is told when to come back."""
    limited = fake(fake_process.url, QUEUED).replace(
        'model = "fake"\n',
        'model = "fake"\nlimits = { concurrency = 2, queue = { size = 6, wait_s = 15 } }\n',
        1,
    )
    slow = 'fake:{"words": 3, "tokens_per_s": 10}'
    with Airboss(tmp_path / "a", limited, "--workers", "2") as airboss:
        calls = key_of(airboss, "waiting")
        found = Flood(calls.base_url, calls.key, content=slow, connections=8).run(rate=50, seconds=0.16)
        assert found.statuses == {200: 8}
        found = Flood(calls.base_url, calls.key, content=slow, connections=60).run(rate=200, seconds=0.3)
        assert set(found.statuses) == {200, 503}
        error = json.loads(found.bodies[503])["error"]
        assert error["code"] == "overloaded"
        assert "wait for a place at deployment 'support'" in error["message"]
        until(lambda: calls.chat().status_code == 200)


def test_limits_are_counted_in_valkey(
    fake_process: FakeProvider, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Two workers get one limit; while the server hangs, limited calls are told so within a second and others
    are served; one that has been started anew is told what has been spent."""
    within("month")
    config = fake(fake_process.url, f'[store]\ncounters = "{valkey.url}"\n{LIMITS}')
    with Airboss(tmp_path / "a", config, "--workers", "2") as airboss:
        assert airboss.pid("counters") is None
        counts = key_of(airboss, "flooding").flood(CALLS)
        assert abs(counts[200] - LIMIT) <= max(1, LIMIT * 0.01), counts
        assert set(counts) == {200, 429}
        app = key_of(airboss, "app")
        for user in ("ana", "bea"):
            counts = app.flood(CALLS // 2, user=user)
            assert abs(counts[200] - LIMIT) <= max(1, LIMIT * 0.01), counts
        poor, free, placed = (key_of(airboss, name) for name in ("poor", "free", "placed"))
        valkey.hang()
        try:
            answer = placed.chat()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"]["code"] == "counters_away"
            assert free.chat().status_code == 200
        finally:
            valkey.go_on()
        until(lambda: placed.chat().status_code == 200)
        until(lambda: poor.flood(100)[200] == 0, timeout_s=60)
        people = key_of(airboss, "people")
        until(lambda: people.flood(60, user="ana")[200] == 0, timeout_s=60)
        airboss.settled()
        until(lambda: [usd for usd in spent_by_users(airboss) if usd >= Decimal("0.002")], timeout_s=60)
        valkey.restart()
        until(lambda: poor.chat().status_code == 429)
        assert [poor.chat().status_code for _ in range(10)] == [429] * 10
        assert [people.chat(user="ana").status_code for _ in range(10)] == [429] * 10
        assert people.chat(user="bea").status_code == 200


def test_a_flood_gets_the_limit_of_four_workers(four: Airboss) -> None:
    """Another process counts, and a kill gives no more."""
    gets_the_limit(four, "counters")


def test_each_user_gets_the_limit_of_one_worker(four: Airboss) -> None:
    """One after the other, and who names no user; with the owner killed in between nobody gets more, and no
    name is where limits are counted, nor in any log."""
    calls = key_of(four, "app")
    everybody: list[dict[str, Any]] = [{"user": "ana@example.com"}, {"user": "bea@example.com"}, {}]
    for members in everybody:
        began = time.monotonic()
        counts = calls.flood(CALLS // 3, **members)
        four.begun_anew("counters")
        until(lambda: calls.chat(user="cec").status_code in {200, 429})
        counts += calls.flood(CALLS // 3, **members)
        most = minutes_since(began) * LIMIT * 1.01 + 1
        assert LIMIT * 0.98 - 4 <= counts[200] <= most, counts
    assert holding(four.data / "counters", b"user/app/")
    assert not holding(four.data / "counters", b"@example.com")
    assert "@example.com" not in four.log


def test_places_are_exact_across_workers_and_kills(four: Airboss) -> None:
    """Of three places three are taken, by four workers too; those of a killed worker are free again, and
    those of living ones stay taken when the owner is killed."""
    calls = key_of(four, "placed")
    # Where the owner was killed just now, a worker that has not found the new one yet says 503.
    until(lambda: {calls.chat().status_code for _ in range(20)} == {200})
    with calls.under_way(3):
        refused = calls.chat()
        assert refused.status_code == 429
        assert "3 calls under way" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "1"
        assert [calls.chat().status_code for _ in range(20)] == [429] * 20
        four.begun_anew("counters")
        # A worker that has not found the new owner yet says 503.
        until(lambda: {calls.chat().status_code for _ in range(20)} == {429})
        for number in range(4):
            four.begun_anew(f"gateway-{number}")
        until(lambda: calls.chat().status_code == 200)
    until(lambda: all(calls.chat().status_code == 200 for _ in range(20)))


def test_places_of_a_worker_that_hangs_are_free_again(four: Airboss) -> None:
    """Once it has not been heard of for ten seconds."""
    calls = key_of(four, "stuck")

    def busy() -> str | None:
        counts = read_counts(four.data / "run" / "metrics", but="controller")
        return next((name for name, each in counts.items() if each.gauges.get("requests_in_flight")), None)

    until(lambda: busy() is None)
    with calls.under_way(1):
        pid = four.pid(until(busy))
        assert calls.chat().status_code == 429
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: calls.chat().status_code == 200)
        finally:
            os.kill(pid, signal.SIGCONT)
    until(lambda: calls.chat().status_code == 200)


def test_without_whoever_counts_limited_calls_wait_and_others_go_on(four: Airboss) -> None:
    """While the owner hangs, a limited call is told to come again in a second; a key without limits is
    served; when the owner is back, so is everybody."""
    limited, free = key_of(four, "hanging"), key_of(four, "free")
    pid = until(lambda: four.pid("counters"))
    hold_still(pid)
    try:
        answer = limited.chat()
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "counters_away"
        assert answer.headers["retry-after"] == "1"
        assert free.chat().status_code == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: limited.chat().status_code == 200)


def test_spend_is_the_sum_of_records_whoever_is_killed(four: Airboss) -> None:
    """A budget is overspent by the calls under way at most, through kills of a worker and of the owner; what
    `keys list` shows is what the records say, and the refusals are records too."""
    within("month")
    calls = key_of(four, "poor")
    counts = calls.flood(10)
    four.begun_anew("gateway-1")
    counts += calls.flood(10)
    # Streams whose client goes, and one that the provider cuts, cost what they had produced.
    with calls.under_way(3):
        four.begun_anew("controller")
    calls.cut_short()
    four.begun_anew("counters")
    until(lambda: calls.chat().status_code in {200, 429})
    while (more := calls.flood(100))[200] + more[503]:
        counts += more
    answer = calls.chat()
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert "of 0.003 USD this month" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    four.settled()
    records = four.records("--key", "poor")
    costs = [Decimal(str(each["cost_usd"])) for each in records if each["cost_usd"] is not None]
    spent = sum(costs, Decimal(0))
    ends = Counter((each["status"], each["cost_usd"], each["error_type"]) for each in records)
    told = f"{error['message']}; answered {dict(counts)}, recorded {dict(ends)}"
    assert Decimal("0.003") <= spent <= Decimal("0.003") + 32 * max(costs), told
    until(lambda: Decimal(str(shown(four, "poor")["budget"]["spent_usd"])) == spent)
    fires = until(lambda: (four.api("alarms/poor.budget") or {}).get("alarm"))
    until(lambda: four.api("alarms/poor.budget")["alarm"]["state"] == "firing")
    assert (fires["key"], fires["threshold"], fires["default"]) == ("poor", 0.8, True)
    refused = {each["error_type"] for each in records if each["status"] == "refused"}
    assert {"budget_exceeded"} <= refused <= {"budget_exceeded", "budget_reserved"}


def test_what_each_user_spends_is_the_sum_of_records_whoever_is_killed(four: Airboss) -> None:
    """Each of them overspends by their calls under way at most, through kills of workers, the controller and
    the owner, and though the owner loses its memory; the others go on meanwhile."""
    within("month")
    calls = key_of(four, "people")
    whose: list[dict[str, Any]] = [{"user": "ana@example.com"}, {"user": "bea@example.com"}, {}]
    ana, *others = whose
    counts = calls.flood(10, **ana)
    four.begun_anew("gateway-1")
    with calls.under_way(2, user="ana@example.com"):
        four.begun_anew("controller")
        four.begun_anew("gateway-2")
    four.begun_anew("counters")
    until(lambda: calls.chat(user="cec").status_code in {200, 429})
    while (more := calls.flood(60, **ana))[200] + more[503]:
        counts += more
    refused = calls.chat(**ana)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (
        429,
        "budget_exceeded",
        "insufficient_quota",
    )
    assert error["message"].startswith("this user of key 'people' has spent 0.00")
    assert "of 0.002 USD this month" in error["message"]
    for members in others:
        assert calls.chat(**members).status_code == 200
        while (more := calls.flood(60, **members))[200] + more[503]:
            counts += more
    four.settled()
    records = four.records("--key", "people")
    sums = []
    for members in whose:
        costs = [
            Decimal(str(each["cost_usd"]))
            for each in records
            if each["user"] == members.get("user") and each["cost_usd"] is not None
        ]
        sums.append(sum(costs, Decimal(0)))
        most = Decimal("0.002") + 32 * max(costs)
        assert Decimal("0.002") <= sums[-1] <= most, (members, sums, dict(counts))
    until(lambda: spent_by_users(four)[-3:] == sorted(sums), timeout_s=60)
    assert not holding(four.data / "counters", b"@example.com")
