"""The gateway in front of providers that do not speak OpenAI's dialect: what a client sees is chat all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Price, Retry, Timeouts
from airboss.domain.release import ModelVersion, Policy, ProviderKind, Release
from airboss.releases.build import sealed
from airboss.testing import FakeProvider
from tests.support.gateway import Gateway, deployment

BASES: dict[ProviderKind, str] = {"anthropic": "/v1", "gemini": "/v1beta", "bedrock": "", "azure": ""}
FOREIGN: tuple[ProviderKind, ...] = ("anthropic", "gemini", "bedrock")
MODELS: dict[ProviderKind, str] = {
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "bedrock": "us.anthropic.claude-sonnet-4-5-v1:0",
    "azure": "my-gpt",
}
PRICE = Price(
    input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(100), cached_input_usd_per_mtok=Decimal(1)
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SECRET = "AKIAABCDEFGHIJKLMNOP:aws+secret/of+the+tests:session"
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}


@pytest.fixture(scope="module")
def shared(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment of each kind, one of each that drops, screens, and tries again."""
    root = fake_process.url.removesuffix("/v1")
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(SECRET)
    plans = []
    for kind, base in BASES.items():
        release = sealed(
            Release(
                digest="",
                name=kind,
                model=ModelVersion(provider="fake", kind=kind, model=MODELS[kind]),
                prompt="Be {{ tone }}.",
                params={"temperature": 0.25},
            )
        )
        plain = deployment(
            root + base,
            name=kind,
            aliases=(),
            kind=kind,
            upstream_model=MODELS[kind],
            api_key_ref=f"file:{secret}",
            price=PRICE,
            region="eu-west-1" if kind == "bedrock" else None,
            timeout=Timeouts(total_s=4.0, first_token_s=1.0, idle_s=1.0),
        )
        bare = Release(digest="d" * 64, name=kind, model=release.model)
        masking = msgspec.structs.replace(bare, policy=Policy(pii=(("email", "mask"),), detectors="1"))
        drops = msgspec.structs.replace(plain.target, drop_unsupported=True)
        made = {
            "": {"stable": bare},
            "-prompt": {"stable": release},
            "-drops": {"target": drops},
            "-masks": {"stable": masking},
            "-patient": {"retry": Retry(attempts=3)},
        }
        plans += [msgspec.structs.replace(plain, name=kind + tail, **more) for tail, more in made.items()]
    with Gateway(tmp_path_factory.mktemp("dialects"), *plans) as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, provider: FakeProvider) -> Gateway:
    """The module's worker, its provider as it was when it began."""
    return shared


def said(answer: httpx2.Response) -> dict[str, Any]:
    """A whole answer, or a stream that must be whole, put together: `message`, `finish_reason`, `usage`."""
    assert answer.status_code == 200, answer.text
    if not answer.headers["content-type"].startswith("text/event-stream"):
        body = answer.json()
        assert body["object"] == "chat.completion"
        (choice,) = body["choices"]
        return {**choice, "usage": body["usage"]}
    *events, done, last = answer.text.split("\n\n")
    assert (done, last) == ("data: [DONE]", ""), answer.text
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]
    message: dict[str, Any] = {"role": None, "content": None}
    reasons = []
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        for choice in chunk["choices"]:
            _add(message, choice["delta"])
            reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    (reason,) = reasons
    usage = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert len({chunk["id"] for chunk in chunks}) == 1
    return {"message": message, "finish_reason": reason, "usage": usage[0] if usage else None}


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("role", "content", "reasoning_content"):
        if delta.get(name) is not None:
            message[name] = (message.get(name) or "") + delta[name]
    if "thinking_blocks" in delta:
        message.setdefault("thinking_blocks", []).extend(delta["thinking_blocks"])
    for piece in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if piece["index"] == len(calls):
            calls.append({name: value for name, value in piece.items() if name != "index"})
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def ask(gateway: Gateway, model: str, content: Any = "hi", **body: Any) -> httpx2.Response:
    """One call; a stream asks for its usage."""
    if body.get("stream"):
        body = {"stream_options": {"include_usage": True}} | body
    return gateway.chat(content, model=model, **body)


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
KINDS = pytest.mark.parametrize("kind", FOREIGN)


