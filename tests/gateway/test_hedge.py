"""Hedges: a second attempt beside one that is slow to begin, within bounds."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.plan import Hedge, Retry, Timeouts
from airboss.gateway.breaker import STREAK_MAX
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import PRICE, Gateway, deployment


@pytest.fixture
def other() -> Iterator[FakeProvider]:
    """The second place."""
    with FakeProvider() as running:
        yield running


def plan(one: FakeProvider, two: FakeProvider, **changes: Any) -> Any:
    """A deployment at two places, one of which gets nearly all calls."""
    return deployment(
        one.url,
        base_urls=(one.url, two.url),
        key_refs=(None, None),
        weights=(1000.0, 0.001),
        price=PRICE,
        retry=Retry(attempts=1),
        **changes,
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_quicker_one_answers(
    own_root: Path, provider: FakeProvider, other: FakeProvider, stream: bool
) -> None:
    """Once the first has taken longer than nearly all before it; the other is cancelled, billed, recorded."""
    hedge = Hedge(quantile=0.9, extra=0.1)
    with Gateway(own_root, plan(provider, other, hedge=hedge)) as gateway:
        for _ in range(40):
            assert gateway.chat(stream=stream).status_code == 200
        assert other.stats().requests <= 5  # one is free, and a tenth of the calls
        other.reset()
        provider.script(ScriptStep(behaviour="late-head;for_s=8", forever=True))
        response = gateway.chat(stream=stream)
        assert response.status_code == 200
        assert response.elapsed.total_seconds() < 6
        assert not stream or response.text.count("[DONE]") == 1
        assert other.stats().requests == 1
        end = gateway.closed(response.headers["x-request-id"])
        assert end["status"] == "ok"
        by_why = {each["why"]: each for each in end["attempts"]}
        assert by_why["hedge"]["error_type"] is None
        assert by_why["first"]["error_type"] in {"hedge_lost", "cancelled"}
        assert "failed_attempts" not in end["response"], "who lost has not failed"
        assert by_why["first"]["usage"]["estimated"]
        # What two upstreams took side by side is no more than the call took.
        assert end["overhead_ms"] > 0
        assert end["cost_usd"] > by_why["hedge"]["cost_usd"]


def test_one_that_loses_while_it_connects_is_no_error(own_root: Path, provider: FakeProvider) -> None:
    """The record says that it lost, and the log says nothing."""
    hedge = Hedge(quantile=0.5, extra=1.0)
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # they fill its queue, so that the next waits
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        elsewhere = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        one_plan = deployment(
            provider.url,
            base_urls=(provider.url, elsewhere),
            key_refs=(None, None),
            weights=(1000.0, 0.001),
            hedge=hedge,
        )
        with Gateway(own_root, one_plan) as gateway:
            for _ in range(30):
                assert gateway.chat().status_code == 200
            provider.script(ScriptStep(behaviour="late-head;for_s=1", forever=True))
            for _ in range(3):
                response = gateway.chat()
                assert response.status_code == 200
            end = gateway.closed(response.headers["x-request-id"])
            lost = {each["why"]: each["error_type"] for each in end["attempts"]}["hedge"]
            assert lost in {"hedge_lost", "cancelled"}
        assert "never retrieved" not in gateway.log


def test_without_it_nobody_races(own_root: Path, provider: FakeProvider, other: FakeProvider) -> None:
    """It is off by default."""
    with Gateway(own_root, plan(provider, other)) as gateway:
        for _ in range(40):
            gateway.chat()
        provider.script("late-head;for_s=1")
        assert gateway.chat().elapsed.total_seconds() >= 1
        assert other.stats().requests == 0


def test_hedges_do_not_storm(own_root: Path, provider: FakeProvider, other: FakeProvider) -> None:
    """When all are slow, only the share of calls is asked twice."""
    with Gateway(own_root, plan(provider, other, hedge=Hedge(quantile=0.5, extra=0.05))) as gateway:
        for _ in range(40):
            gateway.chat()
        other.reset()
        provider.script(ScriptStep(behaviour="late-head;for_s=0.1", forever=True))
        for _ in range(20):
            assert gateway.chat().status_code == 200
        assert other.stats().requests <= 5  # one is free, and a tenth of the calls


def test_what_is_passed_on_has_no_rival(own_root: Path, provider: FakeProvider) -> None:
    """A batch that is slow to be made is not made twice, and no two answers are mixed into one."""
    plan = deployment(provider.url, kind="openai", hedge=Hedge(quantile=0.5, extra=1.0))
    with Gateway(own_root, plan) as gateway, gateway.client() as client:
        for _ in range(30):
            gateway.chat()
        provider.reset()
        provider.script("late-head;for_s=0.3")
        answer = client.post("/v1/batches", json={"input_file_id": "f", "endpoint": "/v1/chat/completions"})
        assert answer.status_code == 200
        assert provider.stats().requests == 1
        assert len(gateway.closed(answer.headers["x-request-id"])["attempts"]) == 1


HALF = Timeouts(total_s=4.0, first_token_s=4.0, idle_s=4.0)


@pytest.mark.parametrize("hedge", [None, Hedge(quantile=0.9, extra=0.1)], ids=["none", "hedge"])
def test_a_silent_place_has_half_of_the_time_of_a_whole_answer(
    own_root: Path, provider: FakeProvider, other: FakeProvider, hedge: Hedge | None
) -> None:
    """Then another of the model is asked beside it, also where no hedge is due; a stream has `first_token_s`.
    It fails by that, and is left alone where it does so again and again."""
    provider.script(ScriptStep(behaviour="silence", forever=True))
    silent = plan(provider, other, hedge=hedge)
    silent = msgspec.structs.replace(silent, timeout=HALF, retry=Retry(attempts=2))
    with Gateway(own_root, silent) as gateway:
        for _ in range(STREAK_MAX):
            response = gateway.chat()
            assert response.status_code == 200, response.text
            end = gateway.closed(response.headers["x-request-id"])
            by_why = {each["why"]: each["error_type"] for each in end["attempts"]}
            assert by_why["first"] in {"hedge_lost", "cancelled"}
            assert by_why["hedge"] is None
        end = gateway.closed(gateway.chat().headers["x-request-id"])
        assert [each["why"] for each in end["attempts"]] == ["first"]
    assert provider.stats().requests == STREAK_MAX


def test_one_that_is_only_slow_may_still_answer(
    own_root: Path, provider: FakeProvider, other: FakeProvider
) -> None:
    """What was asked first is not left for what is asked beside it."""
    provider.script(ScriptStep(behaviour=f"late-head;for_s={0.6 * HALF.total_s}", forever=True))
    other.script(ScriptStep(behaviour="silence", forever=True))
    halves = msgspec.structs.replace(plan(provider, other), timeout=HALF, retry=Retry(attempts=2))
    with Gateway(own_root, halves) as gateway:
        response = gateway.chat()
        assert response.status_code == 200, response.text
        end = gateway.closed(response.headers["x-request-id"])
        assert {each["why"]: each["error_type"] is None for each in end["attempts"]} == {
            "first": True,
            "hedge": False,
        }
    assert other.stats().requests == 1


def test_who_is_only_slow_is_not_left_alone(
    own_root: Path, provider: FakeProvider, other: FakeProvider
) -> None:
    """Calls that a place answers in their time are no failures of it, though another was asked beside it."""
    for each in (provider, other):
        each.script(ScriptStep(behaviour=f"late-head;for_s={0.6 * HALF.total_s}", forever=True))
    halves = msgspec.structs.replace(plan(provider, other), timeout=HALF, retry=Retry(attempts=2))
    with Gateway(own_root, halves) as gateway, ThreadPoolExecutor(3 * STREAK_MAX) as pool:
        together = list(pool.map(lambda _: gateway.chat(), range(3 * STREAK_MAX)))
        assert {each.status_code for each in together} == {200}
        with gateway.client() as client:
            said = client.get("/metrics").text
        failed = [line for line in said.splitlines() if "target_attempts" in line and '"failed"' in line]
        assert {line.rpartition(" ")[2] for line in failed} == {"0.0"}, failed


def test_what_may_be_tried_once_is_asked_once(
    own_root: Path, provider: FakeProvider, other: FakeProvider
) -> None:
    """Half of its time or not."""
    provider.script(ScriptStep(behaviour="silence", forever=True))
    once = msgspec.structs.replace(plan(provider, other), timeout=Timeouts(total_s=2.0))
    with Gateway(own_root, once) as gateway:
        assert gateway.chat().status_code == 504
    assert other.stats().requests == 0
