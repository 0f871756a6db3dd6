"""Providers that do not speak OpenAI's dialect and fail: what is told, tried again, and never looks whole."""

from __future__ import annotations

import json
from functools import partial

import httpx2
import pytest

from airboss.domain.release import ProviderKind
from airboss.testing import FakeProvider
from tests.support.dialects import FOREIGN, KINDS, STREAM, ask, said
from tests.support.gateway import SILENT, Gateway, asking, together


@pytest.fixture
def gateway(foreign: Gateway, provider: FakeProvider) -> Gateway:
    """The module's worker, its provider as it was when it began."""
    assert provider.url
    return foreign


@pytest.fixture(scope="module")
def silent(foreign: Gateway) -> dict[tuple[str, ProviderKind, bool], httpx2.Response]:
    """The answers to calls whose time runs out, by fault, kind of provider, and whether they are streams."""
    return together(
        {
            (fault, kind, stream): partial(ask, foreign, f"{kind}-hasty", asking(fault, ""), stream=stream)
            for fault in SILENT
            for kind in FOREIGN
            for stream in (False, True)
        }
    )


@STREAM
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("429", 429, "rate_limit_exceeded"),
        ("500", 502, "upstream_error"),
        ("503", 503, "upstream_unavailable"),
        ("529", 503, "upstream_unavailable"),
        ("reset", 502, "upstream_error"),
        ("error-200", 502, None),
        ("html", 502, "upstream_error"),
        ("echo-authorization", 502, "upstream_auth"),
        ("silence", 504, None),
        ("redirect-307", 502, "upstream_error"),
    ],
)
@KINDS
def test_failures_are_the_usual_ones(  # noqa: PLR0917 - three tables crossed
    request: pytest.FixtureRequest,
    gateway: Gateway,
    kind: ProviderKind,
    fault: str,
    status: int,
    code: str | None,
    stream: bool,
) -> None:
    """A provider's errors are told in OpenAI's shape, and never its secret."""
    if fault in SILENT:
        answer = request.getfixturevalue("silent")[fault, kind, stream]
    else:
        answer = ask(gateway, kind, f'fake:{{"fault":"{fault}"}}', stream=stream)
    allowed = {status, 503} if fault == "error-200" else {status}
    assert answer.status_code in allowed, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert code is None or error["code"] == code
    assert "aws+secret" not in answer.text
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["status"] == "error"


@STREAM
@KINDS
def test_the_callers_mistakes_stay_the_callers(gateway: Gateway, kind: ProviderKind, stream: bool) -> None:
    """A provider's 400 is a 400 with its words; a prompt that is too long has OpenAI's code for it."""
    words = {
        "anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
        "gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "bedrock": "Input is too long for requested model.",
    }[kind]
    told = json.dumps({"fault": "status", "status": 400, "message": words})
    answer = ask(gateway, kind, f"fake:{told}", stream=stream)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"] == words
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    plain = ask(gateway, kind, 'fake:{"fault":"status","status":400,"message":"no"}', stream=stream)
    assert (plain.status_code, plain.json()["error"]["message"]) == (400, "no")


@STREAM
def test_what_anthropics_filter_refuses_has_openais_code(gateway: Gateway, stream: bool) -> None:
    """Its words alone tell it from a caller's mistake; by that others are asked where a release says so."""
    words = "Output blocked by content filtering policy"
    told = json.dumps({"fault": "status", "status": 400, "message": words})
    answer = ask(gateway, "anthropic", f"fake:{told}", stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"], error["code"]) == (400, words, "content_filter")


@pytest.mark.parametrize(
    "fault", ["cut-close", "cut-end", "cut-reset", "error-mid-stream", "malformed-event"]
)
@KINDS
def test_a_broken_stream_never_looks_whole(gateway: Gateway, kind: ProviderKind, fault: str) -> None:
    """What came before the break is the client's, then an error event, and no `[DONE]`."""
    told = f'fake:{{"fault":"{fault}","after":2,"words":12}}'
    answer = ask(gateway, kind, told, stream=True)
    assert answer.status_code == 200, answer.text
    assert "word0" in answer.text
    assert "[DONE]" not in answer.text
    assert json.loads(answer.text.rstrip().rsplit("data: ", 1)[1])["error"]["message"]
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["status"] == "error"
    assert closed["response"]["choices"][0]["message"]["content"].startswith("word0")


@pytest.mark.parametrize("fault", ["byte-writes", "utf8-split", "gzip", "sse-comments", "close-delimited"])
@STREAM
@KINDS
def test_however_it_comes_it_is_read(gateway: Gateway, kind: ProviderKind, fault: str, stream: bool) -> None:
    """Cut anywhere, compressed or commented, the answer is the same."""
    if kind == "bedrock" and fault == "sse-comments":
        pytest.skip("binary frames have no comments")
    text = "Räder hoch: 🚀 startet."
    told = json.dumps({"fault": fault, "text": text, "pause_s": 0})
    assert said(ask(gateway, kind, f"fake:{told}", stream=stream))["message"]["content"] == text


@STREAM
@KINDS
def test_a_failing_start_is_tried_again(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """Retries are the executor's, and know nothing of dialects."""
    served = ask(gateway, f"{kind}-patient", 'fake:{"fault":"529","first":2}', stream=stream)
    assert said(served)["message"]["content"]
    assert provider.stats().requests == 3
    closed = gateway.closed(served.headers["x-request-id"])
    assert [each["status_code"] for each in closed["attempts"]] == [529, 529, 200]


def test_a_wait_that_a_body_asks_for_is_kept(gateway: Gateway) -> None:
    """Gemini tells in an error's details when to come again; the client hears of it."""
    refused = ask(gateway, "gemini", 'fake:{"fault":"429-no-retry-after"}')
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")


def test_a_blocked_prompt_is_a_content_filter(gateway: Gateway) -> None:
    """Gemini answers it with 200 and nothing; the client gets a 400 with the reason, whole or streamed."""
    for stream in (False, True):
        refused = ask(gateway, "gemini", "PROHIBITED words", stream=stream)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "content_filter"
        assert "PROHIBITED_CONTENT" in refused.json()["error"]["message"]
