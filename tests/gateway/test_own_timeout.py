"""A client that gives one call less time than its deployment would."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Limits, Queue, Retry, Timeouts
from airboss.domain.release import Policy
from airboss.testing import FakeProvider
from tests.gateway.test_cache import worker
from tests.gateway.test_cache_semantic import worker as comparing
from tests.gateway.test_screen_names import child_of
from tests.support.fake import held
from tests.support.gateway import PATIENT, Gateway, deployment
from tests.support.wait import hold_still, until

NAME = "x-airboss-timeout-s"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat/completions", CHAT),
    "stream": ("chat/completions", CHAT | {"stream": True}),
    "completions": ("completions", {"prompt": "x"}),
    "embeddings": ("embeddings", {"input": "x"}),
    "messages": ("messages", CHAT | {"max_tokens": 9}),
    "responses": ("responses", {"input": "x"}),
    "images": ("images/generations", {"prompt": "x"}),
    "rerank": ("rerank", {"query": "x", "documents": ["y"]}),
}


@pytest.fixture(scope="module")
def shared_gateway(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker whose deployments have time: one alone, one whose calls wait for each other, one
    with a fallback."""
    plan = deployment(fake_process.url, timeout=PATIENT)
    limits = Limits(concurrency=1, queue=Queue(size=5, wait_s=60.0))
    narrow = deployment(fake_process.url, name="narrow", aliases=(), timeout=PATIENT, limits=limits)
    backed = deployment(fake_process.url, name="backed", aliases=(), timeout=PATIENT)
    target = msgspec.structs.replace(backed.target, fallbacks=(plan.target,))
    backed = msgspec.structs.replace(backed, target=target)
    with Gateway(tmp_path_factory.mktemp("own"), plan, narrow, backed) as running:
        yield running


def ask(
    gateway: Gateway, header: str, route: str = "chat", content: str = "x", **body: Any
) -> httpx2.Response:
    """A call with that header."""
    path, said = ROUTES[route]
    said = {"model": "gpt-4o", **said, **body}
    if content != "x":
        said["messages"] = [{"role": "user", "content": content}]
    with gateway.client() as client:
        return client.post(f"/v1/{path}", json=said, headers={NAME: header})


@pytest.mark.parametrize("route", ROUTES)
def test_a_call_ends_when_its_own_time_is_over(gateway: Gateway, provider: FakeProvider, route: str) -> None:
    """On every route, with the error of `total_s`, which says whose bound it was; the provider is told none
    of it, and no rollout counts it, as little as a client that goes away."""
    provider.script("silence")
    answer = ask(gateway, "0.4", route)
    assert answer.status_code == 504, answer.text
    error = answer.json()["error"]
    assert error["message"].endswith(
        "did not finish within x-airboss-timeout-s = 0.4; send a longer one, or leave the header out"
    )
    closed = gateway.closed(answer.headers["x-request-id"])
    assert (closed["status"], closed["error_type"]) == ("cancelled", "timeout_total")
    assert NAME not in provider.last().headers
    assert ask(gateway, "60", route).status_code == 200


@pytest.mark.parametrize(
    ("left_s", "status"), [(1 / 3, 504), (1e-05, 504), (1_000_000 / 3, 200), (1e22, 200)]
)
def test_it_is_taken_as_a_program_prints_what_it_has_left(
    gateway: Gateway, provider: FakeProvider, left_s: float, status: int
) -> None:
    """With all digits of a float, or with an exponent."""
    if status == 504:
        provider.script("silence")
    assert ask(gateway, str(left_s)).status_code == status


def test_a_stream_ends_with_an_error_in_it(gateway: Gateway) -> None:
    """Though it never falls silent."""
    answer = ask(gateway, "1", "stream", 'fake:{"words": 2000, "tokens_per_s": 20}')
    assert answer.status_code == 200
    assert '"code":"timeout_total"' in answer.text
    assert "[DONE]" not in answer.text


