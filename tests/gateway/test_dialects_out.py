"""In front of providers that do not speak OpenAI's dialect: what a client sees is chat all the same."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from airboss.domain.release import ProviderKind
from airboss.testing import FakeProvider
from tests.support.dialects import BASES, KINDS, SECRET, STREAM, ask, said
from tests.support.gateway import Gateway
from tests.support.spoken import say, streamed

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}


@pytest.fixture
def gateway(foreign: Gateway, provider: FakeProvider) -> Gateway:
    """The module's worker, its provider as it was when it began."""
    assert provider.url
    return foreign


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
    millionths = (prompt - 3 - written) * 10 + 3 * 1 + written * Decimal("12.5") + 3 * 100
    assert Decimal(str(closed["cost_usd"])) == millionths / 1_000_000
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
@pytest.mark.parametrize("choice", [None, "auto", "none"])
@KINDS
def test_a_schema_is_kept_to_beside_tools(
    gateway: Gateway, kind: ProviderKind, choice: str | None, stream: bool
) -> None:
    """Agents with tools and a form of their answer ask so in every turn."""
    told, asked = 'fake:{"text":"{\\"a\\": 7}"}', {"tools": [WEATHER], "tool_choice": choice}
    answer = said(ask(gateway, kind, told, response_format=SCHEMA, stream=stream, **asked))
    assert json.loads(answer["message"]["content"]) == {"a": 7}
    assert ("tool_calls" in answer["message"], answer["finish_reason"]) == (False, "stop")
    loose = ask(gateway, kind, told, response_format={"type": "json_object"}, stream=stream, **asked)
    assert json.loads(said(loose)["message"]["content"]) == {"a": 7}
    assert loose.headers.get("x-airboss-dropped") == ("response_format" if kind == "gemini" else None)


@STREAM
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
@KINDS
def test_a_tool_that_must_be_called_goes_before_a_schema(
    gateway: Gateway, kind: ProviderKind, choice: Any, stream: bool
) -> None:
    """As with OpenAI: no answer in words may come then."""
    asked = {"tools": [WEATHER], "tool_choice": choice, "response_format": SCHEMA}
    answer = said(ask(gateway, kind, 'fake:{"text":"{\\"a\\": 7}"}', stream=stream, **asked))
    (call,) = answer["message"]["tool_calls"]
    assert (call["function"]["name"], answer["finish_reason"]) == ("weather", "tool_calls")


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


@STREAM
@pytest.mark.parametrize(("kind", "member"), [("anthropic", "signature"), ("gemini", "thoughtSignature")])
def test_what_a_response_builds_on_is_signed(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind, member: str, stream: bool
) -> None:
    """Signatures are kept with a response, streamed or not, so that the model thinks on in the next one."""
    tool = {"type": "function", "name": "weather", "parameters": WEATHER["function"]["parameters"]}  # type: ignore[index]
    asked: dict[str, Any] = {"model": kind, "tools": [tool], "reasoning": {"effort": "low"}}
    answer = say(gateway, "responses", 'fake:{"fault":"tool-call"}', stream=stream, **asked)
    first = streamed(answer)[-1][1]["response"] if stream else answer.json()
    calls = [item["call_id"] for item in first["output"] if item["type"] == "function_call"]
    results = [{"type": "function_call_output", "call_id": call, "output": "grey"} for call in calls]
    went_on = say(gateway, "responses", results, previous_response_id=first["id"], **asked)
    assert went_on.json()["status"] == "completed"
    assert "x-airboss-dropped" not in went_on.headers
    assert f'"{member}":' in provider.last().body.replace(" ", "")


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
        refused = {
            name: client.post("/v1/completions", json=body | {name: value})
            for name, value in {"echo": True, "logprobs": 0, "suffix": "x", "best_of": 2}.items()
        }
    if stream:
        *events, _, _ = answer.text.split("\n\n")
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        assert {chunk["object"] for chunk in chunks} == {"text_completion"}
        text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    else:
        text = answer.json()["choices"][0]["text"]
    assert text == "so it is"
    assert (two.status_code, two.json()["error"]["param"]) == (400, "prompt")
    for name, refusal in refused.items():
        assert (refusal.status_code, refusal.json()["error"]["param"]) == (400, name)


