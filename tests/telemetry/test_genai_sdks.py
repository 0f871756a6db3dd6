"""What SDKs with attributes of their own say of model calls: requests recorded from Langfuse's, MLflow's and
Vercel's AI SDK, and what is odd."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from airboss.telemetry.genai_attributes import unsaid, without_content
from airboss.telemetry.genai_kinds import kind_of
from airboss.telemetry.genai_spans import ModelCall, call_of, error_of, session_of, tags_of, user_of
from airboss.telemetry.otlp_read import RawSpan, read_json, read_protobuf
from tests.support.otlp import request, span
from tests.telemetry.test_genai_spans import DATA

TEXTS = {"Take an umbrella.", "By responses."}


def recorded(name: str) -> tuple[list[RawSpan], list[ModelCall]]:
    """The spans of a recorded request, and the calls that tell of what was used or of a failure."""
    spans = read_protobuf((DATA / f"{name}.bin").read_bytes(), time.time_ns()).spans
    kinds = [(each, kind_of(each.attributes)) for each in spans]
    calls = [call_of(each, kind) for each, kind in kinds if kind in {"llm", "embedding"}]
    return spans, [each for each in calls if each.usage() is not None or each.error_type is not None]


def call(attributes: dict[str, Any], **fields: Any) -> ModelCall:
    """What one span tells of a model call."""
    said = json.dumps(request(span(1, attributes=attributes, **fields))).encode()
    (raw,) = read_json(said, time.time_ns()).spans
    kind = kind_of(raw.attributes)
    assert kind in {"llm", "embedding"}, kind
    return call_of(raw, kind)


def texts(calls: list[ModelCall]) -> list[str]:
    """What was answered, in whichever dialect it is kept."""
    found = []
    for each in calls:
        said = json.loads(each.response or b"{}")
        if "choices" in said:
            found += [choice["message"].get("content") for choice in said["choices"]]
        found += [part["text"] for item in said.get("output", ()) for part in item["content"]]
    return [each for each in found if each]


NAMES = ["langfuse-3.15", "langfuse-5.0", "mlflow-3.17", "vercel-5.0", "vercel-6.0", "vercel-7.0"]


@pytest.mark.parametrize("name", NAMES)
def test_recorded_calls_are_read(name: str) -> None:
    """Models, tokens, what was said, tools, how it ended, streams and failures are as any other's."""
    spans, calls = recorded(name)
    first, streamed = calls[:2]
    assert (first.models, first.operation, first.finish_reason) == (("gpt-4o-mini",), "chat", "tool_calls")
    assert (first.input_tokens, first.output_tokens) in {(4, 15), (3, 15)}
    asked = json.loads(first.request or b"")
    assert asked["messages"][0] == {"role": "system", "content": "be kind"}
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("gpt-4o-mini", 0.5, 50)
    assert asked["tools"][0]["function"]["name"] == "weather"
    assert "properties" in asked["tools"][0]["function"]["parameters"]
    made = json.loads(first.response or b"")["choices"][0]
    assert [each["function"]["name"] for each in made["message"]["tool_calls"]] == ["weather"] * 2
    assert json.loads(made["message"]["tool_calls"][0]["function"]["arguments"])["days"] == 3
    assert made["finish_reason"] == "tool_calls"
    assert (streamed.stream, first.stream, streamed.finish_reason) == (True, False, "stop")
    assert streamed.ttft_ms is not None
    assert 0 < streamed.ttft_ms < 60_000
    assert set(texts(calls)) >= TEXTS
    assert streamed.output_chars == len("Take an umbrella.")
    vectors = [each for each in calls if each.operation == "embeddings"]
    assert {each.models for each in vectors} == {("text-embedding-3-small",)}
    assert vectors[0].input_tokens == 3
    assert json.loads(vectors[0].request or b"")["input"] == ["a vector please"]
    failed = [each for each in calls if each.error_type is not None]
    assert failed[-1].error_type in {"error", "BadRequestError", "AI_APICallError"}
    assert "context-length" in (failed[-1].request or b"").decode()
    kinds = [kind_of(each.attributes) for each in spans]
    assert kinds.count("tool") == 2
    assert {"agent", "chain"} & set(kinds)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_people_are_read(name: str) -> None:
    """Whose a trace is, its session and its tags, where the SDK sends them; MLflow's does not."""
    attributes = [each.attributes for each in recorded(name)[0]]
    people = {user_of(each) for each in attributes} - {None}
    sessions = {session_of(each) for each in attributes} - {None}
    tags = [tags_of(each) for each in attributes if tags_of(each)]
    if name == "mlflow-3.17":
        assert (people, sessions, tags) == (set(), set(), [])
        return
    assert (people, sessions) == ({"ann"}, {"s-1"})
    assert tags[0] == {"a": "true", "b": "true", "team": "x"}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_said_is_left_where_it_may_not_be_kept(name: str) -> None:
    """What is in the record is in no attribute beside it; and without bodies nowhere."""
    said = ("umbrella", "be kind", "vector please", "context-length", "sunny", "By responses")
    for each in recorded(name)[0]:
        if kind_of(each.attributes) in {"llm", "embedding"}:
            assert not any(word in str(without_content(each.attributes)) for word in said[2:])
            if not name.startswith("mlflow"):  # it has parameters apart, too
                assert said[1] not in str(without_content(each.attributes))
        assert not any(word in str(unsaid(each.attributes)) for word in said), each.name


