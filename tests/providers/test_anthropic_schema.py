"""Strict schemas on their way to models that make grammars of them, and refuse what has no place in one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import InvalidRequest
from airboss.providers.anthropic_request import messages_request
from airboss.providers.anthropic_schema import OPTIONAL_MAX, TOOLS_MAX, UNIONS_MAX, fitted
from airboss.providers.bedrock_request import converse_request
from airboss.providers.dialect import Unsaid
from airboss.providers.fake_anthropic import check_grammar

Json = dict[str, Any]
NEW = "claude-opus-4-6"
BOUNDED: Json = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."}},
    "required": ["n"],
}
FITTED: Json = {
    "type": "object",
    "properties": {"n": {"type": "integer", "description": "How many.\n\n{minimum: 1, maximum: 9}"}},
    "required": ["n"],
    "additionalProperties": False,
}


def closed(**properties: Any) -> Json:
    """An object with these members, all needed."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def tool(name: str, schema: Json, *, strict: bool = True) -> Json:
    """A function of a client's."""
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": strict}}


def sent(translate: Any = messages_request, **asked: Any) -> Json:
    """What goes to the provider; nothing of it may be left out."""
    unsaid = Unsaid("Anthropic's models", drop=False)
    request = {"model": NEW, "messages": [{"role": "user", "content": "hi"}]} | asked
    body: Json = json.loads(translate(json.dumps(request).encode(), unsaid).body)
    assert unsaid.dropped == []
    return body


def form(schema: Json) -> Json:
    """A strict form of the answer."""
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (BOUNDED, FITTED),
        ({"type": "string", "format": "email"}, {"type": "string", "format": "email"}),
        ({"type": "string", "format": "phone"}, {"type": "string", "description": "{format: phone}"}),
        ({"type": "string", "pattern": "^a+$"}, {"type": "string", "pattern": "^a+$"}),
        ({"type": "string", "pattern": "(?=a)"}, {"type": "string", "description": "{pattern: (?=a)}"}),
        ({"type": "array", "items": {}, "minItems": 1}, {"type": "array", "items": {}, "minItems": 1}),
        (
            {"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 3},
            {"type": "array", "items": {"type": "null"}, "description": "{minItems: 2, maxItems: 3}"},
        ),
        (
            {"format": [], "minItems": {}, "enum": [{}]},
            {"description": "{format: [], minItems: {}, enum: [{}]}"},
        ),
        ({"oneOf": [{"type": "null"}, {"const": 1}]}, {"anyOf": [{"type": "null"}, {"const": 1}]}),
        ({"enum": ["a", 1, None, True]}, {"enum": ["a", 1, None, True]}),
        ({"$schema": "x", "type": "null"}, {"type": "null"}),
        (
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "object"}}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "additionalProperties": False}}},
        ),
        ({"type": ["object", "null"]}, {"type": ["object", "null"], "additionalProperties": False}),
    ],
)
def test_what_has_no_place_in_a_grammar_is_told(schema: Json, made: Json) -> None:
    """In the description, where the model reads it; the rest stays."""
    assert fitted(schema) == made
    check_grammar("here", made)


def _itself() -> Json:
    return {"$ref": "#/$defs/a", "$defs": {"a": closed(next={"anyOf": [{"$ref": "#/$defs/a"}, {}]})}}


def _deep(levels: int) -> Json:
    schema: Json = {"type": "string"}
    for _ in range(levels):
        schema = closed(a=schema)
    return schema


def _wide(levels: int) -> Json:
    """A definition that names the next one twice, and so on."""
    named = {f"d{at}": closed(a=_ref(at + 1), b=_ref(at + 1)) for at in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**named, f"d{levels}": {"type": "null"}}}


def _ref(at: int) -> Json:
    return {"$ref": f"#/$defs/d{at}"}


@pytest.mark.parametrize(
    "schema",
    [
        _itself(),
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com/s"},
        {"$ref": 7},
        closed(a={"type": "object", "additionalProperties": True}),
        closed(a={"type": "object", "additionalProperties": {"type": "string"}}),
        closed(a=True),
        {"allOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": {}}},
        _deep(2000),
        _wide(200),
    ],
    ids=["recursive", "root", "nowhere", "elsewhere", "odd", "open", "map", "bare", "all", "deep", "long"],
)
def test_what_no_grammar_can_be_made_of(schema: Json) -> None:
    """A tool stands for such a form of an answer, as for one that is not strict."""
    assert fitted(schema) is None


