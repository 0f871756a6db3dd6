"""OpenAI's client of Responses in front of OpenAI and Azure: bytes pass, hosted tools work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Caching, DeploymentPlan, Retry, Target
from airboss.domain.ports import ApiKey
from airboss.domain.release import Example, ModelVersion, Release
from airboss.governance.keys import hash_key
from airboss.governance.policies import policy_of
from airboss.providers.fake_answers import SENTENCE
from airboss.testing import FakeProvider, ScriptStep
from tests.gateway.edge_wire import post
from tests.support.gateway import DIGEST, KEY, PRICE, SILENT, Gateway, deployment, hasty
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.spoken import error, is_whole, say, streamed, text
from tests.support.wait import until
from tests.support.wire_http import exchange

OTHER = "ab_" + "o" * 43
MODEL = ModelVersion(provider="fake", kind="openai", model="up")
SEARCH = {"type": "web_search", "search_context_size": "low"}
FUNCTION = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
RAW = (
    b'{"model":"gpt-4o", "input":[{"type":"computer_call_output","call_id":"c","output":{"odd":1.50}},'
    b'{"role":"user","content":[{"type":"input_text","text":"hi","new":[1e3]}]}],"user":"u-1",'
    b'"tools":[{"type":"web_search"},{"type":"mcp","server_url":"https://x"}],"prompt":{"id":"p"},"odd":[ 1]}'
)
ANSWER = (
    b'{"id":"resp_theirs","object":"response","status":"completed","model":"up-1","output":['
    b'{"type":"web_search_call","id":"ws_1","odd":1.50},{"type":"message","role":"assistant","content":['
    b'{"type":"output_text","text":"Found.","annotations":[{"type":"url_citation","url":"https://e"}]}]}],'
    b'"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,'
    b'"output_tokens_details":{"reasoning_tokens":2},"total_tokens":14},"new":[ 1]}'
)


def release(**members: Any) -> Release:
    """A release of the model."""
    return Release(digest=DIGEST, name="r", model=MODEL, **members)


def native(url: str, name: str = "assistant", **changes: Any) -> DeploymentPlan:
    """A deployment at OpenAI, or at Azure."""
    fields: dict[str, Any] = {"kind": "openai", "price": PRICE, "aliases": ()} | changes
    return deployment(url.removesuffix("/v1") if fields["kind"] == "azure" else url, name=name, **fields)


@pytest.fixture(scope="module", params=["openai", "azure"])
def kind(request: pytest.FixtureRequest) -> str:
    """Who has the route."""
    return str(request.param)


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker in front of the fake provider as one of them, in several ways."""
    url = fake_process.url
    at = partial(native, url, kind=kind)
    shaped = release(
        prompt="Be {{ tone }}.",
        examples=(Example("1+1", "2"),),
        params={"temperature": 0.25, "max_tokens": 40},
        params_force={"top_p": 0.5},
    )
    backup = Target(
        provider="backup", kind="openai-compatible", base_urls=(url,), upstream_model="big", price=PRICE
    )
    plan = at("backed", upstream_model="first")
    backed = msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, fallbacks=(backup,)))
    plans = [
        at(aliases=("gpt-4o",)),
        hasty(at()),
        at("shaped", stable=shaped),
        at("odd", stable=release(params={"seed": 7})),
        at("masks", policy=policy_of("mask", None)),
        at("blocks", policy=policy_of("block", None)),
        at("looks", policy=policy_of("observe", None)),
        at("cached", cache=Caching()),
        at("lacks", upstream_model="lacks"),
        at("patient", retry=Retry(attempts=3)),
        at("off", responses=False),
        backed,
        deployment(url, name="compatible", aliases=()),
        deployment(url, name="says-so", aliases=(), responses=True),
    ]
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=datetime.now(UTC)),
        ApiKey(
            name="other",
            sha256=hash_key(OTHER),
            created_at=datetime.now(UTC),
        ),
    )
    with Gateway(tmp_path_factory.mktemp("native"), *plans, keys=keys) as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, provider: FakeProvider) -> Gateway:
    """The module's worker, its provider as it was when it began."""
    assert provider.url
    return shared


def sent(provider: FakeProvider) -> tuple[str, Any]:
    """Where the last request went, and what it was."""
    seen = provider.last()
    return re.sub(r"^(/openai)?(/v1|/deployments/[^/]+)|[?].*", "", seen.path), json.loads(seen.body)