def test_it_is_the_time_of_all_attempts(provider: FakeProvider, own_root: Path) -> None:
    """One that fails leaves the next what is left."""
    with Gateway(own_root, deployment(provider.url, timeout=PATIENT, retry=Retry(attempts=3))) as gateway:
        provider.script("500;delay_s=1.5", "500;delay_s=1.5", "silence")
        answer = ask(gateway, "5")
        assert answer.status_code == 504
        closed = gateway.closed(answer.headers["x-request-id"])
        assert [each["error_type"] for each in closed["attempts"]][-1] == "timeout_total"
        assert 5_000 <= closed["latency_ms"] < 7_500, "the last one alone has not had all of it"


@pytest.mark.parametrize("route", ["chat", "stream"])
def test_who_has_a_share_of_it_is_not_told_of_another_bound(
    gateway: Gateway, provider: FakeProvider, route: str
) -> None:
    """Where a fallback has the rest of the time, the first has half of it, and a stream's first token no more
    than that: the deployment's bounds have nothing to do with it."""
    provider.script("silence", "silence")
    answer = ask(gateway, "0.8", route, model="backed")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (504, "timeout_total")
    assert "took its share of x-airboss-timeout-s = 0.8; send a longer one" in error["message"]
    closed = gateway.closed(answer.headers["x-request-id"])
    assert (closed["status"], closed["error_type"]) == ("cancelled", "timeout_total")
    assert [each["error_type"] for each in closed["attempts"]] == ["timeout_total"] * 2


def test_a_longer_one_than_the_deployments_is_the_deployments(provider: FakeProvider, own_root: Path) -> None:
    """A client bounds its call further, and never less."""
    with Gateway(own_root, deployment(provider.url, timeout=Timeouts(total_s=0.5))) as gateway:
        provider.script("silence")
        answer = ask(gateway, "3600")
        assert "within total_s = 0.5; raise it under timeout" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "header",
    ["0", "0.0", "0e5", "-1", "5s", "five", "nan", "inf", "e3", "1e", "", "1,5", "1.", "9" * 40, "é"],
)
def test_what_is_no_number_of_seconds_is_refused(
    gateway: Gateway, provider: FakeProvider, header: str
) -> None:
    """A bound that silently is none would be noticed when it is needed."""
    headers = {NAME.encode(): header.encode("latin-1")}
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json={"model": "gpt-4o", **CHAT}, headers=headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "send the seconds that the whole call may take, as in 2.5" in error["message"]
    assert error["param"] == NAME
    assert provider.stats().requests == 0


def test_two_of_them_are_refused(gateway: Gateway) -> None:
    """One could be read by us and the other by a proxy."""
    with gateway.client() as client:
        twice = [(NAME, "1"), (NAME, "2")]
        answer = client.post("/v1/chat/completions", json={"model": "gpt-4o", **CHAT}, headers=twice)
    assert answer.status_code == 400
    assert f"'{NAME}' was sent twice" in answer.json()["error"]["message"]


def test_waiting_for_a_place_is_within_it(gateway: Gateway, provider: FakeProvider) -> None:
    """The client asked for an answer by then, and the call goes to nobody. One that has got a place has what
    is left."""
    known = set(gateway.frames()[0])

    def begun() -> int:
        return len(set(gateway.frames()[0]) - known)

    provider.script("ok", "silence")
    with ThreadPoolExecutor(2) as pool:
        with held(provider):
            first = pool.submit(gateway.chat, model="narrow")
            until(lambda: begun() == 1)
            left = pool.submit(ask, gateway, "6", model="narrow")
            late = ask(gateway, "3", model="narrow")
            assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout_total")
            words = "nobody had been asked yet when x-airboss-timeout-s = 3 was over"
            assert words in late.json()["error"]["message"]
            assert begun() == 1
        assert first.result().status_code == 200
        assert left.result().json()["error"]["code"] == "timeout_total"
    closed = gateway.closed(left.result().headers["x-request-id"])
    assert 6_000 <= closed["latency_ms"] < 8_500, "it has waited for its place within it"
    assert provider.stats().requests == 2
    assert gateway.chat(model="narrow").status_code == 200  # its place is free again


