"""Several replicas of one model: who gets which call, and what happens when none is there."""

from __future__ import annotations

import socket
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2

from airboss.gateway.attempts import RESTART_WAIT_S
from airboss.gateway.places import REFUSED_S
from airboss.testing import FakeProvider
from tests.support.fake import held
from tests.support.gateway import PATIENT, Gateway, deployment
from tests.support.wait import until


def split_of(gateway: Gateway) -> Counter[str]:
    """How many attempts went to each URL."""
    _, closed = gateway.frames()
    return Counter(attempt["url"] for call in closed.values() for attempt in call["attempts"])


def test_two_workers_share_two_replicas(own_root: Path) -> None:
    """Each worker counts its own calls only, and with calls that overlap each splits them evenly: so do both
    together, to within one call a worker."""
    with FakeProvider() as one, FakeProvider() as two:
        plan = deployment(one.url, base_urls=(one.url, two.url), timeout=PATIENT)
        with Gateway(own_root / "a", plan) as first, Gateway(own_root / "b", plan) as second:
            with ThreadPoolExecutor(44) as pool, held(one), held(two):
                calls = [pool.submit(w.chat) for w in [first] * 22 + [second] * 22]
                until(lambda: sum(len(each.frames()[0]) for each in (first, second)) == 44)
            assert {call.result().status_code for call in calls} == {200}
            for worker in (first, second):
                assert all(abs(n - 11) <= 1 for n in split_of(worker).values()), split_of(worker)


def test_a_busy_replica_is_passed_over(own_root: Path, provider: FakeProvider) -> None:
    """While one replica holds a long call, short ones go to the other."""
    with FakeProvider(default="late-head;for_s=3") as slow:
        plan = deployment(slow.url, base_urls=(slow.url, provider.url))
        with Gateway(own_root, plan) as gateway, ThreadPoolExecutor(1) as pool:

            def hold() -> Future[httpx2.Response]:
                """A call under way; which of two idle replicas gets it is chance."""
                call = pool.submit(gateway.chat)
                until(lambda: slow.stats().in_flight or call.done())
                return call

            while (held := hold()).done():
                continue
            assert {gateway.chat().status_code for _ in range(20)} == {200}
            assert slow.stats().requests == 1
            assert held.result().status_code == 200


def test_a_replica_that_is_gone_costs_one_try(own_root: Path, provider: FakeProvider) -> None:
    """It has nothing outstanding, and would be first each time: who refused is asked last for a while."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        plan = deployment(gone, kind="local", base_urls=(gone, provider.url))
        with Gateway(own_root, plan) as gateway:
            began = time.monotonic()
            assert {gateway.chat().status_code for _ in range(20)} == {200}
            assert split_of(gateway)[gone] <= 1 + (time.monotonic() - began) // REFUSED_S


def test_what_the_plan_has_no_more_is_forgotten(own_root: Path, provider: FakeProvider) -> None:
    """Replicas come at other addresses each time: those of before are no longer counted or connected to, and
    a call that is still at one ends well."""
    with FakeProvider() as before, Gateway(own_root, deployment(before.url)) as gateway:

        def shown(at: FakeProvider) -> bool:
            return f'url="{at.url}"' in httpx2.get(f"{gateway.url}/metrics").text

        with ThreadPoolExecutor(1) as pool:
            assert gateway.chat().status_code == 200
            under_way = pool.submit(gateway.chat, 'fake:{"words": 20, "tokens_per_s": 20}')
            until(lambda: before.stats().in_flight == 1)
            gateway.publish(deployment(provider.url))
            until(lambda: gateway.chat().status_code == 200 and provider.stats().requests > 0)
            assert shown(before)
            assert under_way.result().status_code == 200
        gateway.publish(deployment(provider.url))
        until(lambda: not shown(before) and not before.stats().open_connections)
        assert shown(provider)


def test_no_replica_at_all_is_said_at_once(own_root: Path, provider: FakeProvider) -> None:
    """What the plan says of a model that cannot be started is answered without any waiting, and recorded."""
    why = "no engine of model 'm' runs: there is no file /m.gguf; mend that"
    with Gateway(own_root, deployment(provider.url, kind="local", down=why)) as gateway:
        began = time.monotonic()
        answer = gateway.chat()
        assert time.monotonic() - began < RESTART_WAIT_S / 3
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "replicas_failed")
        assert answer.json()["error"]["message"] == why
        _, closed = gateway.frames()
        (record,) = closed.values()
        assert (record["status"], record["error_type"]) == ("error", "replicas_failed")
        assert provider.stats().requests == 0
