"""What a call used and cost: all that its attempts produced, each at its own price, once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.plan import DeploymentPlan, Price, Retry, Target
from airboss.domain.release import Policy
from airboss.gateway.billing import _cut, prompt_tokens
from airboss.providers import o200k
from airboss.providers.fake_bedrock import frame
from airboss.testing import FakeProvider, ScriptStep
from tests.support.dialects import BASES, PRICE, SECRET, STREAM, ask
from tests.support.gateway import PATIENT, Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream

OWN = ("openai", "openai-compatible", "local")
"""Kinds that speak OpenAI's dialect; the `foreign` worker has the others."""
TEXT = "Twelve words are said here, so that there is something to count."


@pytest.fixture(scope="module")
def worker(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment of each kind that speaks OpenAI's dialect."""
    plans = [
        deployment(
            fake_process.url,
            name=kind,
            aliases=("gpt-4o",) if kind == "openai" else (),
            kind=kind,
            price=PRICE,
            priced_by="config",
            retry=Retry(attempts=3),
            timeout=PATIENT,
        )
        for kind in OWN
    ]
    with Gateway(tmp_path_factory.mktemp("billing"), *plans) as running:
        yield running


def parts(end: dict[str, Any]) -> list[int]:
    """A record's five parts: input not cached, read from the cache, written to it; said; thought."""
    cached, written, thought = end["cached_input_tokens"], end["cache_write_tokens"], end["reasoning_tokens"]
    return [end["input_tokens"] - cached - written, cached, written, end["output_tokens"] - thought, thought]


def by_hand(end: dict[str, Any]) -> Decimal:
    """What a record's parts cost at PRICE."""
    plain, cached, written, said, thought = parts(end)
    return (plain * 10 + cached + written * Decimal("12.5") + (said + thought) * 100) / Decimal(10**6)


def cost(end: dict[str, Any]) -> Decimal:
    """As the record says."""
    return Decimal(str(end["cost_usd"]))


def check_sums(end: dict[str, Any]) -> None:
    """A record is the sum of its attempts, in tokens and in money, and no part of it is negative."""
    assert all(part >= 0 for part in parts(end)), end
    billed = [each for each in end["attempts"] if each["usage"] is not None]
    names = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
    for name in names:
        assert end[name] == sum(each["usage"][name] for each in billed), name
    assert end["usage_estimated"] == any(each["usage"]["estimated"] for each in billed)
    assert cost(end) == sum(Decimal(str(each["cost_usd"])) for each in billed) == by_hand(end)


@STREAM
@pytest.mark.parametrize("kind", [*OWN, *BASES])
def test_parts_sum_to_totals(
    worker: Gateway, foreign: Gateway, provider: FakeProvider, kind: str, stream: bool
) -> None:
    """Whatever was cached and thought, the parts of a record come to what the client was told, for each kind
    of provider, streamed and whole."""
    gateway = worker if kind in OWN else foreign

    @settings(max_examples=5, deadline=None, database=None)
    @given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
    def holds(cached: int, written: int, thought: int) -> None:
        told = {"text": TEXT, "cached_tokens": cached, "written_tokens": written, "reasoning_tokens": thought}
        messages = [{"role": "user", "content": f"{'word ' * 100}fake:{json.dumps(told)}"}]
        answer = ask(gateway, kind, messages=messages, stream=stream)
        assert answer.status_code == 200, answer.text
        usage = _usage(answer)
        end = gateway.closed(answer.headers["x-request-id"])
        check_sums(end)
        assert not end["usage_estimated"]
        assert sum(parts(end)) == usage["total_tokens"]
        assert end["input_tokens"] == usage["prompt_tokens"]
        assert end["reasoning_tokens"] == (0 if kind == "bedrock" else thought)  # which does not tell
        assert end["cached_input_tokens"] == cached

    holds()


def _usage(answer: httpx2.Response) -> dict[str, Any]:
    if answer.headers["content-type"].startswith("application/json"):
        return answer.json()["usage"]
    events = [each.removeprefix("data: ") for each in answer.text.split("\n\n") if each.startswith("data: {")]
    return next(found for each in events if (found := json.loads(each).get("usage")))


def test_a_retried_error_costs_nothing(worker: Gateway, provider: FakeProvider) -> None:
    """The answer after a 500 costs what it would have without."""
    provider.script("500", f"ok;text={TEXT}")
    end = worker.closed(worker.chat("hello").headers["x-request-id"])
    assert [each["usage"] is None for each in end["attempts"]] == [True, False]
    assert end["attempts"][1]["priced_by"] == "config"
    check_sums(end)
    alone = worker.closed(worker.chat(f'hello fake:{{"text":"{TEXT}"}}').headers["x-request-id"])
    assert end["output_tokens"] == alone["output_tokens"]


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "bedrock"])
def test_a_cut_stream_costs_what_came(
    worker: Gateway, foreign: Gateway, provider: FakeProvider, kind: str
) -> None:
    """What came before the cut is counted by a tokenizer, and the prompt with it; the record says so."""
    gateway = worker if kind in OWN else foreign
    provider.script(f"cut-reset;after=6;text={TEXT}")
    answer = ask(gateway, kind, stream=True)
    assert "[DONE]" not in answer.text
    end = gateway.closed(answer.headers["x-request-id"])
    assert end["status"] == "error"
    assert end["usage_estimated"]
    assert end["output_chars"] > 0
    assert 3 <= end["output_tokens"] <= o200k.count(TEXT)
    assert end["input_tokens"] > 0
    check_sums(end)