GENERATION = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "m"}


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"input": 10, "output": 5, "total": 15}, (10, 5, 0, 0, 0)),
        (
            {"input": 10, "output": 5, "input_cached_tokens": 4, "output_reasoning_tokens": 3},
            (14, 8, 4, 0, 3),
        ),
        (
            {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4},
            (14, 5, 4, 0, 0),
        ),
        (
            {
                "input": 10,
                "cache_creation_input_tokens": 6,
                "cache_creation_ephemeral_5m_input_tokens": 6,
                "output": 1,
            },
            (16, 1, 0, 6, 0),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            (10, 5, 4, 0, 3),
        ),
        (
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            (10, 5, 4, 0, 3),
        ),
    ],
)
def test_tokens_by_whichever_keys(usage: dict[str, Any], tokens: tuple[int, ...]) -> None:
    """Langfuse's are beside each other; a provider's own details are parts of the sum."""
    found = call(GENERATION | {"langfuse.observation.usage_details": json.dumps(usage)})
    assert tokens == (
        found.input_tokens,
        found.output_tokens,
        found.cached_input_tokens,
        found.written_input_tokens,
        found.reasoning_tokens,
    )


def test_answers_of_anthropics_are_read() -> None:
    """Written whole by MLflow, or as blocks alone by an app."""
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}]
    whole = {"type": "message", "role": "assistant", "content": blocks, "stop_reason": "max_tokens"}
    asked = {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    found = call(
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.spanInputs": json.dumps(asked),
            "mlflow.spanOutputs": json.dumps(whole),
            "mlflow.message.format": '"anthropic"',
            "mlflow.chat.tokenUsage": '{"input_tokens":30,"output_tokens":5,"cache_read_input_tokens":20}',
        }
    )
    assert (found.models, found.provider, found.finish_reason) == (("claude",), "anthropic", "length")
    assert (found.input_tokens, found.cached_input_tokens, found.output_chars) == (30, 20, 2)
    assert (json.loads(found.request or b""), json.loads(found.response or b"")) == (asked, whole)
    found = call(GENERATION | {"langfuse.observation.output": json.dumps(blocks)})
    assert json.loads(found.response or b"")["content"] == blocks