def made(response: httpx2.Response) -> Any:
    """The response object of an answer, streamed or not."""
    whole = response.headers["content-type"] == "application/json"
    return response.json() if whole else streamed(response)[-1][1]["response"]


def ask(gateway: Gateway, said: Any, **body: Any) -> httpx2.Response:
    """One call."""
    return say(gateway, "responses", said, **body)


def words(response: httpx2.Response) -> str:
    """What an answer says."""
    whole = response.headers["content-type"] == "application/json"
    return text("responses", response, stream=not whole)


@pytest.fixture
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as running:
        yield running


def test_bytes_pass(tmp_path: Path, upstream: SaidUpstream) -> None:
    """Byte for byte but for the model, unknown members and tools of OpenAI's too, and the answer as it comes;
    it is counted by what it tells, and kept as it was."""
    upstream.body = ANSWER
    with (
        Gateway(tmp_path / "g", native(upstream.url, aliases=("gpt-4o",))) as gateway,
        gateway.client() as client,
    ):
        response = client.post("/v1/responses", content=RAW)
        assert response.content == ANSWER
        assert (upstream.paths[-1], upstream.seen[-1]) == ("/v1/responses", RAW.replace(b"gpt-4o", b"up"))
        id_ = response.headers["x-request-id"]
        closed, opened = gateway.closed(id_), gateway.frames()[0][id_]
        assert (closed["status"], closed["input_tokens"], closed["output_tokens"]) == ("ok", 9, 5)
        assert (closed["cached_input_tokens"], closed["reasoning_tokens"]) == (4, 2)
        assert closed["cost_usd"] == pytest.approx((9 * 1 + 5 * 2) / 1e6)
        assert (closed["response"], opened["request"]["tools"][1]["type"]) == (json.loads(ANSWER), "mcp")
        assert client.get("/v1/responses/resp_theirs").json() == json.loads(ANSWER)
        assert client.delete("/v1/responses/resp_theirs").json()["deleted"]
        assert client.get("/v1/responses/resp_theirs").status_code == 404


@pytest.mark.parametrize(
    ("version", "query"), [(None, ""), ("2024-10-21", ""), ("preview", "?api-version=preview")]
)
def test_where_azure_has_them(
    tmp_path: Path, upstream: SaidUpstream, version: str | None, query: str
) -> None:
    """Under its v1, which takes no dated version; the key is in a header of its own."""
    secret = tmp_path / "key"
    secret.write_text("azure-secret")
    upstream.body = ANSWER
    plan = native(
        upstream.url,
        kind="azure",
        upstream_model="my-gpt",
        api_version=version,
        api_key_ref=f"file:{secret}",
    )
    with Gateway(tmp_path / "g", plan) as gateway:
        assert ask(gateway, "hi", model="assistant").content == ANSWER
    assert (upstream.paths[-1], json.loads(upstream.seen[-1])["model"]) == (
        f"/openai/v1/responses{query}",
        "my-gpt",
    )
    assert upstream.headers[-1]["api-key"] == "azure-secret"
    assert "authorization" not in upstream.headers[-1]


def test_events_pass(gateway: Gateway, provider: FakeProvider) -> None:
    """Each event as it comes, numbered by the provider; the last one when the record is closed."""
    said = 'fake:{"words": 4, "reasoning_tokens": 3, "cached_tokens": 1}'
    response = ask(gateway, said, stream=True, tools=[SEARCH])
    events = streamed(response)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    names = [name for name, _ in events]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert "response.web_search_call.searching" in names
    assert (names[-1], words(response)) == ("response.completed", "word0 word1 word2 word3")
    assert sent(provider) == ("/responses", {"model": "up", "input": said, "stream": True, "tools": [SEARCH]})
    closed = gateway.closed(response.headers["x-request-id"])
    assert closed["response"] == made(response)
    usage = made(response)["usage"]
    assert (closed["input_tokens"], closed["output_tokens"]) == (usage["input_tokens"], 7)
    assert (closed["reasoning_tokens"], closed["cached_input_tokens"]) == (3, 1)
    assert not closed["usage_estimated"]