@STREAM
def test_a_client_that_leaves_pays_for_what_was_produced(
    worker: Gateway, provider: FakeProvider, stream: bool
) -> None:
    """Streamed: the prompt and what came until then. Whole: the prompt at least, which was read."""
    provider.script("ok;words=2000;tokens_per_s=50")
    body = {"model": "openai", "messages": [{"role": "user", "content": TEXT * 3}], "stream": stream}
    path = "/v1/chat/completions"
    if stream:
        with worker.client() as client, client.stream("POST", path, json=body) as response:
            lines = response.iter_lines()
            for _ in range(8):
                next(lines)
    else:
        worker.leave(path, body, once=lambda: provider.stats().in_flight == 1)
    opened, _ = worker.frames()
    end = worker.closed(max(opened))
    assert (end["status"], end["usage_estimated"]) == ("cancelled", True)
    assert end["input_tokens"] == pytest.approx(o200k.count(TEXT * 3), abs=10)
    assert (end["output_tokens"] > 0) == stream
    check_sums(end)


def test_a_body_that_is_cut_costs_what_came(worker: Gateway, provider: FakeProvider) -> None:
    """A whole answer that broke off was produced all the same; the retry that answered is added to it."""
    provider.script(f"cut-reset;text={TEXT * 4}", f"ok;text={TEXT}")
    end = worker.closed(worker.chat("hello").headers["x-request-id"])
    first, second = end["attempts"]
    assert end["status"] == "ok"
    assert first["usage"]["estimated"]
    assert first["usage"]["output_tokens"] > 0
    assert not second["usage"]["estimated"]
    check_sums(end)


@STREAM
def test_an_answer_that_could_not_be_read_costs_what_is_told(tmp_path: Path, stream: bool) -> None:
    """A model that has garbled its call has been at work all the same, and Bedrock wants its money."""
    usage = {"inputTokens": 300, "outputTokens": 70}
    stop = {"stopReason": "malformed_tool_use"}
    body = json.dumps({"output": {"message": {"content": []}}, "usage": usage, **stop}).encode()
    if stream:
        events: dict[str, dict[str, Any]] = {
            "messageStart": {"role": "assistant"},
            "messageStop": stop,
            "metadata": {"usage": usage},
        }
        body = b"".join(frame(name, json.dumps(inside).encode()) for name, inside in events.items())
    secret = tmp_path / "key"
    secret.write_text(SECRET)
    with said_upstream() as upstream:
        upstream.raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        plan = deployment(
            upstream.url, kind="bedrock", region="eu-west-1", api_key_ref=f"file:{secret}", price=PRICE
        )
        with Gateway(tmp_path / "data", plan) as gateway:
            answer = gateway.chat("hello", stream=stream)
            end = gateway.closed(answer.headers["x-request-id"])
    assert "malformed_tool_use" in answer.text
    assert (end["status"], end["input_tokens"], end["output_tokens"]) == ("error", 300, 70)
    assert cost(end) == Decimal("0.01")
    check_sums(end)


@STREAM
def test_missing_usage_is_counted(worker: Gateway, provider: FakeProvider, stream: bool) -> None:
    """Prompt and answer are counted by a tokenizer where the provider says nothing."""
    provider.script(f"no-usage;text={TEXT}")
    end = worker.closed(worker.chat(TEXT, stream=stream).headers["x-request-id"])
    assert end["usage_estimated"]
    assert end["output_tokens"] == o200k.count(TEXT)
    assert end["input_tokens"] == pytest.approx(o200k.count(TEXT), abs=6)
    check_sums(end)