def test_langchains_messages_are_chat() -> None:
    """As MLflow writes them of LangChain: in batches of one, with roles of its own."""
    asked = [[{"type": "system", "content": "s"}, {"type": "human", "content": "hi"}]]
    said = {"generations": [[{"text": "so", "message": {"type": "ai", "content": "so"}}]]}
    found = call(
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.llm.model": '"m"',
            "mlflow.spanInputs": json.dumps(asked),
            "mlflow.spanOutputs": json.dumps(said),
            "user.id": '"ann"',
        }
    )
    assert json.loads(found.request or b"") == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
    }
    assert json.loads(found.response or b"")["choices"][0]["message"] == {
        "role": "assistant",
        "content": "so",
    }
    assert user_of({"user.id": '"ann"'}) == "ann"


def test_results_of_tools_are_messages() -> None:
    """Vercel's parts: calls, results in either of its forms, files, and reasoning."""
    asked = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "file", "mediaType": "image/png"}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "reasoning", "text": "hm"},
                {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "tool",
            "content": [
                {"type": "tool-result", "toolCallId": "c", "output": {"type": "json", "value": {"y": 2}}},
                {"type": "tool-result", "toolCallId": "d", "result": "z"},
            ],
        },
    ]
    found = call(
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.id": "gemini-2.5-pro",
            "ai.model.provider": "google.generative-ai",
            "ai.prompt.messages": json.dumps(asked),
        }
    )
    function = {"name": "f", "arguments": '{"x":1}'}
    assert json.loads(found.request or b"")["messages"] == [
        {"role": "user", "content": "a\n[file]"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c", "content": '{"y":2}'},
        {"role": "tool", "tool_call_id": "d", "content": "z"},
    ]
    assert (found.provider, found.models) == ("gcp.gemini", ("gemini-2.5-pro",))


def test_an_error_is_one_by_langfuses_level_too() -> None:
    """A generation that an app has marked so, though its span says nothing of it."""
    assert call(GENERATION | {"langfuse.observation.level": "ERROR"}).error_type == "error"
    assert call(GENERATION | {"langfuse.observation.level": "WARNING"}).error_type is None


@pytest.mark.parametrize(
    "odd",
    [
        *("{", "[]", "[[]]", "[[[1]]]", "7", '"x"', "null", '{"messages":7}', '{"generations":[]}'),
        *(5, [5], True, *("[" * deep + "]" * deep for deep in range(970, 1_001, 3))),
    ],
    ids=lambda odd: str(odd)[:20],
)
def test_odd_values_are_harmless(odd: Any) -> None:
    """Values of any shape give a call, with whatever can be read of them."""
    names = {
        "langfuse.observation.": ("input", "output", "model.parameters", "usage_details", "cost_details"),
        "langfuse.observation.m": ("etadata.finish_reason", "odel.name"),
        "mlflow.": (
            "spanInputs",
            "spanOutputs",
            "chat.tokenUsage",
            "llm.cost",
            "llm.model",
            "message.format",
        ),
        "ai.": ("prompt.messages", "prompt.tools", "values", "value", "response.toolCalls", "response.text"),
        "ai.m": ("odel.id", "odel.provider"),
    }
    given = {f"{begins}{name}": odd for begins, all_names in names.items() for name in all_names}
    given |= {"langfuse.observation.completion_start_time": odd, "ai.response.msToFirstChunk": odd}
    for kind in (
        {"langfuse.observation.type": "generation"},
        {"langfuse.observation.type": "embedding"},
        {"mlflow.spanType": '"LLM"'},
        {"mlflow.spanType": '"EMBEDDING"'},
        {"ai.operationId": "ai.generateText.doGenerate"},
        {"ai.operationId": "ai.embed.doEmbed"},
    ):
        found = call(given | kind)
        assert json.loads(found.request or b"null") is None or found.request
    said = json.dumps(request(span(1, attributes={"langfuse.trace.tags": odd, "ai.settings.context.x": odd})))
    (raw,) = read_json(said.encode(), time.time_ns()).spans
    assert error_of(raw) is None
    assert isinstance(tags_of(raw.attributes), dict)
