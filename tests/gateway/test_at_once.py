"""A chat whose first attempt is made without a task fares as any other."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2
import pytest
import uvloop

from airboss.domain.plan import Limits
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.dispatch import Executor
from airboss.gateway.recording import unrecorded
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pools
from airboss.testing import FakeProvider, ScriptStep
from tests.gateway.test_faults import FAULTS, WHOLE
from tests.support.gateway import HASTY, KEY, PATIENT, PRICE, SILENT, Gateway, asking, deployment, together
from tests.support.wait import until

OWN = {"id", "latency_ms", "overhead_ms", "ttft_ms", "response", "attempts"}
"""Of a record what two calls that fare alike have each of its own."""
BEFORE_A_HEAD = {"reset", "close"}
"""What a kept connection may end in without a fault: then the call is sent once more."""


@pytest.fixture(scope="module")
def house(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A deployment for each fault and way, with a provider of its own: its first call finds no connection."""
    plans = [
        deployment(
            fake_process.url,
            name=f"{number}-{way}",
            aliases=(),
            provider=f"p-{number}-{way}",
            timeout=HASTY if FAULTS[number][0] in SILENT else PATIENT,
            price=PRICE,
            continuation="off",
            limits=Limits(concurrency=100),  # of fewer nothing is leased, and each call asks first
        )
        for number in range(len(FAULTS))
        for way in ("whole", "stream")
    ]
    with Gateway(tmp_path_factory.mktemp("house"), *plans) as running:
        yield running


Fared = tuple[int, str, dict[str, Any]]
"""Status, body and record of a call."""


def call(house: Gateway, model: str, content: str = "hi", *, stream: bool) -> Fared:
    """A call, and how it fared."""
    response = house.chat(content, model=model, stream=stream)
    record_id = response.headers["x-request-id"]
    return response.status_code, response.text.replace(record_id, "ID"), house.closed(record_id)


def twice(house: Gateway, number: int, *, stream: bool) -> tuple[Fared, Fared]:
    """How a fault's call fares where there is no connection, and on one that an answer has left open."""
    fault, model = FAULTS[number][0], f"{number}-{'stream' if stream else 'whole'}"
    first = call(house, model, asking(fault, WHOLE), stream=stream)
    assert call(house, model, stream=False)[0] == 200  # its connection is kept
    return first, call(house, model, asking(fault, WHOLE), stream=stream)


@pytest.fixture(scope="module")
def silent(house: Gateway) -> dict[tuple[int, bool], tuple[Fared, Fared]]:
    """How those fare whose time runs out, by number and whether they are streams."""
    return together(
        {
            (number, stream): partial(twice, house, number, stream=stream)
            for number, (fault, _, _) in enumerate(FAULTS)
            if fault in SILENT
            for stream in (False, True)
        }
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[f[0].partition(";")[0] for f in FAULTS])
def test_each_fault_is_the_same_on_a_kept_connection(
    request: pytest.FixtureRequest, house: Gateway, number: int, stream: bool
) -> None:
    """To the client and in the record; and its place under a limit is free again."""
    fault = FAULTS[number][0]
    if fault in SILENT:
        (status, body, record), again = request.getfixturevalue("silent")[number, stream]
    else:
        (status, body, record), again = twice(house, number, stream=stream)
    assert (again[0], told(again[1])) == (status, told(body))
    assert {k: v for k, v in again[2].items() if k not in OWN} == {
        k: v for k, v in record.items() if k not in OWN
    }
    if fault not in BEFORE_A_HEAD:
        first, other = record["attempts"][-1], again[2]["attempts"][-1]
        assert len(again[2]["attempts"]) == len(record["attempts"])
        for name in ("why", "status_code", "error_type", "usage", "cost_usd"):
            assert other.get(name) == first.get(name), name
    assert free(house, f"{number}-{'stream' if stream else 'whole'}")


def free(house: Gateway, model: str) -> bool:
    """Whether no place of a deployment's is taken, soon: a worker tells it a little later."""
    limit = f'airboss_limit_used{{limit="concurrency",name="{model}",scope="deployment"}} 0.0'
    return until(lambda: limit in httpx2.get(f"{house.url}/metrics").text)


