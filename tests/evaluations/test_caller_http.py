"""Calling releases over HTTP, against a real process that answers and misbehaves."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from airboss.evaluations import caller_http
from airboss.evaluations.caller_http import HttpCaller, money, read_answer, request_body, retry_after
from airboss.evaluations.datasets import Input
from airboss.evaluations.paid_once import FORGOTTEN
from airboss.evaluations.ports import Answer, Call
from airboss.testing import FakeProvider
from tests.evaluations.support import A

KEY = "ab_" + "k" * 43


def ask(provider: FakeProvider, *texts: str, confirm: bool = False, **given: Any) -> list[Answer]:
    """The answers to calls made at once."""

    async def work() -> list[Answer]:
        caller = HttpCaller(provider.url, KEY, confirm=confirm, **given)
        try:
            return list(await asyncio.gather(*(caller.call(call(text)) for text in texts)))
        finally:
            await caller.aclose()

    return asyncio.run(work())


def call(text: str = "hello", **given: Any) -> Call:
    """A call of release A."""
    messages = ({"role": "user", "content": text},)
    return Call(target=A, input=Input(messages=messages), subject="s", **given)


def test_an_answer_is_read_whole(provider: FakeProvider) -> None:
    """Text, tokens, reason and time come back; the request names the release and carries the key."""
    provider.script("ok;text=Paris")
    (answer,) = ask(provider, "Where?")
    assert (answer.text, answer.error, answer.finish_reason) == ("Paris", None, "stop")
    assert (answer.input_tokens, answer.output_tokens) == (1, 1)
    assert answer.cost_usd is None
    assert answer.latency_ms
    seen = provider.last()
    assert seen.header("x-airboss-release") == A.release
    assert seen.header("authorization") == f"Bearer {KEY}"
    body = json.loads(seen.body)
    assert body == {"model": "a", "messages": [{"role": "user", "content": "Where?"}]}


def test_a_call_that_tests_says_so(provider: FakeProvider) -> None:
    """In a header; others have none."""
    for tests, header in ((False, None), (True, "1")):

        async def work(tests: bool = tests) -> Answer:
            async with aclosing(HttpCaller(provider.url, KEY, confirm=False)) as caller:
                return await caller.call(call(tests=tests))

        assert asyncio.run(work()).error is None
        assert provider.last().header("x-airboss-test") == header


def test_a_call_of_who_is_forgotten_meanwhile_is_not_repeated(provider: FakeProvider) -> None:
    """The repeat would be newer than their erasure, which would not find it; others' calls go on."""
    provider.script(*["429;retry_after=0"] * 2)
    asked: list[str] = []

    def forgotten(user: str, began_at: datetime) -> bool:
        assert began_at <= datetime.now(UTC)
        asked.append(user)
        return user == "ann"

    async def work() -> list[Answer]:
        async with aclosing(HttpCaller(provider.url, KEY, confirm=False, forgotten=forgotten)) as caller:
            return [await caller.call(call(user=user)) for user in ("ann", "bob")]

    ann, bob = asyncio.run(work())
    assert (ann.error, ann.text, bob.error) == (FORGOTTEN, None, None)
    assert asked == ["ann", "bob"]
    assert provider.stats().requests == 3


def test_the_request() -> None:
    """The item's fields, the call's over them, variables for the prompt, and never an empty conversation."""
    given = Input(variables={"x": "y"}, params={"tools": [], "temperature": 1, "model": "other"})
    asked = Call(target=A, input=given, subject="s", params={"temperature": 0})
    assert request_body(asked) == {
        "tools": [],
        "temperature": 0,
        "model": "a",
        "messages": [{"role": "user", "content": ""}],
        "prompt_variables": {"x": "y"},
    }


