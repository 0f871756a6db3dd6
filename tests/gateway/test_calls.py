"""What a client gets, what goes upstream, and what the journal keeps, when all is well."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from airboss.providers import o200k
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import DIGEST, KEY, Gateway, deployment
from tests.support.gateway_process import ADMIN_KEY
from tests.support.wait import until


def _events(response: httpx2.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def test_a_call(gateway: Gateway, provider: FakeProvider) -> None:
    """The answer passes byte for byte, with our headers; the provider saw the client's bytes, its own key."""
    body = b'{ "model":"gpt-4o", "messages":[{"role":"user","content":"\xc3\xa9 hi"}], "unknown": 1.50 }'
    with gateway.client() as client:
        response = client.post("/v1/chat/completions", content=body, headers={"x-other": "1"})
    assert response.status_code == 200
    seen = provider.last()
    assert seen.body.encode() == body.replace(b"gpt-4o", b"up")
    assert seen.header("authorization") == "Bearer sk-provider-secret-0123456789"
    assert seen.header("x-other") is None
    record_id = response.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", record_id)
    assert response.headers["x-airboss-release"] == DIGEST
    assert response.headers["x-airboss-arm"] == "stable"
    assert re.fullmatch(r"airboss;dur=\d+\.\d{3}", response.headers["server-timing"])
    usage = response.json()["usage"]
    cost = (usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1e6
    assert float(response.headers["x-airboss-cost-usd"]) == pytest.approx(cost)
    opened, closed = gateway.frames()
    assert opened[record_id]["request"] == json.loads(body)
    assert (opened[record_id]["key"], opened[record_id]["deployment"]) == ("app", "assistant")
    end = closed[record_id]
    assert (end["status"], end["finish_reason"]) == ("ok", "stop")
    assert (end["input_tokens"], end["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert end["response"] == response.json()
    assert end["output_chars"] == len(response.json()["choices"][0]["message"]["content"])
    assert end["cost_usd"] == pytest.approx(cost)
    assert 0 < end["ttft_ms"] <= end["latency_ms"]
    assert end["overhead_ms"] < end["latency_ms"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("letters", [20_000, 300_000, 3_000_000])
def test_a_long_call(gateway: Gateway, provider: FakeProvider, letters: int, stream: bool) -> None:
    """All of it goes upstream and into the record, and the next on the connection is not disturbed."""
    said = {
        "messages": [{"role": "user", "content": "é\n" + "x" * letters}],
        "model": "gpt-4o",
        "stream": stream,
    }
    with gateway.client() as client:
        for _ in range(2):
            response = client.post("/v1/chat/completions", json=said)
            assert response.status_code == 200
            seen = provider.last()
            asked = {"stream_options": {"include_usage": True}} if stream else {}
            sent = json.dumps(said | asked | {"model": "up"}, separators=(",", ":"), ensure_ascii=False)
            assert seen.body_bytes == len(sent.encode())
            opened, closed = gateway.frames()
            record_id = response.headers["x-request-id"]
            assert opened[record_id]["request"] == said
            assert closed[record_id]["status"] == "ok"


def test_a_connection_that_waits_keeps_no_body(gateway: Gateway) -> None:
    """What 24 calls of 4 MB took is given back, though their clients stay."""

    def resident_mb() -> int:
        statm = Path(f"/proc/{gateway.process.pid}/statm").read_text(encoding="ascii").split()
        return (int(statm[1]) - int(statm[2])) * 4096 >> 20

    said = {"messages": [{"role": "user", "content": "x" * 4_000_000}], "model": "gpt-4o"}
    gateway.chat()
    before = resident_mb()
    with contextlib.ExitStack() as stack:
        for _ in range(24):
            response = stack.enter_context(gateway.client()).post("/v1/chat/completions", json=said)
            assert response.status_code == 200
        until(lambda: resident_mb() < before + 70)


@pytest.mark.parametrize("wants_usage", [True, False])
def test_a_stream(gateway: Gateway, provider: FakeProvider, wants_usage: bool) -> None:
    """A stream's usage is recorded whether or not the client asked; only who asked is shown it."""
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    response = gateway.chat('fake:{"words": 20}', stream=True, **options)
    events = _events(response)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert len(usages) == int(wants_usage)
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    end = gateway.closed(response.headers["x-request-id"])
    assert end["response"]["choices"][0]["message"]["content"] == text
    assert end["output_chars"] == len(text)
    assert end["output_tokens"] == end["response"]["usage"]["completion_tokens"] > 0
    assert not end["usage_estimated"]
    assert json.loads(provider.last().body)["stream_options"] == {"include_usage": True}


def test_text_completion(gateway: Gateway) -> None:
    """`/v1/completions` is served and recorded like chat, streamed or not."""
    for stream in (False, True):
        with gateway.client() as client:
            response = client.post(
                "/v1/completions", json={"model": "assistant", "prompt": "Say", "stream": stream}
            )
        assert response.status_code == 200
        end = gateway.closed(response.headers["x-request-id"])
        assert end["status"] == "ok"
        assert end["output_chars"] == len(end["response"]["choices"][0]["text"]) > 0


def test_user_session_tags_and_trace(gateway: Gateway, provider: FakeProvider) -> None:
    """Who and what a call was for are taken from OpenAI's fields, its trace from traceparent."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with gateway.client() as client:
        response = client.post(
            "/v1/chat/completions",
            json={
                "model": "gpt-4o",
                "messages": [{"role": "user", "content": "x"}],
                "user": "u-1",
                "metadata": {"session_id": "s-1", "team": "blue"},
            },
            headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
        )
    opened = gateway.frames()[0][response.headers["x-request-id"]]
    assert (opened["user"], opened["session"], opened["tags"]) == ("u-1", "s-1", {"team": "blue"})
    assert opened["trace_id"] == trace
    sent = provider.last().header("traceparent")
    assert sent is not None
    assert sent.startswith(f"00-{trace}-")
    assert sent.endswith("-01")
    assert "00f067aa0ba902b7" not in sent


NAMES = ["assistant", "gpt-4o", "patient", "no-tools", "hasty-assistant"]


def test_models(gateway: Gateway) -> None:
    """`/v1/models` lists every name that may be sent, and each can be asked for alone, by Anthropic's clients
    in their own words."""
    with gateway.client() as client:
        listed = client.get("/v1/models").json()
        assert listed["object"] == "list"
        assert [m["id"] for m in listed["data"]] == NAMES
        assert client.get("/v1/models/").json() == listed
        assert client.post("/v1/models/").status_code == 405
        assert client.get("/v1/models/gpt-4o").json()["id"] == "gpt-4o"
        assert client.get("/v1/models/gpt-5").json()["error"]["code"] == "model_not_found"
        theirs = client.get("/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
        one = client.get("/v1/models/gpt-4o", headers={"anthropic-version": "2023-06-01"}).json()
    assert (theirs["first_id"], theirs["last_id"], theirs["has_more"]) == (NAMES[0], NAMES[-1], False)
    assert theirs["data"][1] == one
    assert one.pop("created_at").endswith("Z")
    assert one == {"type": "model", "id": "gpt-4o", "display_name": "gpt-4o", "lifecycle": "active"}


def test_models_with_what_they_cost_and_take(gateway: Gateway) -> None:
    """For who asks alone, of the list and of one, in either dialect; nothing else is changed by it."""
    with gateway.client() as client:
        plain = client.get("/v1/models").json()["data"]
        told = client.get("/v1/models?details=true").json()["data"]
        assert client.get("/v1/models?details=no&%FF&b").json()["data"] == plain
        one = client.get("/v1/models/gpt-4o?details=true", headers={"anthropic-version": "2023-06-01"}).json()
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    assert one["type"] == "model"
    assert (one["price"], one["context_tokens"]) == (price, None)
    assert [each["price"] for each in told] == [price, price, None, None, price]
    assert [each.pop("context_tokens") for each in told] == [None] * len(told)
    assert [{k: v for k, v in each.items() if k != "price"} for each in told] == plain


def test_either_credential_header(gateway: Gateway) -> None:
    """`authorization: Bearer` and `x-api-key` are both taken; nothing else is."""
    for headers, status in (
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer {KEY}"}, 200),
        ({"x-api-key": KEY}, 200),
        ({}, 401),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": f"Bearer {KEY}x"}, 401),
        ({"x-api-key": KEY[:-1]}, 401),
    ):
        response = httpx2.get(f"{gateway.url}/v1/models", headers=headers)
        assert response.status_code == status, headers
        if status == 401:
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["x-request-id"]
            assert KEY[3:] not in response.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nope"),
        ("GET", "/v1"),
        ("POST", "/v1/"),
        ("OPTIONS", "/v1/models"),
        ("GET", "/v1/chat/completions"),
    ],
)
def test_strangers_learn_nothing_under_v1(gateway: Gateway, method: str, path: str) -> None:
    """Everything under /v1 needs a key, what is not there too: without one it is 401, whatever was asked."""
    strange = httpx2.request(method, f"{gateway.url}{path}")
    assert (strange.status_code, strange.json()["error"]["code"]) == (401, "invalid_api_key")
    assert strange.headers["x-request-id"]
    with gateway.client() as client:
        assert client.request(method, path).status_code in {404, 405}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/chat/completions"])
def test_the_admin_key_is_told_apart(gateway: Gateway, path: str) -> None:
    """Whoever sends the admin key under /v1 is told that it is that one, and which key to use."""
    for header in ({"authorization": f"Bearer {ADMIN_KEY}"}, {"x-api-key": ADMIN_KEY}):
        response = httpx2.request("POST" if "chat" in path else "GET", f"{gateway.url}{path}", headers=header)
        assert response.status_code == 401
        error = response.json()["error"]
        assert error["code"] == "invalid_api_key"
        assert "this is the admin key" in error["message"]
        assert "OPENAI_API_KEY" in error["message"]
        assert ADMIN_KEY not in response.text


def test_tools_are_refused_where_the_model_has_none(gateway: Gateway, provider: FakeProvider) -> None:
    """A deployment whose model has no tools says so instead of ignoring them."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    response = gateway.chat(model="no-tools", tools=[tool], tool_choice="required")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "tools_unsupported"
    assert provider.stats().requests == 0
    assert gateway.chat(model="assistant", tools=[tool]).status_code == 200


def test_bodies_can_be_kept_out(own_root: Path, provider: FakeProvider) -> None:
    """With bodies off, no word of a request or an answer is in the journal; the counts are."""
    with Gateway(own_root, deployment(provider.url), bodies=False) as gateway:
        gateway.chat('zanzibar fake:{"text": "timbuktu"}')
        end = gateway.only_closed()
        assert end["output_chars"] == len("timbuktu")
        assert b"zanzibar" not in gateway.journal_bytes()
        assert b"timbuktu" not in gateway.journal_bytes()


def test_a_new_plan_is_taken_within_a_second(own_root: Path, provider: FakeProvider) -> None:
    """A published plan is swapped in whole; a stream in flight finishes on the one it began with."""
    with Gateway(own_root, deployment(provider.url)) as gateway, gateway.client() as client:
        body = {
            "model": "assistant",
            "stream": True,
            "messages": [{"role": "user", "content": 'fake:{"words": 60, "tokens_per_s": 20}'}],
        }
        began = time.monotonic()
        assert {gateway.chat().status_code for _ in range(5)} == {200}
        usual_s = (time.monotonic() - began) / 5
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            gateway.publish(deployment(provider.url, name="other", aliases=()))
            until(lambda: gateway.chat(model="other").status_code == 200, timeout_s=2 + 20 * usual_s)
            assert gateway.chat(model="assistant").status_code == 404
            assert [line for line in lines if line][-1] == "data: [DONE]"
        opened = gateway.frames()[0]
        assert opened[response.headers["x-request-id"]]["plan"] == 1


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_no_record_is_left_of_has_an_id_too(gateway: Gateway, path: str) -> None:
    """As every answer has, so that it can be asked about; each another one."""
    ids = [httpx2.get(f"{gateway.url}{path}").headers["x-request-id"] for _ in range(2)]
    assert len(set(map(UUID, ids))) == 2


def test_metrics(gateway: Gateway) -> None:
    """`/metrics` is Prometheus' text, with the call in it under its deployment."""
    gateway.chat()
    text = httpx2.get(f"{gateway.url}/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counts = [
        sample
        for sample in families["gen_ai_client_operation_duration_seconds"].samples
        if sample.name.endswith("_count") and sample.labels["airboss_deployment"] == "assistant"
    ]
    assert sum(sample.value for sample in counts) >= 1
    assert families["airboss_plan_number"].samples[0].value == 1


def test_a_local_engine_reports_the_usage_of_one_answer(own_root: Path, provider: FakeProvider) -> None:
    """Where several were asked for, the count is an estimate from all the text, and says so."""
    with Gateway(own_root, deployment(provider.url, kind="local")) as gateway:
        end = gateway.closed(gateway.chat("x", n=2).headers["x-request-id"])
        assert end["usage_estimated"]
        said = [choice["message"]["content"] for choice in end["response"]["choices"]]
        assert end["output_tokens"] == o200k.count("".join(said))
        assert not gateway.closed(gateway.chat("x").headers["x-request-id"])["usage_estimated"]


def test_a_local_engine_that_loads_is_waited_for(own_root: Path, provider: FakeProvider) -> None:
    """An engine that says 503 while it loads is asked again, however few attempts there are."""
    provider.script(ScriptStep(behaviour="503", calls=3))
    with Gateway(own_root, deployment(provider.url, kind="local")) as gateway:
        assert gateway.chat("x").status_code == 200
    assert provider.stats().requests == 4


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/messages/batches", {"type", "error"}),
        ("/v1/messagesx", {"error"}),
        ("/v1/assistants", {"error"}),
    ],
)
def test_errors_have_the_shape_of_their_route(gateway: Gateway, path: str, members: set[str]) -> None:
    """Anthropic's where its clients ask, which is under /v1/messages, and OpenAI's everywhere else."""
    with gateway.client() as client:
        answer = client.post(path, json={})
    assert (answer.status_code, set(answer.json())) == (404, members)