@STREAM
@KINDS
def test_a_conversation_is_answered(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """Text, reason, usage in disjoint buckets, cost and record are those of any other call."""
    told = 'fake:{"text":"It is ä\\n\\"so\\".","cached_tokens":3,"written_tokens":4}'
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {"role": "user", "content": told},
    ]
    answer = ask(gateway, kind, messages=messages, stream=stream, max_tokens=50, stop=["END"])
    whole = said(answer)
    assert (whole["message"]["role"], whole["message"]["content"]) == ("assistant", 'It is ä\n"so".')
    assert whole["finish_reason"] == "stop"
    usage = whole["usage"]
    # Gemini does not tell of writes to its cache.
    written = 0 if kind == "gemini" else 4
    prompt = usage["prompt_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 3, "cache_write_tokens": written}
    assert usage["completion_tokens"] == 3
    assert usage["total_tokens"] == prompt + 3
    closed = gateway.closed(answer.headers["x-request-id"])
    assert (closed["input_tokens"], closed["output_tokens"]) == (prompt, 3)
    assert (closed["cached_input_tokens"], closed["usage_estimated"]) == (3, False)
    assert Decimal(str(closed["cost_usd"])) >= Decimal(prompt - 3) / 100_000
    assert closed["response"]["choices"][0]["message"]["content"] == 'It is ä\n"so".'
    seen = json.loads(provider.last().body)
    assert "Be brief." in json.dumps(seen.get("system") or seen["systemInstruction"])
    assert "END" in provider.last().body


@KINDS
def test_whole_and_streamed_say_the_same(gateway: Gateway, kind: ProviderKind) -> None:
    """Both ways of asking give one message, one reason and one usage."""
    assert said(ask(gateway, kind, stream=True)) == {
        name: value
        for name, value in _without_nulls(said(ask(gateway, kind))).items()
        if name in {"message", "finish_reason", "usage"}
    }


def _without_nulls(choice: dict[str, Any]) -> dict[str, Any]:
    message = {name: value for name, value in choice["message"].items() if name != "refusal"}
    return {**choice, "message": message}


@STREAM
@KINDS
def test_tools_are_called_and_answered(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """Two parallel calls come with their arguments, and go back with their results, signatures and all; the
    provider, which is strict about that, goes on."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": 'fake:{"fault":"tool-split"}'}]
    called = said(ask(gateway, kind, messages=messages, tools=[WEATHER], stream=stream))
    assert called["finish_reason"] == "tool_calls"
    calls = called["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["weather", "weather"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [
        {"city": 'Zürich "old" town', "days": 3},
        {"city": "Nîmes\n", "days": 1},
    ]
    assert len({call["id"] for call in calls}) == 2
    messages.append(called["message"])
    messages += [
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": '{"sky": "grey"}'},
        {"role": "tool", "tool_call_id": calls[1]["id"], "content": "sunny"},
        {"role": "user", "content": 'fake:{"text":"Grey and sunny."}'},
    ]
    answer = ask(gateway, kind, messages=messages, tools=[WEATHER], stream=stream)
    assert said(answer)["message"]["content"] == "Grey and sunny."
    assert "sunny" in provider.last().body


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("required", "weather"),
        ({"type": "function", "function": {"name": "weather"}}, "weather"),
        ("auto", None),
        (None, None),
    ],
    ids=["required", "named", "auto", "unsaid"],
)
@KINDS
def test_a_tool_that_must_be_called_is(
    gateway: Gateway, kind: ProviderKind, choice: Any, name: str | None
) -> None:
    """`tool_choice` is understood in all its forms."""
    whole = said(ask(gateway, kind, tools=[WEATHER], tool_choice=choice))
    calls = whole["message"].get("tool_calls") or []
    assert [call["function"]["name"] for call in calls] == ([name] if name else [])
    assert whole["finish_reason"] == ("tool_calls" if name else "stop")


@STREAM
@KINDS
def test_a_schema_is_kept_to(gateway: Gateway, kind: ProviderKind, stream: bool) -> None:
    """The content of a structured answer is its JSON, whichever way the provider is asked for it."""
    told = 'fake:{"text":"{\\"a\\": 7}"}'
    answer = said(ask(gateway, kind, told, response_format=SCHEMA, stream=stream))
    assert json.loads(answer["message"]["content"]) == {"a": 7}
    assert "tool_calls" not in answer["message"]
    assert answer["finish_reason"] == "stop"


@STREAM
@KINDS
def test_thoughts_come_apart(gateway: Gateway, kind: ProviderKind, stream: bool) -> None:
    """With `reasoning_effort` the model thinks, and what it thinks is `reasoning_content`, not the answer."""
    answer = said(ask(gateway, kind, 'fake:{"text":"Yes."}', reasoning_effort="low", stream=stream))
    assert answer["message"]["reasoning_content"] == "Let me think about it."
    assert answer["message"]["content"] == "Yes."


@STREAM
@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
def test_thoughts_go_back_signed(gateway: Gateway, kind: ProviderKind, stream: bool) -> None:
    """A model that thought before it called a tool gets its thoughts back, as it insists. From a client that
    has not kept them the call is made without thinking, and a header says so."""
    asked = {"tools": [WEATHER], "reasoning_effort": "low", "stream": stream}
    first = {"role": "user", "content": 'fake:{"fault":"tool-call"}'}
    called = said(ask(gateway, kind, messages=[first], **asked))["message"]
    if kind == "anthropic":  # Bedrock's fake thinks in words only
        assert called["thinking_blocks"][0]["signature"]
    result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "grey"}
    went_on = ask(gateway, kind, messages=[first, called, result], **asked)
    assert said(went_on)["message"]["content"]
    called.pop("thinking_blocks", None)
    forgot = ask(gateway, kind, messages=[first, called, result], **asked)
    assert "reasoning_content" not in said(forgot)["message"]
    assert forgot.headers["x-airboss-dropped"] == "reasoning_effort"


@KINDS
def test_the_release_is_rendered(gateway: Gateway, provider: FakeProvider, kind: ProviderKind) -> None:
    """Its prompt and parameters reach the provider in the provider's own words."""
    asked = ask(gateway, f"{kind}-prompt", prompt_variables={"tone": "kind"})
    assert asked.status_code == 200, asked.text
    seen = json.loads(provider.last().body)
    assert "Be kind." in json.dumps(seen.get("system") or seen["systemInstruction"])
    limits = seen.get("inferenceConfig") or seen.get("generationConfig") or seen
    assert limits["temperature"] == 0.25
    assert "prompt_variables" not in provider.last().body


HEADERS: dict[ProviderKind, dict[str, str]] = {
    "anthropic": {"x-api-key": SECRET, "anthropic-version": "2023-06-01"},
    "gemini": {"x-goog-api-key": SECRET},
    "azure": {"api-key": SECRET},
    "bedrock": {"x-amz-security-token": "session"},
}
PATHS: dict[ProviderKind, tuple[str, str]] = {
    "anthropic": ("/v1/messages", "/v1/messages"),
    "gemini": (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    ),
    "azure": ("/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",) * 2,
    "bedrock": (
        "/model/us.anthropic.claude-sonnet-4-5-v1%3A0/converse",
        "/model/us.anthropic.claude-sonnet-4-5-v1%3A0/converse-stream",
    ),
}


@STREAM
@pytest.mark.parametrize("kind", BASES)
def test_the_provider_finds_key_and_route_where_it_looks(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """Each kind has a path and a header for the key of its own; the key goes nowhere else."""
    assert ask(gateway, kind, stream=stream).status_code == 200
    seen = provider.last()
    assert seen.path == PATHS[kind][stream]
    headers = dict(seen.headers)
    assert HEADERS[kind].items() <= headers.items()
    if kind == "bedrock":
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAABCDEFGHIJKLMNOP/")
        assert "/eu-west-1/bedrock/aws4_request" in headers["authorization"]
        assert "aws+secret" not in str(headers)
    else:
        assert "authorization" not in headers


def test_azure_gets_openais_bytes(gateway: Gateway, provider: FakeProvider) -> None:
    """The same dialect: what we do not know passes, and so do the bytes of the answer."""
    raw = b'{"model":"azure","messages":[{"role":"user","content":"hi","odd": 1.50}],  "new":{"x":[1e3]}}'
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", content=raw)
    assert provider.last().body == raw.decode().replace('"azure"', '"my-gpt"')
    assert answer.json()["id"].startswith("chatcmpl-")
    text = {"model": "azure", "prompt": "hi"}
    with gateway.client() as client:
        assert client.post("/v1/completions", json=text).status_code == 200
    assert provider.last().path == "/openai/deployments/my-gpt/completions?api-version=2024-10-21"


@STREAM
@KINDS
def test_a_text_completion_is_asked_as_a_conversation(
    gateway: Gateway, kind: ProviderKind, stream: bool
) -> None:
    """A prompt gets its completion from models that know conversations only."""
    body = {"model": kind, "prompt": 'fake:{"text":"so it is"}', "stream": stream}
    with gateway.client() as client:
        answer = client.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        two = client.post("/v1/completions", json=body | {"prompt": ["a", "b"]})
        echo = client.post("/v1/completions", json=body | {"echo": True})
    if stream:
        *events, _, _ = answer.text.split("\n\n")
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        assert {chunk["object"] for chunk in chunks} == {"text_completion"}
        text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    else:
        text = answer.json()["choices"][0]["text"]
    assert text == "so it is"
    assert (two.status_code, two.json()["error"]["param"]) == (400, "prompt")
    assert (echo.status_code, echo.json()["error"]["param"]) == (400, "echo")


UNSAID: dict[ProviderKind, dict[str, Any]] = {
    "anthropic": {"seed": 1, "logprobs": True, "n": 2, "logit_bias": {"5": 1}, "frequency_penalty": 1},
    "gemini": {"logit_bias": {"5": 1}, "verbosity": "low", "modalities": ["audio"], "prediction": {"x": 1}},
    "bedrock": {"seed": 1, "logprobs": True, "n": 2, "presence_penalty": 0.5, "parallel_tool_calls": False},
}


@KINDS
def test_what_cannot_be_said_is_refused_by_name(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind
) -> None:
    """A 400 names it and the way out, and nothing goes upstream."""
    for name, value in UNSAID[kind].items():
        tools = {"tools": [WEATHER]} if name == "parallel_tool_calls" else {}
        refused = ask(gateway, kind, **{name: value}, **tools)
        assert refused.status_code == 400, (name, refused.text)
        error = refused.json()["error"]
        assert (error["param"], error["code"]) == (name, "unsupported_by_provider")
        assert "drop_unsupported" in error["message"]
    assert not provider.stats().requests


@STREAM
@KINDS
def test_what_cannot_be_said_may_be_dropped(gateway: Gateway, kind: ProviderKind, stream: bool) -> None:
    """With `drop_unsupported` the call is served without, and a header names what it was."""
    names = {name: value for name, value in UNSAID[kind].items() if name != "parallel_tool_calls"}
    served = ask(gateway, f"{kind}-drops", **names, stream=stream)
    assert served.status_code == 200, served.text
    assert set(served.headers["x-airboss-dropped"].split(", ")) == names.keys()
    assert "x-airboss-dropped" not in ask(gateway, f"{kind}-drops").headers


@KINDS
def test_a_header_holds_no_more_than_it_may(gateway: Gateway, kind: ProviderKind) -> None:
    """Whatever members a client makes up, the header that names them is short and one line."""
    odd = {f"member {n}\r\nx-evil: 1": n for n in range(100)}
    served = ask(gateway, f"{kind}-drops", **odd)
    assert served.status_code == 200, served.text
    assert served.headers["x-airboss-dropped"].count(",") == 32
    assert "x-evil" not in served.headers


@KINDS
def test_defaults_that_clients_always_send_are_no_reason_to_refuse(
    gateway: Gateway, kind: ProviderKind
) -> None:
    """Members that ask for nothing, hints and labels are passed over."""
    answer = ask(
        gateway,
        kind,
        n=1,
        logprobs=False,
        presence_penalty=0,
        frequency_penalty=0.0,
        store=False,
        tools=[],
        response_format={"type": "text"},
        user="ann",
        metadata={"team": "a"},
        service_tier="auto",
        prompt_cache_key="k",
        logit_bias={},
        parallel_tool_calls=True,
    )
    assert answer.status_code == 200, answer.text


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
    gateway: Gateway, kind: ProviderKind, fault: str, status: int, code: str | None, stream: bool
) -> None:
    """A provider's errors are told in OpenAI's shape, and never its secret."""
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


@pytest.mark.parametrize("fault", ["cut-close", "cut-end", "cut-reset", "error-mid-stream", "malformed-event"])
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
def test_however_it_comes_it_is_read(
    gateway: Gateway, kind: ProviderKind, fault: str, stream: bool
) -> None:
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


@STREAM
@KINDS
def test_an_answer_that_is_cut_says_why(gateway: Gateway, kind: ProviderKind, stream: bool) -> None:
    """The token limit and the provider's own filter have OpenAI's names."""
    short = said(ask(gateway, kind, 'fake:{"words":9}', max_tokens=4, stream=stream))
    assert (short["finish_reason"], short["message"]["content"]) == ("length", "word0 word1 word2 word3")
    filtered = said(ask(gateway, kind, 'fake:{"fault":"content-filter-finish"}', stream=stream))
    assert filtered["finish_reason"] == "content_filter"


@STREAM
@KINDS
def test_policies_screen_what_is_translated(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """Values are masked on the way up, in the answer, in tool calls and in the record."""
    told = 'I am ann@example.com. fake:{"text":"Write to bob@example.com now."}'
    answer = ask(gateway, f"{kind}-masks", told, stream=stream)
    assert said(answer)["message"]["content"] == "Write to [EMAIL] now."
    assert "@example" not in provider.last().body
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["response"]["choices"][0]["message"]["content"] == "Write to [EMAIL] now."


def test_several_candidates_are_several_choices(gateway: Gateway) -> None:
    """Gemini gives as many answers as `n`, whole and streamed, and the probabilities of their tokens."""
    whole = ask(gateway, "gemini", n=2, logprobs=True, top_logprobs=1).json()
    texts = [choice["message"]["content"] for choice in whole["choices"]]
    assert texts[1] == f"{texts[0]} #1"
    first = whole["choices"][0]["logprobs"]["content"][0]
    assert (first["token"], first["logprob"], len(first["top_logprobs"])) == ("The", -0.5, 1)
    streamed = ask(gateway, "gemini", n=2, stream=True).text
    joined = {0: "", 1: ""}
    for event in streamed.split("\n\n")[:-2]:
        for choice in json.loads(event.removeprefix("data: "))["choices"]:
            joined[choice["index"]] += choice["delta"].get("content") or ""
    assert joined[0] == texts[0]
    assert joined[1].startswith(texts[0])