def test_an_answer_of_another_release_is_an_error(provider: FakeProvider) -> None:
    """An endpoint that does not say which release answered may be answering with any."""
    (answer,) = ask(provider, "x", confirm=True)
    assert answer.text is None
    assert answer.error is not None
    assert f"asked for release {A.release} of 'a', answered by None" in answer.error


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("500", "500: The server had an error"),
        ("context-length", "400: This model's maximum context length"),
        ("html", "no chat completion came back"),
        ("error-200", "no chat completion came back"),
        ("redirect-307", "307"),
    ],
)
def test_what_fails_is_an_answer_with_its_cause(provider: FakeProvider, fault: str, error: str) -> None:
    """Nothing is raised, and what was answered is not asked again."""
    provider.script(fault)
    (answer,) = ask(provider, "x")
    assert answer.text is None
    assert answer.error is not None
    assert error in answer.error
    assert answer.latency_ms
    assert provider.stats().requests == 1


@pytest.mark.parametrize("fault", ["429;retry_after=0", "503"])
def test_what_was_turned_away_is_asked_again(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A busy endpoint costs nothing but time, and not for ever."""
    monkeypatch.setattr(caller_http, "PAUSE_S", 0.001)
    provider.script(fault, fault)
    assert ask(provider, "x")[0].text is not None
    assert provider.stats().requests == 3
    provider.reset()
    provider.script(*[fault] * 9)
    assert (ask(provider, "x")[0].error or "").startswith(fault[:3])
    assert provider.stats().requests == caller_http.ATTEMPTS_MAX


@pytest.mark.parametrize("code", ["insufficient_quota", "quota_exceeded", "rate_limit_exceeded"])
def test_a_quota_that_is_used_up_is_not_asked_again(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """No wait mends it: a run would only take long; a limit that passes is waited for."""
    monkeypatch.setattr(caller_http, "PAUSE_S", 0.001)
    provider.script(f"status;status=429;code={code}")
    found = ask(provider, "x")[0]
    passes = code == "rate_limit_exceeded"
    assert (provider.stats().requests, found.error is None) == ((2, True) if passes else (1, False))


@pytest.mark.parametrize("fault", ["cut-reset", "truncated-body", "close"])
def test_what_broke_is_asked_again_once(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A worker that ends under a call is no fault of the release; what always breaks is told."""
    monkeypatch.setattr(caller_http, "PAUSE_S", 0.001)
    provider.script(fault)
    assert ask(provider, "x")[0].text is not None
    assert provider.stats().requests == 2
    provider.reset()
    provider.script(*[fault] * 9)
    assert "the connection broke" in (ask(provider, "x")[0].error or "")
    assert provider.stats().requests == caller_http.BROKEN_MAX


def refusing(words: str) -> str:
    """A refusal in OpenAI's words."""
    return f"status;status=400;code=unsupported;message={words} is not supported with this model."


LIMIT, WARMTH = refusing("Unsupported parameter: 'max_tokens'"), refusing("Unsupported value: 'temperature'")


def test_models_that_refuse_what_nobody_asked_for(provider: FakeProvider) -> None:
    """The limit has another name there, and a temperature of 0 is left out; both are asked for once."""

    async def work() -> list[Answer]:
        caller = HttpCaller(provider.url, KEY, confirm=False)
        params = {"temperature": 0, "max_tokens": 9}
        try:
            return [await caller.call(call(text, params=params)) for text in ("one", "two")]
        finally:
            await caller.aclose()

    provider.script(LIMIT, WARMTH, "ok;text=a", "ok;text=b")
    assert [answer.text for answer in asyncio.run(work())] == ["a", "b"]
    bodies = [json.loads(each.body) for each in provider.stats().last]
    assert len(bodies) == 4
    for body in bodies[2:]:
        assert body["max_completion_tokens"] == 9
        assert not {"temperature", "max_tokens"} & body.keys()


def test_what_is_learned_at_last_is_no_attempt(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that was overloaded before is asked once more, as it wants to be."""
    monkeypatch.setattr(caller_http, "PAUSE_S", 0.001)

    async def work() -> Answer:
        caller = HttpCaller(provider.url, KEY, confirm=False)
        try:
            return await caller.call(call(params={"max_tokens": 9}))
        finally:
            await caller.aclose()

    provider.script(*["503"] * (caller_http.ATTEMPTS_MAX - 1), LIMIT, "ok;text=a")
    assert asyncio.run(work()).text == "a"


def test_a_temperature_that_somebody_asked_for_is_not_left_out(provider: FakeProvider) -> None:
    """The call fails, and says why."""

    async def work() -> Answer:
        caller = HttpCaller(provider.url, KEY, confirm=False)
        try:
            return await caller.call(call(params={"temperature": 0.7}))
        finally:
            await caller.aclose()

    provider.script(WARMTH)
    answer = asyncio.run(work())
    assert answer.error is not None
    assert answer.error.startswith("400: Unsupported value: 'temperature'")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port is tried again and then told."""
    monkeypatch.setattr(caller_http, "PAUSE_S", 0.001)

    async def work() -> Answer:
        caller = HttpCaller("http://127.0.0.1:9/v1", KEY)
        try:
            return await caller.call(call())
        finally:
            await caller.aclose()

    assert "no connection to http://127.0.0.1:9/v1/chat/completions" in (asyncio.run(work()).error or "")


def test_no_proxy_stands_before_this_machine(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names would get the key, and could not reach us."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert ask(provider, "x")[0].text is not None


def test_silence_ends(provider: FakeProvider) -> None:
    """A call has a time limit, repeats and pauses included."""
    provider.script("silence")
    assert ask(provider, "x", timeout_s=0.2)[0].error == "no answer within 0.2 s"
    provider.script(*["429;retry_after=30"] * 3)
    assert ask(provider, "x", timeout_s=0.2)[0].error == "no answer within 0.2 s"


def test_the_key_stands_in_no_answer(provider: FakeProvider) -> None:
    """Not even where the endpoint repeats it."""
    provider.script("echo-authorization")
    error = ask(provider, "x")[0].error or ""
    assert KEY not in error
    assert "[REDACTED]" in error


def test_a_body_is_bounded(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without end is given up."""
    monkeypatch.setattr(caller_http, "BODY_BYTES_MAX", 1_000)
    provider.script("large-event;size_bytes=5000")
    assert ask(provider, "x")[0].error == "the answer has more than 1000 bytes"


def test_many_at_once(provider: FakeProvider) -> None:
    """Calls do not wait for each other: on a busy machine the first may be over when the last begins."""
    for delay_s in (0.3, 3.0):
        provider.reset()
        provider.script(*[f"ok;delay_s={delay_s}"] * 20)
        answers = ask(provider, *["x"] * 20)
        assert all(answer.text is not None for answer in answers)
        if provider.stats().connections == 20:
            break
    assert provider.stats().connections == 20


def test_headers_are_read() -> None:
    """Cost, release and record come from the gateway's headers; what cannot be read is unknown."""
    body = b'{"choices": [{"message": {"content": null, "tool_calls": [{"id": 1}]}}]}'
    headers = {"x-airboss-cost-usd": "0.0015", "x-airboss-release": "r", "x-request-id": "1"}
    answer = read_answer(body, headers, latency_ms=1)
    assert (answer.text, answer.tool_calls) == ("", [{"id": 1}])
    assert (answer.cost_usd, answer.release, answer.record) == (Decimal("0.0015"), "r", "1")
    assert [money(text) for text in (None, "", "null", "NaN", "0")] == [None, None, None, None, Decimal(0)]
    assert [retry_after(text) for text in (None, "2", "-1", "inf", "Wed, 21 Oct")] == [0, 2, 0, 0, 0]
    assert "without choices" in (read_answer(b'{"choices": []}', {}, latency_ms=1).error or "")