@STREAM
@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"completion_tokens": 5, "total_tokens": 45}, (40, 5, False)),
        ({"prompt_tokens": 40, "total_tokens": 45}, (40, 5, False)),
        ({"completion_tokens": 5}, (TEXT, 5, True)),
        ({"prompt_tokens": 40}, (40, TEXT, True)),
        ({"total_tokens": 45}, (TEXT, TEXT, True)),
        ({}, (TEXT, TEXT, True)),
    ],
    ids=str,
)
def test_usage_that_says_half_is_made_whole(
    tmp_path: Path, usage: dict[str, int], counts: tuple[Any, Any, bool], stream: bool
) -> None:
    """By its total, else the other half is counted, and no prompt is billed as an answer."""
    with said_upstream() as upstream:
        plan = deployment(upstream.url, price=PRICE)
        with Gateway(tmp_path / "data", plan) as gateway:
            message = {"role": "assistant", "content": TEXT}
            upstream.stream([message])
            upstream.events[-1] = json.dumps({"id": "u", "choices": [], "usage": usage})
            if not stream:
                upstream.events = []
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                upstream.body = {"id": "u", "model": "up", "choices": [choice], "usage": usage}
            answer = gateway.chat(TEXT, stream=stream)
            assert answer.status_code == 200, answer.text
            end = gateway.closed(answer.headers["x-request-id"])
    prompt, output, estimated = (o200k.count(each) if each is TEXT else each for each in counts)
    assert end["input_tokens"] == pytest.approx(prompt, abs=6 if counts[0] is TEXT else 0)
    assert (end["output_tokens"], end["reasoning_tokens"], end["usage_estimated"]) == (output, 0, estimated)
    check_sums(end)


@STREAM
@pytest.mark.parametrize("policy", [None, Policy(pii=(("email", "mask"),), detectors="1")], ids=["", "masks"])
def test_an_answer_that_says_it_broke_off_costs_what_it_tells(
    tmp_path: Path, stream: bool, policy: Policy | None
) -> None:
    """Its provider tells beside the reason what it wants money for, thoughts that nobody saw among it."""
    usage = {"prompt_tokens": 40, "completion_tokens": 70, "total_tokens": 110}
    with said_upstream() as upstream:
        plan = deployment(upstream.url, price=PRICE)
        plan = msgspec.structs.replace(plan, stable=msgspec.structs.replace(plan.stable, policy=policy))
        with Gateway(tmp_path / "data", plan) as gateway:
            message = {"role": "assistant", "content": TEXT}
            upstream.stream([message], finish="error")
            upstream.events[1:] = [json.dumps(json.loads(upstream.events[1]) | {"usage": usage})]
            if not stream:
                upstream.events = []
                choice = {"index": 0, "message": message, "finish_reason": "error"}
                upstream.body = {"id": "u", "model": "up", "choices": [choice], "usage": usage}
            answer = gateway.chat(TEXT, stream=stream)
            end = gateway.closed(answer.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("error", "stream_cut")
    assert (end["input_tokens"], end["output_tokens"]) == (40, 70)
    check_sums(end)


@pytest.mark.parametrize("output", [70, 1], ids=["more than came", "less than came"])
@pytest.mark.parametrize("ends", ["stream", "masked stream", "whole", "unasked stream", "responses"])
def test_an_error_costs_what_it_tells(tmp_path: Path, ends: str, output: int) -> None:
    """An answer that ends in an error with its usage costs that, as its provider counts it: of what came
    nothing is reckoned beside it."""
    usage = {"prompt_tokens": 40, "completion_tokens": output, "total_tokens": 40 + output}
    policy = Policy(pii=(("email", "mask"),), detectors="1") if ends == "masked stream" else None
    with said_upstream() as upstream:
        plan = deployment(upstream.url, price=PRICE, kind="openai")
        plan = msgspec.structs.replace(plan, stable=msgspec.structs.replace(plan.stable, policy=policy))
        with Gateway(tmp_path / "data", plan) as gateway:
            failed = {"error": {"message": "it broke", "code": 502}, "usage": usage}
            if ends == "responses":
                answer = _failed_response(gateway, upstream, usage)
            else:
                upstream.stream([{"role": "assistant", "content": TEXT}], finish=None)
                upstream.events[1:] = [json.dumps(failed)]
                if ends == "whole":
                    upstream.events, upstream.body = [], failed
                answer = gateway.chat(TEXT, stream=ends.endswith("stream") and ends != "unasked stream")
            end = gateway.closed(answer.headers["x-request-id"])
    assert end["status"] == "error"
    assert (end["input_tokens"], end["output_tokens"], end["usage_estimated"]) == (40, output, False)
    check_sums(end)


def _failed_response(gateway: Gateway, upstream: SaidUpstream, usage: dict[str, int]) -> httpx2.Response:
    """A response of OpenAI's that says a text, and then that it has failed."""
    told = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
    response = {"id": "resp_1", "object": "response", "model": "up", "output": []}
    why = {"code": "server_error", "message": "it broke"}
    upstream.events = [
        json.dumps({"type": "response.output_text.delta", "output_index": 0, "delta": TEXT}),
        json.dumps(
            {
                "type": "response.failed",
                "response": response | {"status": "failed", "error": why, "usage": told},
            }
        ),
    ]
    with gateway.client() as client:
        return client.post("/v1/responses", json={"model": "gpt-4o", "input": TEXT, "stream": True})


def test_a_long_body_that_is_cut_holds_nobody_up() -> None:
    """Its client has left, and others are served by the same loop."""
    body = b'{"choices":[{"message":{"content":"' + b"x" * 20_000_000
    began = time.process_time()
    assert len(_cut(body)[0]) == 20_000_000
    assert time.process_time() - began < 1.0  # three times as long where each character is a step


def test_pictures_are_not_counted_as_text() -> None:
    """A megabyte of picture is no quarter of a million tokens; in any provider's form it is one part."""
    picture = "iVBORw0KGgo" * 100_000
    forms: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}},
        {"inlineData": {"mimeType": "image/png", "data": picture}},
    ]
    for form in forms:
        content = [{"type": "text", "text": TEXT}, form]
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]})
        assert prompt_tokens(body.encode()) == pytest.approx(o200k.count(TEXT) + 1000, abs=20)