UNSAID: dict[ProviderKind, dict[str, Any]] = {
    "anthropic": {"seed": 1, "logprobs": True, "n": 2, "logit_bias": {"5": 1}, "frequency_penalty": 1},
    "gemini": {"logit_bias": {"5": 1}, "verbosity": "low", "modalities": ["audio"], "prediction": {"x": 1}},
    "bedrock": {"seed": 1, "logprobs": True, "n": 2, "presence_penalty": 0.5},
}


@KINDS
def test_what_cannot_be_said_is_refused_by_name(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind
) -> None:
    """A 400 names it and the way out, and nothing goes upstream."""
    for name, value in UNSAID[kind].items():
        refused = ask(gateway, kind, **{name: value})
        assert refused.status_code == 400, (name, refused.text)
        error = refused.json()["error"]
        assert (error["param"], error["code"]) == (name, "unsupported_by_provider")
        assert "drop_unsupported" in error["message"]
    assert not provider.stats().requests


@pytest.mark.parametrize(
    ("dialect", "asked", "name"),
    [
        ("responses", {"text": {"verbosity": "low"}}, "text.verbosity"),
        (
            "responses",
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input",
        ),
        (
            "messages",
            {
                "model": "bedrock",
                "tools": [{"name": "f", "input_schema": {"type": "object"}}],
                "tool_choice": {"type": "any"},
                "thinking": {"type": "enabled", "budget_tokens": 1024},
            },
            "thinking",
        ),
    ],
)
def test_a_refusal_names_what_the_client_sent(
    gateway: Gateway, dialect: str, asked: dict[str, Any], name: str
) -> None:
    """Not what chat calls it, which no such client has written."""
    refused = say(gateway, dialect, **{"model": "gemini"} | asked)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["param"], error["code"]) == (name, "unsupported_by_provider")
    assert f"'{name}'" in error["message"]


@STREAM
@KINDS
def test_what_cannot_be_said_may_be_dropped(gateway: Gateway, kind: ProviderKind, stream: bool) -> None:
    """With `drop_unsupported` the call is served without, and a header names what it was."""
    names = UNSAID[kind]
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
        prompt_cache_options={"mode": "implicit"},
        logit_bias={},
        parallel_tool_calls=True,
    )
    assert answer.status_code == 200, answer.text


@KINDS
@pytest.mark.parametrize("wanted", ["tool", "schema"])
def test_one_tool_that_must_be_called(
    gateway: Gateway, provider: FakeProvider, kind: ProviderKind, wanted: str
) -> None:
    """Clients ask for structured output so, and for one call of it at most; a schema is said so, too."""
    named = {"type": "function", "function": {"name": "weather"}}
    asked = {"tools": [WEATHER], "tool_choice": named} if wanted == "tool" else {"response_format": SCHEMA}
    answer = ask(gateway, kind, "fake:{}", parallel_tool_calls=False, **asked)
    assert answer.status_code == 200, answer.text
    assert "x-airboss-dropped" not in answer.headers
    assert ("disable_parallel_tool_use" in provider.last().body) == (kind == "anthropic")


@KINDS
def test_one_call_at_a_time(gateway: Gateway, provider: FakeProvider, kind: ProviderKind) -> None:
    """LlamaIndex asks for it in every call with tools: who has no words for it is asked without."""
    answer = ask(gateway, kind, "fake:{}", parallel_tool_calls=False, tools=[WEATHER])
    assert answer.status_code == 200, answer.text
    told = None if kind == "anthropic" else "parallel_tool_calls"
    assert answer.headers.get("x-airboss-dropped") == told
    assert ("disable_parallel_tool_use" in provider.last().body) == (kind == "anthropic")


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
