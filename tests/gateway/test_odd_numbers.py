"""Numbers that JSON has and we cannot hold, said by upstreams: they cost neither an answer nor a record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.domain.plan import Caching
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say

ODD = ["1e400", "-1e400", "1" + "0" * 400, "-" + "9" * 40, "18446744073709551616", "1.5", "null", "[]"]
WHOLE = (
    '{"id":"u","object":"chat.completion","created":1,"model":"up","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"Said."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,'
    '"completion_tokens":2,"total_tokens":5,"odd":%s},"odd":%s}'
)
PIECES = [
    '{"id":"u","model":"up","created":1,"odd":%s,"choices":[{"index":0,"delta":{"role":"assistant","content":"Said."}}]}',
    '{"id":"u","model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop","odd":%s}]}',
    '{"id":"u","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":%s}}',
]


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with and without a cache."""
    plans = [
        deployment(upstream.url, price=PRICE),
        deployment(upstream.url, price=PRICE, name="cached", aliases=(), cache=Caching(ttl_s=60)),
    ]
    with Gateway(tmp_path_factory.mktemp("odd") / "g", *plans) as running:
        yield running


def asked(gateway: Gateway, dialect: str, **body: Any) -> Any:
    """A call in a dialect."""
    return gateway.chat(**body) if dialect == "chat" else say(gateway, dialect, **body)


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
@pytest.mark.parametrize("odd", ODD, ids=[each[:12] for each in ODD])
def test_an_answer_with_it_is_an_answer(
    gateway: Gateway, upstream: SaidUpstream, odd: str, dialect: str
) -> None:
    """In any dialect, streamed or not, kept or not, and its record has what it says."""
    for model in ("gpt-4o", "cached"):
        for stream in (False, True):
            upstream.events = [each.replace("%s", odd) for each in PIECES] if stream else []
            upstream.body = WHOLE.replace("%s", odd).encode()
            extra = {"metadata": {"session_id": f"{odd[:9]}{stream}"}} if dialect == "chat" else {}
            for _ in range(2):
                answer = asked(gateway, dialect, model=model, stream=stream, **extra)
                assert answer.status_code == 200, answer.text
                assert "Said." in answer.text
                assert "error" not in answer.text.replace('"error":null', "")
                end = gateway.closed(answer.headers["x-request-id"])
                assert (end["status"], end["finish_reason"]) == ("ok", "stop")
                assert (end["input_tokens"], end["output_tokens"]) in {(3, 2), (0, 0)}
                assert "Said." in json.dumps(end["response"])


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("told", ["null", "[]", '"3"', '{"prompt_tokens":-3,"completion_tokens":-2}'])
def test_usage_that_cannot_be_read_is_counted_for_who_asked(
    gateway: Gateway, upstream: SaidUpstream, told: str, asks: bool
) -> None:
    """Nobody else gets an event without choices, in which clients look for the first."""
    last = PIECES[2][: PIECES[2].index('{"prompt')] + told + "}"
    upstream.events = [each.replace("%s", "1") for each in PIECES[:2]] + [last]
    messages = [{"role": "user", "content": f"{told} {asks}"}]
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks else {}
    for model in ("gpt-4o", "cached"):
        answer = gateway.chat(model=model, stream=True, messages=messages, **options)
        assert answer.status_code == 200, answer.text
        assert "Said." in answer.text
        assert answer.text.endswith("data: [DONE]\n\n")
        assert answer.text.count('"choices":[]') == int(asks)
        end = gateway.closed(answer.headers["x-request-id"])
        assert end["usage_estimated"] is True
        assert f'"prompt_tokens":{end["input_tokens"]},' in answer.text or not asks
