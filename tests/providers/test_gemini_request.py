"""Chat requests in Gemini's words, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import InvalidRequest
from airboss.providers.chat_request import ANSWER_TOOL
from airboss.providers.dialect import Unsaid
from airboss.providers.gemini_request import UNSIGNED, generate_request

Json = dict[str, Any]
FLASH, PRO, THREE = "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-flash"
HI = [{"role": "user", "content": "hi"}]
HI_SAID = [{"role": "user", "parts": [{"text": "hi"}]}]
SCHEMA: Json = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "additionalProperties": False}
F = {"type": "function", "function": {"name": "f", "description": "does", "parameters": SCHEMA}}
F_SAID = {"functionDeclarations": [{"name": "f", "description": "does", "parametersJsonSchema": SCHEMA}]}
SHAPE = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "description": "A."}}
ANSWER = {
    "name": ANSWER_TOOL,
    "description": "A. Call this tool with the whole answer.",
    "parametersJsonSchema": SCHEMA,
}


def call(id_: str, **more: Any) -> Json:
    """A call of f."""
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}, **more}


def said(request: Json, *, drop: bool = False) -> tuple[Json, list[str]]:
    """The body that goes upstream, and what was left out."""
    unsaid = Unsaid("Gemini's models", drop=drop)
    made = generate_request(json.dumps({"model": FLASH, "messages": HI} | request).encode(), unsaid)
    return json.loads(made.body), unsaid.dropped


def thinking(**config: Any) -> Json:
    """A request of HI that says this about thinking."""
    return {"contents": HI_SAID, "generationConfig": {"thinkingConfig": config}}


def media(*parts: Json) -> Json:
    """A message of these parts."""
    return {"messages": [{"role": "user", "content": list(parts)}]}


TALK: list[Json] = [
    *HI,
    {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
    {"role": "tool", "tool_call_id": "a", "content": '{"y": 2}'},
    {"role": "tool", "tool_call_id": "b", "content": "[3]"},
    {"role": "user", "content": "and?"},
]


def named(part: Json, id_: str) -> Json:
    """A call or its result, by its id."""
    return {kind: {**said, "id": id_} for kind, said in part.items()}


CALLED: Json = {"functionCall": {"name": "f", "args": {"x": 1}}}
RESULTS: Json = {
    "role": "user",
    "parts": [
        {"functionResponse": {"name": "f", "response": {"y": 2}}},
        {"functionResponse": {"name": "f", "response": {"result": [3]}}},
        {"text": "and?"},
    ],
}
SIGNED: Json = {"google": {"thought_signature": "c2ln"}}

GOLDEN: dict[str, tuple[Json, Json]] = {
    "nothing said": ({}, {"contents": HI_SAID}),
    "what is Gemini's own": (
        {"safetySettings": [{"category": "c", "threshold": "t"}], "cachedContent": "cachedContents/x"},
        {
            "contents": HI_SAID,
            "safetySettings": [{"category": "c", "threshold": "t"}],
            "cachedContent": "cachedContents/x",
        },
    ),
    "a tier of service": ({"service_tier": "fast"}, {"contents": HI_SAID, "serviceTier": "priority"}),
    "the usual tier": ({"service_tier": "default"}, {"contents": HI_SAID}),
    "every number": (
        {
            "n": 2,
            "max_completion_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 4,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "seed": 3,
            "stop": ["a", "b"],
            "logprobs": True,
            "top_logprobs": 2,
        },
        {
            "contents": HI_SAID,
            "generationConfig": {
                "candidateCount": 2,
                "maxOutputTokens": 7,
                "temperature": 0.5,
                "topP": 0.9,
                "topK": 4,
                "presencePenalty": 0.1,
                "frequencyPenalty": 0.2,
                "seed": 3,
                "stopSequences": ["a", "b"],
                "responseLogprobs": True,
                "logprobs": 2,
            },
        },
    ),
    "system words": (
        {"messages": [{"role": "system", "content": "one"}, *HI, {"role": "developer", "content": "two"}]},
        {"systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}]}, "contents": HI_SAID},
    ),
    "pictures, sound and a file": (
        media(
            {"type": "image_url", "image_url": {"url": "data:image/webp;base64,aGk="}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png?z=1"}},
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}},
        ),
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"inlineData": {"mimeType": "image/webp", "data": "aGk="}},
                        {"fileData": {"mimeType": "image/png", "fileUri": "https://x/y.png?z=1"}},
                        {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
                        {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
                    ],
                }
            ]
        },
    ),
    "calls and their results": (
        {"messages": TALK, "tools": [F]},
        {
            "contents": [*HI_SAID, {"role": "model", "parts": [CALLED, CALLED]}, RESULTS],
            "tools": [F_SAID],
        },
    ),
    "calls that came signed": (
        {
            "messages": [
                *HI,
                {"role": "assistant", "tool_calls": [call("a", extra_content=SIGNED), call("b")]},
                *TALK[2:],
            ]
        },
        {
            "contents": [
                *HI_SAID,
                {"role": "model", "parts": [{**CALLED, "thoughtSignature": "c2ln"}, CALLED]},
                RESULTS,
            ]
        },
    ),
    "calls of another model's": (
        {"model": THREE, "messages": TALK},
        {
            "contents": [
                *HI_SAID,
                {
                    "role": "model",
                    "parts": [{**named(CALLED, "a"), "thoughtSignature": UNSIGNED}, named(CALLED, "b")],
                },
                {**RESULTS, "parts": [*map(named, RESULTS["parts"], ("a", "b")), *RESULTS["parts"][2:]]},
            ]
        },
    ),
    "calls that an id does not tell apart": (
        {
            "model": THREE,
            "messages": [
                *HI,
                {"role": "assistant", "tool_calls": [call("a"), call("a")]},
                {"role": "tool", "tool_call_id": "a", "content": '{"y": 2}'},
                {"role": "tool", "tool_call_id": "a", "content": "[3]"},
                TALK[-1],
            ],
        },
        {
            "contents": [
                *HI_SAID,
                {"role": "model", "parts": [{**CALLED, "thoughtSignature": UNSIGNED}, CALLED]},
                RESULTS,
            ]
        },
    ),
    "a tool that must be called": (
        {"tools": [F], "tool_choice": "required"},
        {
            "contents": HI_SAID,
            "tools": [F_SAID],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        },
    ),
    "a tool by name": (
        {"tools": [F], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {
            "contents": HI_SAID,
            "tools": [F_SAID],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        },
    ),
    "a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
        {
            "contents": HI_SAID,
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        },
    ),
    "a schema beside tools": (
        {"tools": [F], "response_format": SHAPE},
        {
            "contents": HI_SAID,
            "tools": [{"functionDeclarations": [*F_SAID["functionDeclarations"], ANSWER]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        },
    ),
    "a schema beside tools that may not be called": (
        {"tools": [F], "tool_choice": "none", "response_format": SHAPE},
        {
            "contents": HI_SAID,
            "tools": [{"functionDeclarations": [*F_SAID["functionDeclarations"], ANSWER]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [ANSWER_TOOL]}},
        },
    ),
    "a schema beside a tool that must be called": (
        {"tools": [F], "tool_choice": "required", "response_format": SHAPE},
        {
            "contents": HI_SAID,
            "tools": [F_SAID],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        },
    ),
    "a schema beside tools for a model that knows such": (
        {"model": THREE, "tools": [F], "response_format": SHAPE},
        {
            "contents": HI_SAID,
            "tools": [F_SAID],
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        },
    ),
    "any JSON": (
        {"response_format": {"type": "json_object"}},
        {"contents": HI_SAID, "generationConfig": {"responseMimeType": "application/json"}},
    ),
    "a budget": ({"reasoning_effort": "low"}, thinking(includeThoughts=True, thinkingBudget=1024)),
    "no thinking": ({"reasoning_effort": "none"}, thinking(includeThoughts=False, thinkingBudget=0)),
    "as little as can be": (
        {"model": PRO, "reasoning_effort": "none"},
        thinking(includeThoughts=False, thinkingBudget=128),
    ),
    "a level": (
        {"model": THREE, "reasoning_effort": "minimal"},
        thinking(includeThoughts=True, thinkingLevel="MINIMAL"),
    ),
    "more than its most": (
        {"model": THREE, "reasoning_effort": "xhigh"},
        thinking(includeThoughts=True, thinkingLevel="HIGH"),
    ),
    "more than its largest budget": (
        {"reasoning_effort": "max"},
        thinking(includeThoughts=True, thinkingBudget=24576),
    ),
    "the least level of a large model": (
        {"model": "gemini-3-pro-preview", "reasoning_effort": "minimal"},
        thinking(includeThoughts=True, thinkingLevel="LOW"),
    ),
}


def test_results_come_in_the_order_of_their_calls() -> None:
    """They have no ids there, and tools end in any order; an id that two calls have means one after the
    other."""
    calls = [
        {"id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for id_, name in (("a", "f"), ("b", "f"), ("c", "g"), ("c", "h"))
    ]
    ended = [("b", "2"), ("c", "3"), ("a", "1"), ("c", "4")]
    results = [{"role": "tool", "tool_call_id": id_, "content": content} for id_, content in ended]
    made, _ = said({"messages": [*HI, {"role": "assistant", "tool_calls": calls}, *results]})
    told = [part["functionResponse"] for part in made["contents"][-1]["parts"]]
    assert [(each["name"], each["response"]["result"]) for each in told] == [
        ("f", 1),
        ("f", 2),
        ("g", 3),
        ("h", 4),
    ]


def test_what_a_tool_shows_stands_behind_its_result() -> None:
    """A picture of a tool's is no text, and no reason to refuse a conversation."""
    shown = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    ]
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "a", "content": shown}
    made, _ = said({"messages": [*HI, {"role": "assistant", "tool_calls": [call]}, result]})
    assert made["contents"][-1]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"result": "see"}}},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    ]


