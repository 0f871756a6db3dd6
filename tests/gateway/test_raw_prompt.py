"""Releases with `form = "completion"`: a call becomes one raw prompt, and its completion a chat answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from airboss.domain.release import Example, ModelVersion, Policy, Release
from airboss.releases.build import sealed
from airboss.testing import FakeProvider
from tests.support.engine_process import SLOT_TOKENS, engine
from tests.support.gateway import Gateway, deployment

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
RELEASE = sealed(
    Release(
        digest="",
        name="raw",
        model=ModelVersion(provider="fake", kind="openai-compatible", model="up"),
        prompt="Be {{ tone }}.",
        examples=(Example("one?", "yes"), Example("two?", "no")),
        form="completion",
        params={"temperature": 0.25, "stop": ["###"]},
    )
)
VARIABLES = {"prompt_variables": {"tone": "kind"}}
PROMPT = "Be kind.\n\nInput: one?\nOutput: yes\n\nInput: two?\nOutput: no\n\nInput: three?\nOutput:"
SAID = ' fake:{"text":" a  b\\n\\n "}'
MAIL = sealed(
    Release(
        digest="",
        name="masked",
        model=RELEASE.model,
        form="completion",
        policy=Policy(pii=(("email", "mask"),), detectors="1"),
    )
)


@pytest.fixture(scope="module")
def shared_gateway(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker that serves RELEASE, one that drops, and MAIL."""
    plans = [
        deployment(fake_process.url, stable=RELEASE),
        deployment(fake_process.url, name="drops", aliases=(), stable=RELEASE, drop_unsupported=True),
        deployment(fake_process.url, name="masked", aliases=(), stable=MAIL),
    ]
    with Gateway(tmp_path_factory.mktemp("raw"), *plans) as running:
        yield running


def ask(gateway: Gateway, path: str = CHAT, **body: Any) -> httpx2.Response:
    """One call, of "three?" unless told otherwise."""
    asked = {"model": "gpt-4o"} | VARIABLES | body
    if path == CHAT:
        asked = {"messages": [{"role": "user", "content": "three?"}]} | asked
    else:
        asked = {"prompt": "three?"} | asked
    with gateway.client() as client:
        return client.post(path, json=asked)


