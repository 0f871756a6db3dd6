"""A call that has ended leaves nothing for the collector of cycles, which a worker runs seldom."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from airboss.domain.plan import Caching, Hedge, Limits, Retry, Target, Timeouts
from airboss.domain.ports import ApiKey
from airboss.governance.keys import hash_key
from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import KEY, PATIENT, PRICE, Gateway, deployment, hasty
from tests.support.spoken import say
from tests.support.wait import until

LIMITED = "ab_" + "l" * 43
CALLS = 6
"""Of each kind: a cycle a call shows, and one that only the last of them leaves does not count."""


class Watched:
    """A worker that collects nothing."""

    def __init__(self, gateway: Gateway, root: Path, provider: FakeProvider) -> None:
        self.gateway = gateway
        self.provider = provider
        self._root = root
        self._numbers = count(1)

    def garbage(self) -> dict[str, int]:
        """What only the collector could free now, by type; frees it."""
        path = self._root / f"garbage.{next(self._numbers)}.json"
        self.gateway.process.send_signal(signal.SIGUSR1)
        until(path.exists)
        found: dict[str, int] = json.loads(path.read_text())
        return found


@pytest.fixture(scope="module")
def watched(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The worker, its plans of the kinds that go through different code."""
    root = tmp_path_factory.mktemp("garbage")
    url = fake_process.url
    usual = deployment(url, price=PRICE, timeout=PATIENT, continuation="off")
    other = Target(provider="fake", kind="openai-compatible", base_urls=(url,), upstream_model="up")
    plans = (
        usual,
        hasty(usual, Timeouts(total_s=4.0, first_token_s=0.3, idle_s=0.3)),
        deployment(
            url, name="patient", aliases=(), continuation="on", timeout=PATIENT, retry=Retry(attempts=3)
        ),
        deployment(url, name="masked", aliases=(), policy=policy_of("mask", None), continuation="off"),
        deployment("http://127.0.0.1:1/v1", name="closed", aliases=(), retry=Retry(attempts=2)),
        deployment("http://127.0.0.1:1/v1", name="elsewhere", aliases=(), fallbacks=(other,)),
        deployment(url, name="named", aliases=(), policy=policy_of("mask", ("person", "email"))),
        deployment(url, name="strict", aliases=(), policy=policy_of("block", None)),
        deployment(url, name="cached", aliases=(), cache=Caching()),
        deployment(url, name="hedged", aliases=(), hedge=Hedge(quantile=0.9, extra=1.0)),
        deployment(url, name="translated", aliases=(), kind="anthropic"),
    )
    now = datetime.now(UTC)
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=now),
        ApiKey(name="slow", sha256=hash_key(LIMITED), created_at=now, limits=Limits(requests_per_minute=1)),
    )
    with Gateway(root, *plans, keys=keys, process="tests.support.garbage_process") as running:
        yield Watched(running, root, fake_process)
        fake_process.reset()  # the last of its orders


def chat(
    model: str, line: str = "ok", *, stream: bool = False, said: str = "hi", key: str = KEY
) -> Callable[[Watched], None]:
    """Calls that the provider treats so."""

    def made(watched: Watched) -> None:
        watched.provider.script(ScriptStep(behaviour=line, calls=CALLS * 3))
        body = {"model": model, "messages": [{"role": "user", "content": said}], "stream": stream}
        with watched.gateway.client() as client:
            for _ in range(CALLS):
                client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})

    return made


def spoken(dialect: str, *, stream: bool) -> Callable[[Watched], None]:
    """Calls in another dialect than chat."""

    def made(watched: Watched) -> None:
        for _ in range(CALLS):
            say(watched.gateway, dialect, stream=stream)

    return made


def left(*, stream: bool) -> Callable[[Watched], None]:
    """Calls whose client goes before the answer has ended."""

    def made(watched: Watched) -> None:
        watched.provider.script(ScriptStep(behaviour="stall;after=2;for_s=0.2", calls=CALLS))
        before = len(watched.gateway.frames()[1])
        body = json.dumps({
            "model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": stream,
        }).encode()  # fmt: skip
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        for n in range(CALLS):
            with socket.create_connection(("127.0.0.1", watched.gateway.port)) as client:
                client.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
                until(lambda: len(watched.gateway.frames()[0]) > before + n)  # noqa: B023 - called at once
        until(lambda: len(watched.gateway.frames()[1]) >= before + CALLS)

    return made


def refused(watched: Watched) -> None:
    """Strangers with long bodies."""
    head = b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    for _ in range(CALLS):
        with socket.create_connection(("127.0.0.1", watched.gateway.port)) as client:
            client.sendall(head + b" " * 100_000)
            assert client.recv(16).startswith(b"HTTP/1.1 401")


KINDS: dict[str, Callable[[Watched], None]] = {
    "whole": chat("gpt-4o"),
    "streamed": chat("gpt-4o", stream=True),
    "failed": chat("gpt-4o", "500"),
    "failed at once, streamed": chat("gpt-4o", "429", stream=True),
    "broken off": chat("gpt-4o", "cut-reset"),
    "broken off, streamed": chat("gpt-4o", "cut-reset", stream=True),
    "too slow": chat("hasty-assistant", "stall", stream=True),
    "tried again": chat("patient", "500"),
    "gone on with": chat("patient", "cut-close;after=3", stream=True),
    "masked": chat("masked", "ok;text=Write to jane@example.com"),
    "masked, streamed": chat("masked", "ok;text=Write to jane@example.com", stream=True),
    "names": chat("named", "ok;text=Write to Jane Doe"),
    "names, streamed": chat("named", "ok;text=Write to Jane Doe", stream=True),
    "names, failed": chat("named", "500"),
    "names, broken off": chat("named", "cut-reset;after=2", stream=True),
    "hedged": chat("hedged", "late-head;for_s=0.1"),
    "hedged and failed": chat("hedged", "500;delay_s=0.1"),
    "hedged, streamed": chat("hedged", "late-first-token;for_s=0.1", stream=True),
    "translated": chat("translated", stream=True),
    "blocked": chat("strict", said="I am jane@example.com"),
    "blocked, streamed": chat("strict", "ok;text=Write to jane@example.com", stream=True),
    "cached": chat("cached"),
    "cached, streamed": chat("cached", stream=True),
    "messages": spoken("messages", stream=False),
    "messages, streamed": spoken("messages", stream=True),
    "responses": spoken("responses", stream=False),
    "responses, streamed": spoken("responses", stream=True),
    "over its limit": chat("gpt-4o", key=LIMITED),
    "unknown model": chat("nobody"),
    "no connection": chat("closed"),
    "no connection, fallback": chat("elsewhere"),
    "refused": refused,
    "left": left(stream=False),
    "left, streamed": left(stream=True),
}


@pytest.mark.parametrize("made", KINDS.values(), ids=KINDS)
def test_a_call_leaves_no_garbage(watched: Watched, made: Callable[[Watched], None]) -> None:
    """Nothing but reference counts is needed to free a call and its connections."""
    made(watched)  # what is imported and kept at the first time is none of a call's
    watched.garbage()
    made(watched)
    assert watched.garbage() == {}
