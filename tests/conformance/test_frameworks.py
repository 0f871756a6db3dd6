"""Frameworks that people build with, against a gateway: by every dialect that each of them speaks."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.conformance.running import run
from tests.support.gateway import Gateway

SPOKEN = {
    "vercel-ai": ("responses", "chat", "compatible", "messages"),
    "langchain": ("chat", "responses", "messages"),
    "pydantic-ai": ("chat", "responses"),
    "llama-index": ("",),
}
WORDS = "word0 word1 word2 word3"
STATUSES = {"429": 429, "500": 502, "503": 503, "context-length": 400}


def spoken(told: Any, ways: tuple[str, ...]) -> dict[str, Any]:
    """What was told, by way of speaking."""
    return {way: told[way] if way else told for way in ways}


@pytest.fixture(scope="module", params=SPOKEN)
def client(request: pytest.FixtureRequest) -> str:
    """One of them."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def whole(client: str, faked: Gateway, fake_process: FakeProvider) -> Any:
    """What it tells of the fake provider."""
    fake_process.reset()
    return run(client, faked, "fake")


@pytest.fixture(scope="module")
def told(client: str, whole: Any) -> dict[str, Any]:
    """The same by way of speaking."""
    return spoken(whole, SPOKEN[client])


def test_text(told: dict[str, Any]) -> None:
    """Whole and streamed, an answer is the same."""
    for way, said in told.items():
        streamed = said["streamed"]
        text = streamed["text"] if isinstance(streamed, dict) else streamed
        assert (said["text"], text) == (WORDS, WORDS), way


def test_usage(client: str, told: dict[str, Any]) -> None:
    """Tokens are counted in the framework's own words."""
    if client == "llama-index":
        pytest.skip("it tells of none")
    for way, said in told.items():
        assert said.get("usage", said.get("output")) == 4, way


def test_tools(told: dict[str, Any]) -> None:
    """Parallel calls are made with their arguments, and the loop goes on with their results."""
    for way, said in told.items():
        assert sorted(said["tools"]) == [1, 3], way
        assert said.get("answer", "Sunny").startswith("Sunny"), way


def test_structured_output(told: dict[str, Any]) -> None:
    """An answer by a schema is an object of the framework's."""
    for way, said in told.items():
        assert said["structured"] in (7, {"a": 7}), way


def test_errors(told: dict[str, Any]) -> None:
    """Every failure is raised, with its status; a cut stream never looks whole."""
    for way, said in told.items():
        statuses = {fault: said["errors"][fault]["status"] for fault in STATUSES}
        assert statuses == STATUSES, way
        assert all(each["error"] for each in said["errors"].values()), way


def test_retries(told: dict[str, Any]) -> None:
    """Its own retry has the answer after a failure that passes."""
    for way, said in told.items():
        assert said["retried"].startswith("in the end"), way


def test_embeddings(client: str, whole: Any) -> None:
    """Vectors come by the framework's own way of asking for them."""
    if client == "pydantic-ai":
        pytest.skip("its vectors are another package")
    assert whole["vectors"] == [64, 64]


def test_a_local_model(client: str, local: Gateway) -> None:
    """It talks to the starter model in every way."""
    for way, said in spoken(run(client, local, "local"), SPOKEN[client]).items():
        streamed = said["streamed"]
        assert said["text"], way
        assert streamed["text"] if isinstance(streamed, dict) else streamed, way