def chunks(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The events of a stream, which must be whole."""
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""], answer.text
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_the_upstream_gets_one_prompt(
    gateway: Gateway, provider: FakeProvider, path: str, stream: bool
) -> None:
    """Chat or text, whole or streamed, the upstream's `/completions` gets the same prompt, with the
    parameters of request and release and with the stops that end a turn."""
    answer = ask(gateway, path, stream=stream, max_tokens=9, seed=3)
    assert answer.status_code == 200, answer.text
    seen = provider.last()
    assert seen.path == "/v1/completions"
    expected = {
        "model": "up",
        "prompt": PROMPT,
        "stream": stream,
        "max_tokens": 9,
        "seed": 3,
        "temperature": 0.25,
        "stop": ["###", "\n\nInput:", "\nInput:"],
    }
    assert json.loads(seen.body) == expected | ({"stream_options": {"include_usage": True}} if stream else {})


def test_a_completion_is_a_chat_answer(gateway: Gateway) -> None:
    """Its text comes without white space around it, with a role, its reason and its usage; the record has
    the same."""
    answer = ask(gateway, messages=[{"role": "user", "content": SAID}])
    said = answer.json()
    assert said["object"] == "chat.completion"
    (choice,) = said["choices"]
    assert choice["message"] == {"role": "assistant", "content": "a  b", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert said["usage"]["completion_tokens"] > 0
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["response"] == said
    assert closed["output_tokens"] == said["usage"]["completion_tokens"]
    assert (closed["output_chars"], closed["usage_estimated"]) == (4, False)


def test_a_streamed_completion_is_a_chat_stream(gateway: Gateway) -> None:
    """Its chunks join to the trimmed text; usage comes to who asks for it, and into the record either way."""
    told: dict[str, Any] = {"messages": [{"role": "user", "content": SAID}], "stream": True}
    made = chunks(ask(gateway, **told, stream_options={"include_usage": True}))
    deltas = [chunk["choices"][0]["delta"] for chunk in made if chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "a  b"
    assert deltas[0]["role"] == "assistant"
    assert {chunk["object"] for chunk in made} == {"chat.completion.chunk"}
    assert made[-1]["usage"]["completion_tokens"] > 0
    quiet = ask(gateway, **told)
    assert [len(chunk["choices"]) for chunk in chunks(quiet)] == [1] * (len(made) - 1)
    closed = gateway.closed(quiet.headers["x-request-id"])
    assert closed["response"]["choices"][0]["message"]["content"] == "a  b"
    assert closed["output_tokens"] == made[-1]["usage"]["completion_tokens"]


def test_a_completion_may_stay_one(gateway: Gateway) -> None:
    """A text completion gets its text trimmed as well; each prompt of a list is rendered."""
    answer = ask(gateway, TEXT, prompt=SAID)
    assert answer.json()["choices"][0]["text"] == "a  b"
    streamed = chunks(ask(gateway, TEXT, prompt=SAID, stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == "a  b"


def test_lists_of_prompts_are_rendered_each(gateway: Gateway, provider: FakeProvider) -> None:
    """Two inputs are two raw prompts."""
    ask(gateway, TEXT, prompt=["three?", "four?"])
    assert json.loads(provider.last().body)["prompt"] == [PROMPT, PROMPT.replace("three", "four")]


def test_an_answer_that_was_begun_goes_on(gateway: Gateway, provider: FakeProvider) -> None:
    """The assistant's words come last in the prompt, and the space after them is the answer's."""
    begun = [{"role": "user", "content": SAID}, {"role": "assistant", "content": "It is"}]
    answer = ask(gateway, messages=begun)
    assert json.loads(provider.last().body)["prompt"].endswith("\nOutput: It is")
    assert answer.json()["choices"][0]["message"]["content"] == " a  b"


def test_hosted_answers_are_not_cut_at_sixteen_tokens(gateway: Gateway, provider: FakeProvider) -> None:
    """A limit is sent where nobody set one: the default of `/completions` is 16 tokens."""
    ask(gateway)
    assert json.loads(provider.last().body)["max_tokens"] == 1024
    ask(gateway, max_completion_tokens=40)
    seen = json.loads(provider.last().body)
    assert (seen["max_tokens"], "max_completion_tokens" in seen) == (40, False)


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "tools": (CHAT, {"tools": [TOOL]}, "tools"),
    "functions": (CHAT, {"functions": [TOOL["function"]]}, "functions"),
    "a schema": (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
    "log probabilities": (CHAT, {"logprobs": True}, "logprobs"),
    "an image": (CHAT, {"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0]"),
    "a tool's result": (
        CHAT,
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
        "messages[0]",
    ),
    "a tool call": (CHAT, {"messages": [{"role": "assistant", "tool_calls": [CALLED]}]}, "messages[0]"),
    "log probabilities of a text": (TEXT, {"logprobs": 2}, "logprobs"),
    "echo": (TEXT, {"echo": True}, "echo"),
    "a suffix": (TEXT, {"suffix": "x"}, "suffix"),
    "tokens": (TEXT, {"prompt": [1, 2]}, "prompt"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_raw_prompt_cannot_hold_is_refused(
    gateway: Gateway, provider: FakeProvider, case: str
) -> None:
    """A 400 names it, and nothing goes upstream."""
    path, body, param = REFUSED[case]
    refused = ask(gateway, path, **body)
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["param"] == param
    assert not provider.stats().requests


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [], "tool_choice": "auto"},
        {"response_format": {"type": "text"}},
        {"logprobs": False, "parallel_tool_calls": True, "store": False},
    ],
    ids=["no tools", "text", "no log probabilities"],
)
def test_what_asks_for_nothing_is_served(gateway: Gateway, body: dict[str, Any]) -> None:
    """Defaults that a client always sends are no reason to refuse it."""
    assert ask(gateway, **body).status_code == 200


def test_what_is_dropped_is_told(gateway: Gateway, provider: FakeProvider) -> None:
    """With `drop_unsupported` the call is served without it, and a header names what is missing."""
    served = ask(gateway, model="drops", tools=[TOOL], logprobs=True)
    assert served.status_code == 200
    assert served.headers["x-airboss-dropped"] == "tools, logprobs"
    assert "tools" not in json.loads(provider.last().body)
    streamed = ask(gateway, model="drops", tools=[TOOL], stream=True)
    assert streamed.headers["x-airboss-dropped"] == "tools"
    assert "x-airboss-dropped" not in ask(gateway, model="drops").headers


def test_a_missing_variable_is_named(gateway: Gateway) -> None:
    """As in every other form."""
    refused = ask(gateway, prompt_variables={})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "prompt_variable_missing"


@pytest.mark.parametrize(
    ("fault", "status"),
    [("500", 502), ("429", 429), ("context-length", 400), ("cut-close", 502), ("error-200", 502)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_failures_are_the_usual_ones(gateway: Gateway, fault: str, status: int, stream: bool) -> None:
    """An upstream's errors come through as with any other call; a cut stream never looks whole."""
    told = f'fake:{{"fault":"{fault}","after":0}}'
    answer = ask(gateway, messages=[{"role": "user", "content": told}], stream=stream)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_stream_that_breaks_says_so(gateway: Gateway) -> None:
    """After the first words an error event ends the stream, and the record has what was said."""
    told = 'fake:{"fault":"cut-close","after":3,"text":" a b c d"}'
    answer = ask(gateway, messages=[{"role": "user", "content": told}], stream=True)
    assert answer.status_code == 200
    assert "[DONE]" not in answer.text
    assert '"error"' in answer.text.rsplit("data: ", 1)[1]
    closed = gateway.closed(answer.headers["x-request-id"])
    assert (closed["status"], closed["response"]["choices"][0]["message"]["content"]) == ("error", "a b c")


@pytest.mark.parametrize("stream", [False, True])
def test_policies_screen_what_is_translated(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """Values are masked in the prompt, in the answer and in the record."""
    told = 'From ann@example.com: fake:{"text":" Write to bob@example.com now."}'
    answer = ask(gateway, model="masked", messages=[{"role": "user", "content": told}], stream=stream)
    assert answer.status_code == 200, answer.text
    assert "@example" not in answer.text + provider.last().body
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["response"]["choices"][0]["message"]["content"] == "Write to [EMAIL] now."


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of a real engine."""
    model = ModelVersion(provider="fake", kind="local", model="tiny")
    release = sealed(
        Release(
            digest="",
            name="raw",
            model=model,
            prompt="Answer with the opposite word.",
            examples=(Example("hot", "cold"), Example("big", "small"), Example("fast", "slow")),
            form="completion",
            params={"temperature": 0, "max_tokens": 12},
        )
    )
    with engine() as started:
        plan = deployment(
            f"{started.url}/v1",
            kind="local",
            upstream_model="tiny",
            tools=False,
            slot_tokens=SLOT_TOKENS,
            stable=release,
        )
        with Gateway(tmp_path_factory.mktemp("engine"), plan) as running:
            yield running


def test_a_local_engine_completes_it(local: Gateway) -> None:
    """An engine's answer is one turn, whole or streamed, with its usage; `n` gives as many."""
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "up"}], "prompt_variables": None}
    whole = ask(local, **asked)
    assert whole.status_code == 200, whole.text
    said = whole.json()
    (choice,) = said["choices"]
    text = choice["message"]["content"]
    assert text == text.strip()
    assert text
    assert "Input" not in text
    assert (said["object"], choice["finish_reason"]) == ("chat.completion", "stop")
    assert said["usage"]["prompt_tokens"] > 20
    streamed = chunks(ask(local, **asked, stream=True, stream_options={"include_usage": True}))
    joined = "".join(c["choices"][0]["delta"].get("content", "") for c in streamed if c["choices"])
    assert joined == text
    assert streamed[-1]["usage"]["completion_tokens"] == said["usage"]["completion_tokens"]
    two = ask(local, **asked, n=2).json()
    assert [each["message"]["content"] for each in two["choices"]] == [text, text]
    one = ask(local, TEXT, prompt="up", prompt_variables=None).json()
    assert one["choices"][0]["text"] == text
