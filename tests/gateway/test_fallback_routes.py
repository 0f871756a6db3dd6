"""Every class of fault on every route: the fallback answers, or the caller is told, in the route's words."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Retry, Target
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import HASTY, PATIENT, PRICE, Gateway, deployment
from tests.support.spoken import PATHS, error, is_whole, say, text

SAID = "The backup answers in full, with nothing left out of it at all."
STARTS = {
    "busy": "429;retry_after=30",
    "broken": "500",
    "overloaded": "529",
    "key refused": "status;status=401",
    "model gone": "status;status=404",
    "reset": "reset",
    "silent": "silence",
    "cut short": "cut-reset;after=0",
    "ends too soon": "cut-end;after=0",
    "garbled": "malformed-event;after=0",
    "an error inside": "error-mid-stream;after=0",
    "too long": "context-length",
    "a page": "html",
    "an error with 200": "error-200",
    "elsewhere": "redirect-307",
}
"""One fault of each class that a fallback mends."""
CALLERS = {
    "wrong": "status;status=400;message=no",
    "too large": "status;status=413",
    "unfit": "status;status=422",
    "filtered": "content-filter",
}
"""One of each that it does not."""
ROUTES = {
    "completions": {"prompt": "hi"},
    "embeddings": {"input": "hi"},
}


def model(name: str, route: str) -> str:
    """Who fails so on this route."""
    return f"{name} {route}".replace(" ", "-")


@pytest.fixture(scope="module")
def backup() -> Iterator[FakeProvider]:
    """Another provider, which is well."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider, backup: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker with a deployment for each fault on each route, so that none meets another's open breaker."""
    other = Target(
        provider="backup",
        kind="openai-compatible",
        base_urls=(backup.url,),
        upstream_model="big",
        price=PRICE,
        continuation="off",
    )
    plans = []
    for name in (model(*each) for each in itertools.product((*STARTS, *CALLERS), (*PATHS, *ROUTES))):
        plan = deployment(
            fake_process.url,
            name=name,
            aliases=(),
            upstream_model=name,
            price=PRICE,
            continuation="off",
            timeout=HASTY if name.startswith("silent") else PATIENT,
            retry=Retry(attempts=1),
        )
        target = msgspec.structs.replace(plan.target, fallbacks=(other,))
        plans.append(msgspec.structs.replace(plan, target=target))
    with Gateway(tmp_path_factory.mktemp("routes") / "g", *plans) as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, provider: FakeProvider, backup: FakeProvider) -> Gateway:
    """The module's worker, both providers as they were when they began."""
    backup.reset()
    return shared


def ask(gateway: Gateway, provider: FakeProvider, route: str, name: str, *, stream: bool) -> httpx2.Response:
    """A call whose first model fails so."""
    provider.script(ScriptStep(behaviour=(STARTS | CALLERS)[name], forever=True))
    asked: dict[str, Any] = {"model": model(name, route)}
    if stream and route != "embeddings":
        asked["stream"] = True
    if route in PATHS:
        return say(gateway, route, **asked)
    with gateway.client() as client:
        return client.post(f"/v1/{route}", json=asked | ROUTES[route])


def fell_back(gateway: Gateway, response: httpx2.Response) -> None:
    """The answer and its record say who answered, and that another one failed before."""
    assert response.status_code == 200, response.text
    assert response.headers["x-airboss-fallback"] == "backup/big"
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("ok", "answered_by_fallback")
    assert (end["provider"], end["model"]) == ("backup", "big")
    *before, last = end["attempts"]
    assert before
    assert all(each["error_type"] for each in before)
    assert (last["why"], last["error_type"]) == ("fallback", None)
    assert end["cost_usd"] == pytest.approx(sum(each["cost_usd"] or 0 for each in end["attempts"]))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", sorted(PATHS))
@pytest.mark.parametrize("name", STARTS)
def test_other_dialects_in(
    gateway: Gateway, provider: FakeProvider, name: str, dialect: str, stream: bool
) -> None:
    """`/v1/messages` and `/v1/responses` have the fallback's whole answer, and nothing of what failed."""
    response = ask(gateway, provider, dialect, name, stream=stream)
    fell_back(gateway, response)
    assert text(dialect, response, stream=stream) == SAID
    assert not stream or is_whole(dialect, response)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", STARTS)
def test_completions(gateway: Gateway, provider: FakeProvider, name: str, stream: bool) -> None:
    """So have text completions."""
    response = ask(gateway, provider, "completions", name, stream=stream)
    fell_back(gateway, response)
    if not stream:
        assert response.json()["choices"][0]["text"] == SAID
        return
    assert response.text.endswith("data: [DONE]\n\n")
    found = [json.loads(each[6:]) for each in response.text.split("\n\n") if each.startswith("data: {")]
    assert "".join(choice["text"] for each in found for choice in each["choices"]) == SAID


@pytest.mark.parametrize("name", STARTS)
def test_embeddings(gateway: Gateway, provider: FakeProvider, name: str) -> None:
    """So have embeddings."""
    response = ask(gateway, provider, "embeddings", name, stream=False)
    fell_back(gateway, response)
    assert len(response.json()["data"][0]["embedding"]) == 64


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("route", [*sorted(PATHS), *ROUTES])
@pytest.mark.parametrize("name", CALLERS)
def test_the_callers_own(  # noqa: PLR0917 - three tables crossed
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, name: str, route: str, stream: bool
) -> None:
    """What no other model would mend is told at once, and nobody else is asked."""
    response = ask(gateway, provider, route, name, stream=stream)
    assert 400 <= response.status_code < 500
    told = error(route, response) if route in PATHS else response.json()["error"]
    assert told["message"]
    assert "x-airboss-fallback" not in response.headers
    assert (provider.stats().requests, backup.stats().requests) == (1, 0)
    end = gateway.closed(response.headers["x-request-id"])
    assert [each["why"] for each in end["attempts"]] == ["first"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_call_without_a_key_for_its_provider_has_a_record(own_root: Path, *, stream: bool) -> None:
    """On every route, as any call that was let in and that nobody answers: it counts as an error."""
    served = deployment("http://127.0.0.1:9/v1", aliases=("gpt-4o",), api_key_ref="env:NOT_SET")
    with Gateway(own_root, served) as gateway, gateway.client() as client:
        answers = [gateway.chat(stream=stream), *(say(gateway, each, stream=stream) for each in PATHS)]
        for route, asked in ROUTES.items():
            answers.append(client.post(f"/v1/{route}", json={"model": "gpt-4o", **asked}))
        opened, closed = gateway.frames()
        for answer in answers:
            assert (answer.status_code, "provider_key_missing" in answer.text) == (503, True), answer.text
            record_id = answer.headers["x-request-id"]
            assert opened[record_id]["deployment"] == "assistant"
            ended = closed[record_id]["status"], closed[record_id]["error_type"]
            assert ended == ("error", "provider_key_missing")
        assert len(opened) == len(answers)
