"""Rich bodies of every route, and ways to spoil one member of them. JSON text stays text: some of it no
encoder would write."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"city":"Oslo","n":1}'},
}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}, "n": {"type": "integer", "minimum": 0}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}
USE = {"type": "tool_use", "id": "call_1", "name": "look", "input": {"city": "Oslo", "n": 1}}
PICTURE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
}
RECORD = "01900000-0000-7000-8000-000000000000"

RICH: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE], "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
        },
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 1,
        "stop": ["x", "y"],
        "seed": 3,
        "logit_bias": {"1": 2.5},
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "ann",
        "metadata": {"session_id": "s", "a": "b"},
    },
    "/v1/completions": {
        "model": "gpt-4o",
        "prompt": ["a", "b"],
        "suffix": "",
        "max_tokens": 9,
        "n": 1,
        "best_of": 1,
        "echo": False,
        "logprobs": 2,
        "stop": "x",
        "stream": False,
        "user": "ann",
    },
    "/v1/embeddings": {
        "model": "gpt-4o",
        "input": ["a", "b"],
        "dimensions": 8,
        "encoding_format": "float",
        "user": "ann",
    },
    "/v1/responses": {
        "model": "gpt-4o",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}]},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"n":1}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        ],
        "tools": [{"type": "function", "name": "look", "parameters": SCHEMA, "strict": False}],
        "tool_choice": "auto",
        "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "max_output_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": True,
        "store": True,
        "metadata": {"a": "b"},
        "user": "ann",
    },
    "/v1/messages": {
        "model": "gpt-4o",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]},
            {"role": "assistant", "content": [{"type": "text", "text": "Wait."}, USE]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "rain", "is_error": False}
                ],
            },
        ],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "look"},
        "thinking": {"type": "disabled"},
        "stop_sequences": ["x"],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stream": True,
        "metadata": {"user_id": "ann"},
    },
    "/v1/feedback": {"record_id": RECORD, "name": "helpfulness", "value": 1, "comment": "x", "user": "ann"},
}
RICH["/v1/responses/input_tokens"] = RICH["/v1/responses"]
RICH["/v1/messages/count_tokens"] = {
    name: value
    for name, value in RICH["/v1/messages"].items()
    if name in {"model", "system", "messages", "tools", "tool_choice", "thinking"}
}

ODD: tuple[str, ...] = (
    *("null", "true", "false", "0", "-0", "-1", "1.5", "1e300", "-1e300", "1e999", "2147483648"),
    *("9007199254740993", "9223372036854775808", "1180591620717411303424", "-99999999999999999999"),
    *("9" * 5000, '""', '" "', '"x"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"é😀\\u202e"'),
    *('"a\\nb"', f'"{"x" * 70_000}"', "[]", "[[]]", "[null]", "[1,2]", '["a",1]', "[{}]", "{}", '{"":{}}'),
    *('{"type":"nope"}', '{"type":7}', '{"type":"text"}', '{"type":"text","text":7}', '{"a":1,"a":2}'),
    *("[" * 210 + "]" * 210, "[" * 60 + "]" * 60, '"{{ 1/0 }}{% raise %}"', '"<|im_end|>"'),
    *('"data:image/png;base64,%%%"', '"http://127.0.0.1:1/x"', '"file:///etc/passwd"', '{"$ref":"#"}'),
    *('{"role":"user","content":"hi"}', '[{"type":"text","text":"x"}]', "NaN", "Infinity", "[1,]"),
)


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every place within a body."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*at, name))


PLACES = {route: tuple(places(body)) for route, body in RICH.items()}
_HOLE = "\ufffdhole\ufffd"


def spoilt(route: str, at: Path, odd: str, *, model: str) -> bytes:
    """The rich body of a route for `model`, with the text `odd` at one place."""
    body = json.loads(json.dumps(RICH[route]))
    if "model" in body:
        body["model"] = model
    inner = body
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = _HOLE
    return json.dumps(body).replace(json.dumps(_HOLE), odd).encode()


def any_spoilt(rng: random.Random, models: tuple[str, ...]) -> tuple[str, bytes]:
    """A route and a spoilt body, by chance."""
    route = rng.choice(list(RICH))
    return route, spoilt(route, rng.choice(PLACES[route]), rng.choice(ODD), model=rng.choice(models))