def test_a_refusal_is_what_the_model_said() -> None:
    """Left out, two turns of the user's would become one."""
    made, _ = said({"messages": [*HI, {"role": "assistant", "content": None, "refusal": "No."}, *HI]})
    assert made["contents"][1] == {"role": "model", "parts": [{"text": "No."}]}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_request_is_said(case: str) -> None:
    """Nothing is left out, and nothing is added."""
    request, expected = GOLDEN[case]
    assert said(request) == (expected, [])


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"service_tier": "scale"}, "service_tier"),
        (
            media({"type": "file", "file": {"file_id": "f"}}, {"type": "text", "text": "x"}),
            "messages[0].content[0]",
        ),
        ({"tools": [F], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"response_format": {"type": "grammar", "grammar": "root ::= x"}}, "response_format"),
    ],
)
def test_what_cannot_be_said_is_named_or_dropped(request_: Json, name: str) -> None:
    """A 400 names it; with `drop` it is left out and named."""
    with pytest.raises(InvalidRequest) as raised:
        said(request_)
    assert (raised.value.param, raised.value.code) == (name, "unsupported_by_provider")
    assert said(request_, drop=True)[1] == [name]


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ({"messages": [*HI, {"role": "tool", "tool_call_id": "z", "content": "1"}]}, "messages[1]"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ],
)
def test_mistakes_are_refused_whatever_may_be_dropped(request_: Json, name: str) -> None:
    """They are the caller's, and named."""
    with pytest.raises(InvalidRequest) as raised:
        said(request_, drop=True)
    assert raised.value.param == name