def test_a_conversation(gateway: Gateway, provider: FakeProvider) -> None:
    """The next call has the whole of it, whoever answered before; its answer says what it builds on, and each
    belongs to the key that made it."""
    first = ask(gateway, 'fake:{"text": "One."}', instructions="Be kind.")
    before = first.json()["id"]
    assert before.startswith("resp_")
    for stream in (False, True):
        second = say(
            gateway, "responses", 'fake:{"text": "Two."}', previous_response_id=before, stream=stream
        )
        assert made(second)["previous_response_id"] == before
        path, body = sent(provider)
        assert (path, "previous_response_id" in body) == ("/responses", False)
        assert [(each["role"], each["content"]) for each in body["input"]] == [
            ("user", [{"type": "input_text", "text": 'fake:{"text": "One."}'}]),
            ("assistant", "One."),
            ("user", 'fake:{"text": "Two."}'),
        ]
    last = made(second)["id"]
    third = ask(gateway, "fake:{}", model="compatible", previous_response_id=last)
    assert [each["content"] for each in sent(provider)[1]["messages"]][1::2] == ["One.", "Two."]
    fourth = ask(gateway, "fake:{}", previous_response_id=third.json()["id"])
    assert (fourth.status_code, sent(provider)[0], len(sent(provider)[1]["input"])) == (200, "/responses", 7)
    with gateway.client() as client:
        assert client.get(f"/v1/responses/{last}").json() == made(second)
        items = client.get(f"/v1/responses/{last}/input_items").json()["data"]
        assert [each["type"] for each in items] == ["message"] * 3
        client.headers["authorization"] = f"Bearer {OTHER}"
        assert client.get(f"/v1/responses/{last}").status_code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_functions(gateway: Gateway, stream: bool) -> None:
    """A call of a function is the provider's own, and a call in the record's account."""
    response = ask(gateway, 'fake:{"fault": "tool-split"}', tools=[FUNCTION], stream=stream)
    calls = [item for item in made(response)["output"] if item["type"] == "function_call"]
    assert [call["name"] for call in calls] == ["look_up"] * 2
    closed = gateway.closed(response.headers["x-request-id"])
    assert (closed["finish_reason"], closed["status"]) == ("tool_calls", "ok")
    result = [calls[0] | {"type": "function_call_output", "output": "x"}]
    again = ask(gateway, "", input=result, previous_response_id=made(response)["id"])
    assert again.status_code == 200, again.text


def test_what_the_release_says(gateway: Gateway, provider: FakeProvider) -> None:
    """Its prompt comes first, then the client's own instructions; parameters that Responses have go with it,
    and with others the call goes as chat."""
    more: dict[str, Any] = {"prompt_variables": {"tone": "brief"}, "instructions": "Rhyme.", "top_p": 0.9}
    assert ask(gateway, "hi", model="shaped", **more).status_code == 200
    path, body = sent(provider)
    assert (path, body["temperature"], body["max_output_tokens"], body["top_p"]) == (
        "/responses",
        0.25,
        40,
        0.5,
    )
    assert [(each["role"], each["content"]) for each in body["input"]] == [
        ("system", "Be brief."),
        ("system", "Rhyme."),
        ("user", "1+1"),
        ("assistant", "2"),
        ("user", "hi"),
    ]
    assert not {"instructions", "prompt_variables"} & body.keys()
    assert ask(gateway, "hi", model="odd").status_code == 200
    assert sent(provider)[0] == "/chat/completions"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gpt-4o", "/responses"),
        ("says-so", "/responses"),
        ("looks", "/responses"),
        ("off", "/chat/completions"),
        ("compatible", "/chat/completions"),
        ("masks", "/responses"),
    ],
)
def test_who_is_asked_so(gateway: Gateway, provider: FakeProvider, model: str, path: str) -> None:
    """Providers of these kinds, or that say so, also where a policy changes what is said; where it goes as
    chat, what chat has no words for is refused by name."""
    response = ask(gateway, "mail ann@example.org", model=model)
    assert (response.status_code, sent(provider)[0]) == (200, path)
    closed = gateway.closed(response.headers["x-request-id"])
    assert len(closed["policy"]) == (model in {"looks", "masks"})  # in the request; the answer has none
    hosted = ask(gateway, "x", model=model, tools=[SEARCH])
    assert hosted.status_code == (200 if path == "/responses" else 400), hosted.text
    if path != "/responses":
        assert (error("responses", hosted)["code"], error("responses", hosted)["param"]) == (
            "tools_unsupported",
            "tools[0].type",
        )