def test_it_says_nothing_against_the_provider(provider: FakeProvider, own_root: Path) -> None:
    """One impatient client keeps nobody else away from it."""
    with Gateway(own_root, deployment(provider.url, timeout=PATIENT)) as gateway:
        provider.script(*["silence"] * 6)
        for _ in range(6):
            assert ask(gateway, "0.05").status_code == 504
        with gateway.client() as client:
            said = client.get("/metrics").text
    failed = [line for line in said.splitlines() if line.startswith("airboss_target_state{")]
    assert [line.rpartition(" ")[2] for line in failed] == ["0.0"]


def test_what_breaks_off_in_time_speaks_against_the_provider(provider: FakeProvider, own_root: Path) -> None:
    """A stream that goes on past its share of the time has all of it: who cuts it is the provider."""
    plan = deployment(provider.url, timeout=PATIENT, continuation="off")
    target = msgspec.structs.replace(plan.target, fallbacks=(plan.target,))
    cut = "cut-reset;after=9;words=20;tokens_per_s=3"
    with Gateway(own_root, msgspec.structs.replace(plan, target=target)) as gateway:
        provider.script(*[cut] * 6)
        with ThreadPoolExecutor(6) as pool:
            answers = [each.result() for each in [pool.submit(ask, gateway, "5", "stream") for _ in "sixsix"]]
        assert all('"code":"upstream_error"' in each.text for each in answers)
        with gateway.client() as client:
            said = client.get("/metrics").text
    states = [line for line in said.splitlines() if line.startswith("airboss_target_state{")]
    assert [line.rpartition(" ")[2] for line in states] != ["0.0"]


def test_who_asks_the_same_at_the_same_time_does_not_fail_with_it(
    provider: FakeProvider, own_root: Path
) -> None:
    """At the cache one waits for the other, and asks itself where that had too little time. One with little
    time waits no longer than that."""
    with worker(provider.url, own_root) as gateway, ThreadPoolExecutor(2) as pool:
        with held(provider):
            hurried = pool.submit(ask, gateway, "2", content="hello")
            until(lambda: len(gateway.frames()[0]) == 1)
            patient = pool.submit(gateway.chat, "hello")
            assert hurried.result().status_code == 504
            until(lambda: len(gateway.frames()[0]) == 2)
            assert ask(gateway, "0.3", content="hello").json()["error"]["code"] == "timeout_total"
        assert patient.result().status_code == 200


@pytest.mark.parametrize("header", ["1", "12"], ids=["over while it compares", "over after that"])
def test_comparing_questions_is_within_it(provider: FakeProvider, own_root: Path, header: str) -> None:
    """At a semantic cache a call waits for its question's vector, and asks nobody else where its time is over
    by then: that wait does not come on top of it."""
    with FakeProvider() as vectors, comparing(provider.url, vectors.url, own_root) as gateway:
        vectors.script("silence" if header == "1" else "late-head;for_s=4")
        provider.script("silence")
        answer = ask(gateway, header, content="How are you?")
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout_total")
        assert f"x-airboss-timeout-s = {header}" in answer.json()["error"]["message"]
        closed = gateway.closed(answer.headers["x-request-id"])
        assert closed["status"] == "cancelled"
        assert closed["latency_ms"] < 1000 * float(header) + 3_000
        assert vectors.stats().requests == 1
        assert provider.stats().requests == (0 if header == "1" else 1)


def test_looking_for_names_is_within_it(provider: FakeProvider, own_root: Path) -> None:
    """A call under a policy that waits for who finds names waits no longer than its own time."""
    policy = Policy(pii=(("person", "mask"),), detectors="2")
    plan = deployment(provider.url, timeout=PATIENT, policy=policy)
    gone = own_root / "gone"
    with Gateway(own_root, plan, process="tests.support.gateway_names", options=(str(gone),)) as gateway:
        assert gateway.chat("I am Jane Doe").status_code == 200
        finder = child_of(gateway)
        assert finder is not None
        hold_still(finder)
        try:
            answer = ask(gateway, "1", content="I am Ann Lee")
        finally:
            os.kill(finder, signal.SIGCONT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout_total")
        assert "nobody had been asked yet when x-airboss-timeout-s = 1 was over" in answer.text
        assert provider.stats().requests == 1
        assert gateway.chat("I am Ann Lee").status_code == 200