def told(body: str) -> str:
    """What a body says, but for what each answer has of its own, and where it broke off."""
    said = []
    for line in body.splitlines():
        data = line.removeprefix("data: ")
        if not data.startswith("{"):
            said.append(data)
            continue
        event = json.loads(data)
        said.append(json.dumps({k: v for k, v in event.items() if k not in {"id", "created"}}))
    return "\n".join(said)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_who_leaves_frees_their_place(house: Gateway, provider: FakeProvider, stream: bool) -> None:
    """A call that was made at once, and whose client goes: it is recorded, and the next one is let in."""
    model = f"0-{'stream' if stream else 'whole'}"
    assert call(house, model, stream=False)[0] == 200
    before = set(house.frames()[1])
    provider.script(ScriptStep(behaviour="late-head;for_s=30"))
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    with socket.create_connection(("127.0.0.1", house.port), timeout=60) as raw:
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: len(house.frames()[0]) > len(before))
    (left,) = until(lambda: set(house.frames()[1]) - before)
    record = house.closed(left)
    assert (record["status"], record["error_type"]) == ("cancelled", "client_disconnected")
    assert [each["error_type"] for each in record["attempts"]] == ["cancelled"]
    assert record["attempts"][0]["usage"]["input_tokens"] > 0  # it had been sent
    assert free(house, model)


def test_calls_behind_one_another_on_one_connection(house: Gateway, provider: FakeProvider) -> None:
    """Sent at once, good and bad, each is answered in its turn."""
    del provider
    assert call(house, "1-whole", stream=False)[0] == 200
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    sent = b""
    for n in range(12):
        text = "fake:" + json.dumps({"text": f"answer {n}."})
        said: dict[str, Any] = {"model": "1-whole", "messages": [{"role": "user", "content": text}]}
        said |= {"n": 0} if n % 3 == 2 else {"stream": True} if n % 3 == 1 else {}
        body = json.dumps(said)
        sent += f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()
    with socket.create_connection(("127.0.0.1", house.port), timeout=60) as raw:
        raw.sendall(sent)
        got = b""
        while got.count(b"HTTP/1.1 ") < 12 or not got.endswith((b"}}", b"0\r\n\r\n", b"}")):
            got += raw.recv(65536)
    answers = got.split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in answers] == [b"200", b"200", b"400"] * 4
    for n, each in enumerate(answers):
        if n % 3 == 0:
            assert f"answer {n}.".encode() in each
        if n % 3 == 1:
            assert b"data: [DONE]" in each


def test_it_is_begun_on_a_kept_connection_alone() -> None:
    """Else the executor leaves it to a task, and has taken nothing."""

    async def scenario() -> None:
        def answer_all() -> asyncio.Protocol:
            return asyncio.Protocol()

        server = await asyncio.get_running_loop().create_server(answer_all, "127.0.0.1", 0)
        plan = deployment(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        executor = Executor(Pools(Outbox()), rng=random.Random(1))
        place = executor.places.of(plan.target)[0]
        admitted: Any = _Admitted(plan)

        def begin(answer: WholeAnswer) -> bool:
            call = Dispatched(started=time.perf_counter())
            return executor.begin(call, admitted, answer, lambda _: None, lambda: heard.append(answer))

        heard: list[WholeAnswer] = []
        assert not begin(WholeAnswer("p"))
        place.pool.give_back(await place.pool.connect(5.0))
        place.breaker.tripped = True
        assert not begin(WholeAnswer("p"))
        place.breaker.tripped = False
        assert place.outstanding == 0
        answer = WholeAnswer("p")
        assert begin(answer)
        assert (place.outstanding, heard) == (1, [])
        answer.leave()
        executor.close()
        server.close()

    uvloop.run(scenario())


def test_one_that_may_not_be_sent_fails_as_it_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its write is the one with which all that are held are made, and its frame cannot be written."""

    async def scenario() -> tuple[bool, list[bool], str | None]:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        plan = deployment(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        outbox = Outbox()
        executor = Executor(Pools(outbox), rng=random.Random(1))
        pool = executor.places.of(plan.target)[0].pool
        pool.give_back(await pool.connect(5.0))
        monkeypatch.setattr("airboss.providers.outbox.HELD_MAX", 1)
        outbox.before = unrecorded
        call, answer = Dispatched(started=time.perf_counter()), WholeAnswer("p")
        heard: list[bool] = []
        admitted: Any = _Admitted(plan)
        begun = executor.begin(
            call, admitted, answer, lambda _: None, lambda: heard.append(call.begun is not None)
        )
        executor.close()
        server.close()
        assert answer.error is not None
        return begun, heard, answer.error.code

    assert uvloop.run(scenario()) == (True, [True], "journal_unwritable")


class _Admitted:
    """A call as the executor looks at it."""

    def __init__(self, plan: Any) -> None:
        self.deployment = plan
        self.branch = self
        self.request = self
        self.target = plan.target
        self.trial, self.operation = False, "chat"
        self.upstream_body = b"{}"
        self.outgoing = self.trace = self.too_large = None