@pytest.mark.parametrize("stream", [False, True])
def test_a_policy_that_blocks(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """It goes to the provider as it is, hosted tools and all, and is cut where it holds a value."""
    response = ask(gateway, 'fake:{"text": "Good day. Mail ann@example.org"}', model="blocks")
    assert response.status_code == 400  # what it is told to say it would have to read
    hosted = ask(gateway, "hi", model="blocks", tools=[SEARCH], stream=stream)
    assert (hosted.status_code, sent(provider)[0]) == (200, "/responses")
    assert "web_search_call" in hosted.text


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_looked_at_counts_once(gateway: Gateway, stream: bool) -> None:
    """Though the answer is there twice, as it came and as it was read."""
    response = ask(gateway, 'fake:{"text": "mail ann@example.org"}', model="looks", stream=stream)
    found = gateway.closed(response.headers["x-request-id"])["policy"]
    assert [each["where"].partition(".")[0] for each in found] == ["request", "response"]


def test_nobody_else_says_what_was_heard(tmp_path: Path, upstream: SaidUpstream) -> None:
    """A server of chat cannot put words of another shape before the client."""
    upstream.body = {
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
        "heard": ["no JSON"],
    }
    with Gateway(tmp_path / "g", deployment(upstream.url)) as gateway:
        assert words(ask(gateway, "hi")) == "Yes."
        assert say(gateway, "messages", "hi").json()["content"] == [{"type": "text", "text": "Yes."}]


def test_an_end_without_a_beginning(tmp_path: Path, upstream: SaidUpstream) -> None:
    """A stream of its last event alone reaches the client whole, and the connection stays in step."""
    end = {"type": "response.completed", "sequence_number": 0, "response": json.loads(ANSWER)}
    upstream.events, upstream.done = [json.dumps(end)], False
    with Gateway(tmp_path / "g", native(upstream.url, aliases=("gpt-4o",))) as gateway:
        body = json.dumps({"model": "gpt-4o", "input": "hi", "stream": True}).encode()
        answer = exchange(gateway.port, post(body, path=b"/v1/responses"))
        assert answer.status == 200
        assert answer.body.count(b"event: response.completed") == 1
        assert gateway.closed(answer.headers["x-request-id"])["status"] == "ok"


@pytest.mark.parametrize("name", ["background", "conversation"])
def test_what_would_be_kept_elsewhere(gateway: Gateway, provider: FakeProvider, name: str) -> None:
    """Work in the background and conversations of the provider's own are refused: no key here owns them."""
    refused = ask(gateway, "x", **{name: True if name == "background" else "conv_1"})
    assert (refused.status_code, error("responses", refused)["param"]) == (400, name)
    assert not provider.stats().requests


@pytest.mark.parametrize(
    ("refusal", "stream"),
    [((404, "404"), False), ((405, ""), True), ((501, ""), True), ((400, "OperationNotSupported"), False)],
)
def test_without_the_route(
    provider: FakeProvider, kind: str, tmp_path: Path, refusal: tuple[int, str], stream: bool
) -> None:
    """Chat is asked instead, at once and for the calls that follow; what chat cannot say is refused then."""
    status, code = refusal
    with Gateway(tmp_path / "g", native(provider.url, aliases=("gpt-4o",), kind=kind)) as gateway:
        provider.script(f"status;status={status};code={code};message=no such route")
        for number in range(2):
            response = ask(gateway, "hi", stream=stream)
            assert response.status_code == 200, response.text
            assert words(response) == SENTENCE
            assert sent(provider)[0] == "/chat/completions"
            attempts = gateway.closed(response.headers["x-request-id"])["attempts"]
            assert [each["status_code"] for each in attempts] == ([200] if number else [status, 200])
        refused = ask(gateway, "x", tools=[SEARCH], stream=stream)
        assert (refused.status_code, error("responses", refused)["code"]) == (400, "tools_unsupported")


@pytest.mark.parametrize("code", ["model_not_found", "DeploymentNotFound"])
def test_a_model_that_is_not_known_has_the_route(gateway: Gateway, provider: FakeProvider, code: str) -> None:
    """Nobody is asked again for it."""
    provider.script(f"status;status=404;code={code};message=no such model")
    assert ask(gateway, "x").status_code == 502
    assert provider.stats().requests == 1
    assert ask(gateway, "x").status_code == 200
    assert sent(provider)[0] == "/responses"


@pytest.mark.parametrize(
    "message",
    [
        "Item with id 'rs_0d4f' not found. Items are not persisted when `store` is set to false.",
        "File cfile_68628828 not found on container cntr_686287a8",
    ],
)
def test_something_that_is_not_there_has_the_route(
    gateway: Gateway, provider: FakeProvider, message: str
) -> None:
    """What a request names and the provider does not know is the caller's to mend: they are told, and nobody
    is asked for chat for it, now or later."""
    provider.script(f"status;status=404;message={message}")
    refused = ask(gateway, "x")
    assert (refused.status_code, error("responses", refused)["message"]) == (404, message)
    assert provider.stats().requests == 1
    assert ask(gateway, "x", tools=[SEARCH]).status_code == 200
    assert sent(provider)[0] == "/responses"


FAULTS = [
    "reset", "close", "cut-reset", "cut-close", "cut-end", "stall", "malformed-event", "malformed-chunk",
    "html", "error-200", "error-mid-stream", "truncated-body", "500", "503", "529", "429", "context-length",
    "content-filter", "close-keep-alive", "gzip", "byte-writes", "utf8-split", "sse-crlf", "sse-comments",
    "informational", "no-done", "duplicate-final", "no-usage", "content-filter-finish", "wrong-content-type",
]  # fmt: skip
WELL = {
    "close-keep-alive", "gzip", "byte-writes", "utf8-split", "sse-crlf", "sse-comments", "informational",
    "duplicate-final", "no-usage", "content-filter-finish", "wrong-content-type", "no-done",
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults(gateway: Gateway, provider: FakeProvider, fault: str, stream: bool) -> None:
    """A whole response, an error with its status, or `response.failed`: never one that only looks whole. Each
    has a record."""
    provider.script(ScriptStep(behaviour=fault, forever=True))  # one more may be sent
    response = ask(gateway, "hi", model="hasty-assistant" if fault in SILENT else "gpt-4o", stream=stream)
    closed = gateway.closed(response.headers["x-request-id"])
    whole = response.status_code == 200 and (not stream or is_whole("responses", response))
    assert whole == (closed["status"] == "ok"), response.text
    ends_well = fault in WELL - ({"no-done"} if stream else set())  # which leaves out its last event
    if ends_well or (fault == "truncated-body" and stream):  # all of the stream had come
        assert whole, response.text
    elif response.status_code == 200:
        name, data = streamed(response)[-1]
        assert (name, data["response"]["status"]) == ("response.failed", "failed")
        assert data["response"]["id"] == streamed(response)[0][1]["response"]["id"]
        assert closed["usage_estimated"]
        assert closed["output_tokens"] > 0
    else:
        assert response.status_code >= 400
        assert error("responses", response)["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_failing_before_it_begins(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """It is tried again, or a fallback answers, in chat and in the client's words."""
    provider.script("503", "reset")
    again = ask(gateway, "hi", model="patient", stream=stream)
    assert words(again) == SENTENCE
    assert [each["why"] for each in gateway.closed(again.headers["x-request-id"])["attempts"]] == [
        "first", "retry", "retry",
    ]  # fmt: skip
    provider.script("500")
    other = ask(gateway, "hi", model="backed", stream=stream)
    assert (words(other), sent(provider)[0]) == (SENTENCE, "/chat/completions")
    assert other.headers["x-airboss-fallback"] == "backup/big"


@pytest.mark.parametrize("stream", [False, True])
def test_from_the_cache(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """The same question has the same answer, as a response of its own; one with tools of OpenAI's is asked
    again."""
    body = {"model": "cached", "stream": stream, "metadata": {"n": "1"}}
    first = ask(gateway, f'fake:{{"words": {3 + stream}}}', **body)
    again = until(lambda: _hit(ask(gateway, f'fake:{{"words": {3 + stream}}}', **body)))
    assert words(again) == words(first)
    assert made(again)["id"] != made(first)["id"]
    with gateway.client() as client:
        assert client.get(f"/v1/responses/{made(again)['id']}").status_code == 200
    assert gateway.closed(again.headers["x-request-id"])["cost_usd"] == 0
    for _ in range(2):
        hosted = ask(gateway, "x", tools=[SEARCH], **body)
        assert hosted.headers["x-airboss-cache"] == "bypass"


def _hit(response: httpx2.Response) -> Any:
    return response if response.headers["x-airboss-cache"] == "hit" else None