def test_many_names_of_one_thing_take_no_time() -> None:
    """Each definition is looked at once."""
    assert fitted(_wide(40)) is not None


def test_a_strict_answer_is_asked_for_in_its_own_words() -> None:
    """By Anthropic's word, and by Converse's, which refuses Anthropic's."""
    body = sent(response_format=form(BOUNDED), reasoning_effort="high")
    assert body["output_config"] == {"effort": "high", "format": {"type": "json_schema", "schema": FITTED}}
    made = sent(
        converse_request,
        model=f"us.anthropic.{NEW}-v1",
        response_format=form(BOUNDED),
        reasoning_effort="high",
    )
    told = made["outputConfig"]["textFormat"]
    assert (told["type"], json.loads(told["structure"]["jsonSchema"]["schema"])) == ("json_schema", FITTED)
    assert made["additionalModelRequestFields"]["output_config"] == {"effort": "high"}
    alone = sent(converse_request, model=f"us.anthropic.{NEW}-v1", response_format=form(BOUNDED))
    assert "additionalModelRequestFields" not in alone


def test_a_strict_answer_without_a_grammar_is_a_tool() -> None:
    """Rather than a refusal."""
    body = sent(response_format=form(closed(a={"type": "object", "additionalProperties": True})))
    assert (body["tools"][0]["name"], body["tool_choice"]["type"]) == ("json_answer", "tool")
    assert "output_config" not in body


def test_strict_tools_are_strict_as_far_as_there_is_room() -> None:
    """Clients of OpenAI's set `strict` on every tool: one too many, and all would be refused."""
    many = sent(tools=[tool(f"f{at}", BOUNDED) for at in range(TOOLS_MAX + 5)])["tools"]
    assert [each.get("strict", False) for each in many] == [True] * TOOLS_MAX + [False] * 5
    assert (many[0]["input_schema"], many[-1]["input_schema"]) == (FITTED, BOUNDED)
    loose = {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(OPTIONAL_MAX)}}
    lax = sent(tools=[tool("a", loose), tool("b", loose), tool("c", BOUNDED)])["tools"]
    assert [each.get("strict", False) for each in lax] == [True, False, True]
    either = closed(**{f"p{at}": {"type": ["string", "null"]} for at in range(UNIONS_MAX)})
    mixed = sent(tools=[tool("a", either), tool("b", either)])["tools"]
    assert [each.get("strict", False) for each in mixed] == [True, False]
    with_form = sent(tools=[tool("a", either)], response_format=form(either))["tools"]
    assert with_form[0].get("strict", False) is False


def test_a_tool_whose_arguments_stand_elsewhere_says_that_they_are_an_object() -> None:
    """Without a type of its own its schema is refused, so that it is not strict."""
    schema = {"$ref": "#/$defs/A", "$defs": {"A": closed(a={"type": "string"})}}
    (made,) = sent(tools=[tool("f", schema)])["tools"]
    assert made["input_schema"] == {"type": "object", "properties": {}, **schema}
    assert "strict" not in made


def test_a_tool_that_is_not_strict_stays_as_it_is() -> None:
    """Nothing is read into it."""
    (made,) = sent(tools=[tool("f", BOUNDED, strict=False)])["tools"]
    assert made["input_schema"] == BOUNDED


@pytest.mark.parametrize(
    ("model", "effort", "known"),
    [
        ("claude-opus-4-6", "xhigh", "max"),
        ("us.anthropic.claude-sonnet-4-6-v1:0", "xhigh", "max"),
        ("claude-opus-4-6", "high", "high"),
        ("claude-opus-4-7", "xhigh", "xhigh"),
        ("claude-sonnet-5", "xhigh", "xhigh"),
        ("my-claude", "xhigh", "xhigh"),
    ],
)
def test_an_effort_goes_by_a_name_that_the_model_knows(model: str, effort: str, known: str) -> None:
    """`xhigh` came with 4.7; the models before it have `max` only."""
    assert sent(model=model, reasoning_effort=effort)["output_config"]["effort"] == known


def test_the_fake_refuses_what_the_real_one_does() -> None:
    """Else nothing of this were seen."""
    with pytest.raises(InvalidRequest):
        check_grammar("here", BOUNDED)
    with pytest.raises(InvalidRequest):
        check_grammar("here", {"type": "object", "properties": {}})
