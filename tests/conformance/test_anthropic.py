"""Anthropic's own Python client against a gateway, unchanged but for its base URL and key."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.conformance.running import run
from tests.support.gateway import Gateway


@pytest.fixture(scope="module")
def told(faked: Gateway, fake_process: FakeProvider) -> Any:
    """What it tells of the fake provider."""
    fake_process.reset()
    return run("anthropic-python", faked, "fake")


def test_text(told: Any) -> None:
    """Whole and streamed, the client reads one message."""
    whole, streamed = told["text"]["whole"], told["text"]["streamed"]
    assert whole["content"] == [{"type": "text", "text": "word0 word1 word2 word3"}]
    assert whole["usage"]["cache_read_input_tokens"] == 2
    assert whole["usage"]["output_tokens"] == 4
    assert told["text"]["request_id"].replace("-", "") == whole["id"].removeprefix("msg_")
    assert streamed | {"id": ""} == whole | {"id": ""}
    kinds = told["text"]["events"]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_tools(told: Any) -> None:
    """Parallel calls are read, and their results go back."""
    for way in ("whole", "streamed"):
        said = told["tools"][way]
        assert said["stop_reason"] == "tool_use"
        assert [block["input"]["days"] for block in said["content"]] == [3, 1]
    assert told["results"]["whole"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("fault", "error", "status", "type_"),
    [
        ("429", "RateLimitError", 429, "rate_limit_error"),
        ("500", "InternalServerError", 502, "api_error"),
        ("503", "ServiceUnavailableError", 503, "overloaded_error"),
        ("context-length", "BadRequestError", 400, "invalid_request_error"),
        ("model", "NotFoundError", 404, "not_found_error"),
        ("key", "AuthenticationError", 401, "authentication_error"),
    ],
)
def test_errors(told: Any, fault: str, error: str, status: int, type_: str) -> None:
    """Each error is the client's own class for it, with our words."""
    assert (told[fault]["error"], told[fault]["status"]) == (error, status)
    assert told[fault]["body"]["error"]["type"] == type_
    assert told[fault]["body"]["error"]["message"]


@pytest.mark.parametrize("fault", ["cut-end", "cut-reset", "error-mid-stream"])
def test_a_cut_stream_raises(told: Any, fault: str) -> None:
    """A stream that breaks never ends in a message."""
    assert told[fault]["error"] is not None
    assert told[fault]["body"]["type"] == "error"


def test_models(told: Any) -> None:
    """They are listed, and told one by one, in Anthropic's words."""
    assert told["one"] in told["models"]


def test_counts(told: Any) -> None:
    """A count is a number."""
    assert told["count"] >= 1


def test_a_local_model(local: Gateway) -> None:
    """The same client talks to the local engine; what fails there is told in its own words too."""
    said = run("anthropic-python", local, "local")
    assert said["text"]["whole"]["content"][0]["text"]
    assert said["text"]["streamed"]["content"][0]["text"]
    assert said["count"] > 1
    assert said["model"]["error"] == "NotFoundError"
