"""OpenAI's own clients, for Python and for Node, against a gateway: unchanged but for base URL and key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.conformance.running import run
from tests.support.gateway import Gateway

CLIENTS = ("openai-python", "openai-node")
CALLS = [{"city": 'Zürich "old" town', "days": 3}, {"city": "Nîmes\n", "days": 1}]


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """One of them."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def told(client: str, faked: Gateway, fake_process: FakeProvider) -> Any:
    """What it tells of the fake provider."""
    fake_process.reset()
    return run(client, faked, "fake")


def test_chat(told: Any) -> None:
    """Whole and streamed, an answer is the same, and so is its usage."""
    chat = told["chat"]
    assert chat["text"] == chat["streamed"] == "word0 word1 word2 word3"
    assert chat["finish"] == "stop"
    assert chat["tokens"] == chat["stream_tokens"]
    assert chat["tokens"][1] == 4


def test_tools(told: Any) -> None:
    """Parallel calls come whole and in pieces, and their results go back."""
    assert told["tools"] == {"calls": CALLS, "streamed": CALLS, "answer": "Sunny."}


def test_structured_output(told: Any) -> None:
    """An answer by a schema is the client's own object."""
    assert told["parsed"] == 7


def test_responses(told: Any) -> None:
    """A response has its events in order; it is gone on from, fetched, looked into and deleted."""
    said = told["responses"]
    assert (said["text"], said["streamed"], said["fetched"]) == ("One.", "Two words.", "One.")
    assert said["events"] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert said["previous"]
    assert said["items"] == ["message"] * 3
    assert said["called"] == ["weather"]
    assert (said["hosted"], said["searched"]) == (["web_search_call", "message"], True)
    assert said.get("parsed", 7) == 7
    assert (said["gone"]["error"], said["gone"]["status"]) == ("NotFoundError", 404)


def test_other_routes(told: Any) -> None:
    """Embeddings, completions, models, and the routes that are passed on."""
    assert told["others"] == {
        "vectors": [64, 64],
        "completion": "so it is",
        "models": ["assistant", "gpt-4o"],
        "model": "gpt-4o",
        "speech": 3 + 64 * 5,
        "transcription": "heard 4 bytes",
        "transcription_events": ["transcript.text.delta", "transcript.text.done"],
        "images": 1,
        "moderation": False,
        "file": '{"x": 1}\n',
        "files": [True],
        "batch": "completed",
        "deleted": True,
    }


@pytest.mark.parametrize(
    ("fault", "error", "status", "code"),
    [
        ("429", "RateLimitError", 429, "rate_limit_exceeded"),
        ("500", "InternalServerError", 502, "upstream_error"),
        ("503", "InternalServerError", 503, "upstream_unavailable"),
        ("context-length", "BadRequestError", 400, "context_length_exceeded"),
        ("content-filter", "BadRequestError", 400, "content_filter"),
        ("cut", "APIError", None, "upstream_error"),
        ("model", "NotFoundError", 404, "model_not_found"),
        ("key", "AuthenticationError", 401, "invalid_api_key"),
    ],
)
def test_errors(told: Any, fault: str, error: str, status: int | None, code: str) -> None:
    """Each failure is the client's own class for it, with our code; a cut stream raises."""
    assert told["errors"][fault] == {"error": error, "status": status, "code": code}


def test_a_client_that_waits_no_longer(told: Any) -> None:
    """Its own deadline is its own error."""
    assert told["errors"]["timeout"]["error"] in {"APITimeoutError", "APIConnectionTimeoutError"}


@pytest.mark.parametrize("fault", ["429", "503"])
def test_it_tries_again_when_it_is_told_to(told: Any, fault: str) -> None:
    """After a failure that passes, the client's own retry has the answer."""
    assert told["errors"][f"{fault} once"] == "in the end"


def test_it_does_not_when_that_cannot_help(client: str, told: Any, fake_process: FakeProvider) -> None:
    """What sending again cannot mend is sent once."""
    assert told["errors"]["quota"]["code"] == "insufficient_quota"
    asked = [seen for seen in fake_process.stats().last if "insufficient_quota" in seen.body]
    assert len(asked) == 1, client


def test_a_local_model(client: str, local: Gateway) -> None:
    """The same client talks to the starter model, by schema and by Responses too."""
    told = run(client, local, "local")
    assert told["chat"]["text"]
    assert told["chat"]["text"] == told["chat"]["streamed"]
    assert isinstance(json.loads(told["parsed"])["a"], int | float)  # in Node a number, whole or not
    assert told["response"]