DEAR = Price(input_usd_per_mtok=Decimal(1000), output_usd_per_mtok=Decimal(2000))


def dear(plan: DeploymentPlan, url: str, **changes: Any) -> DeploymentPlan:
    """The deployment with a fallback that costs more."""
    fallback = Target(
        provider="dear",
        kind="openai-compatible",
        base_urls=(url,),
        upstream_model="dear",
        price=DEAR,
        priced_by="2026-12-15",
        continuation="off",
    )
    target = msgspec.structs.replace(plan.target, fallbacks=(fallback,), **changes)
    return msgspec.structs.replace(plan, target=target)


@pytest.fixture(scope="module")
def falling(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker whose models have a dear fallback, or go on where they broke off."""
    url = fake_process.url
    plain = deployment(url, price=PRICE, priced_by="config", retry=Retry(attempts=1), timeout=PATIENT)
    plans = [
        dear(plain, url, continuation="off"),
        msgspec.structs.replace(
            plain,
            name="goes-on",
            aliases=(),
            target=msgspec.structs.replace(plain.target, continuation="on"),
            retry=Retry(attempts=3),
        ),
    ]
    with Gateway(tmp_path_factory.mktemp("falling"), *plans) as running:
        yield running


def paid(attempt: dict[str, Any], price: Price) -> Decimal:
    """What an attempt without cached tokens cost, by its own numbers."""
    used = attempt["usage"]
    said = used["input_tokens"] * price.input_usd_per_mtok + used["output_tokens"] * price.output_usd_per_mtok
    return said / Decimal(10**6)


@STREAM
@pytest.mark.parametrize("first", ["503", "reset", "cut-reset"])
def test_each_attempt_costs_its_own_price(
    falling: Gateway, provider: FakeProvider, first: str, stream: bool
) -> None:
    """An answer of a fallback costs the fallback's price. What the first one had produced is added at its
    own, if there was anything; the record is the sum."""
    if first == "cut-reset" and stream:
        pytest.skip("what has begun is not answered by another")
    provider.script(ScriptStep(behaviour=f"{first};text={TEXT * 4}", model="up", forever=True))
    answer = falling.chat("hello", stream=stream)
    assert answer.status_code == 200, answer.text
    end = falling.closed(answer.headers["x-request-id"])
    tried, answered = end["attempts"][0], end["attempts"][-1]
    assert (answered["model"], answered["priced_by"]) == ("dear", "2026-12-15")
    assert Decimal(str(answered["cost_usd"])) == paid(answered, DEAR) > 0
    lost = Decimal(0)
    if first == "cut-reset":
        assert tried["usage"]["estimated"]
        lost = paid(tried, PRICE)
        assert lost > 0
    else:
        assert tried["usage"] is None
    assert cost(end) == paid(answered, DEAR) + lost


def test_an_answer_that_went_on_is_billed_in_full(falling: Gateway, provider: FakeProvider) -> None:
    """A stream that broke off and was continued costs both parts, the prompt of each among them."""
    provider.script(f"cut-reset;after=5;text={TEXT}", f"ok;text={TEXT}")
    answer = falling.chat("hello", model="goes-on", stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")
    end = falling.closed(answer.headers["x-request-id"])
    assert len([each for each in end["attempts"] if each["usage"] is not None]) == 2
    assert end["usage_estimated"]
    check_sums(end)
