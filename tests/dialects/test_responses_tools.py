"""Tools of Responses that are no plain functions: in namespaces, in the input, found by a search of the
client's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.dialects.responses_answer import ResponsesSpeech
from airboss.dialects.responses_request import as_chat, read_responses
from airboss.dialects.responses_tools import Called, called_in, flat_name
from airboss.domain.errors import InvalidRequest

Json = dict[str, Any]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA}
PATCH = {"type": "custom", "name": "patch"}
SPACE = {"type": "namespace", "name": "mcp__wx", "description": "Weather.", "tools": [WEATHER, PATCH]}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Finds.", "parameters": SCHEMA}
TEXT = {"type": "object", "properties": {"input": {"type": "string"}}}


def asked(**members: Any) -> Any:
    """A request, read."""
    return read_responses(json.dumps({"model": "m", "input": "hi"} | members).encode())


def functions(**members: Any) -> dict[str, Json]:
    """The functions that a request offers in chat, by name."""
    chat = json.loads(as_chat(asked(**members)))
    return {each["function"]["name"]: each["function"] for each in chat.get("tools", ())}


def said(finish: str = "tool_calls", *calls: tuple[str, str]) -> bytes:
    """An answer that calls functions."""
    made = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": text}}
        for number, (name, text) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": made}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()


def answered(request: Any, chat: bytes) -> list[Json]:
    """The items that such an answer is."""
    speech = ResponsesSpeech(request, created_at=0, kept=True)
    speech.record_id = "r"
    output: list[Json] = json.loads(speech.whole(chat))["output"]
    return output


@pytest.mark.parametrize(
    ("namespace", "name", "wanted"),
    [
        ("", "f", "f"),
        (None, "f", "f"),
        ("functions", "exec", "exec"),
        ("mcp__wx", "weather", "mcp__wx__weather"),
        ("mcp__wx__", "weather", "mcp__wx__weather"),
    ],
)
def test_names(namespace: str | None, name: str, wanted: str) -> None:
    """A namespace stands before the name, unless it is that of all."""
    assert flat_name(namespace, name) == wanted


def test_long_names_fit() -> None:
    """OpenAI and Bedrock take 64 characters."""
    assert len(flat_name("n" * 60, "f")) == 63
    assert len({flat_name("n" * 64, name) for name in "fgh"}) == 3
    assert len(flat_name("n" * 64, "f")) == 64


def test_tools_in_a_namespace_are_functions() -> None:
    """Wherever it stands: among the tools, or in the input, as Codex has them for OpenAI's newest models."""
    more = {"type": "additional_tools", "role": "developer", "tools": [SPACE]}
    wanted = {"mcp__wx__weather", "mcp__wx__patch"}
    offered = functions(tools=[SPACE])
    assert offered.keys() == wanted
    assert offered["mcp__wx__weather"]["parameters"] == SCHEMA
    assert offered["mcp__wx__patch"]["parameters"].items() >= TEXT.items()
    user = {"role": "user", "content": "hi"}
    assert functions(input=[more, user]) == offered
    default = {"type": "namespace", "name": "functions", "tools": [PATCH]}
    assert functions(tools=[default]).keys() == {"patch"}


def test_calls_of_them_have_their_namespace() -> None:
    """The client knows the tool by that and its name, and sends the call back so."""
    request = asked(tools=[SPACE, WEATHER])
    calls = ("mcp__wx__weather", "{}"), ("mcp__wx__patch", '{"input": "x"}'), ("weather", "{}")
    first, second, third = answered(request, said("tool_calls", *calls))
    assert (first["type"], first["namespace"], first["name"]) == ("function_call", "mcp__wx", "weather")
    assert (second["type"], second["namespace"], second["name"]) == ("custom_tool_call", "mcp__wx", "patch")
    assert second["input"] == "x"
    assert (third["name"], third.get("namespace")) == ("weather", None)
    again = asked(input=[first, second, third], tools=[SPACE])
    (message,) = json.loads(as_chat(again))["messages"]
    assert [each["function"]["name"] for each in message["tool_calls"]] == [name for name, _ in calls]


def test_a_clients_search_is_a_function() -> None:
    """What it finds can be called from then on."""
    request = asked(tools=[SEARCH])
    assert functions(tools=[SEARCH])["tool_search"]["parameters"] == SCHEMA
    (item,) = answered(request, said("tool_calls", ("tool_search", '{"city": "x"}')))
    assert (item["type"], item["execution"], item["arguments"]) == (
        "tool_search_call",
        "client",
        {"city": "x"},
    )
    found = {"type": "tool_search_output", "call_id": "c0", "execution": "client", "tools": [SPACE]}
    turns = [{"role": "user", "content": "hi"}, item, found]
    assert functions(tools=[SEARCH], input=turns).keys() == {
        "tool_search",
        "mcp__wx__weather",
        "mcp__wx__patch",
    }
    _, call, result = json.loads(as_chat(asked(tools=[SEARCH], input=turns)))["messages"]
    assert call["tool_calls"][0]["function"] == {"name": "tool_search", "arguments": '{"city":"x"}'}
    assert (result["role"], result["tool_call_id"]) == ("tool", "c0")
    assert "mcp__wx__weather" in result["content"]


def test_a_search_of_openais_is_not_missed() -> None:
    """All tools are offered at once; what it has found in earlier turns is among them."""
    hosted = {"type": "tool_search"}
    deferred = WEATHER | {"defer_loading": True}
    call = {"type": "tool_search_call", "call_id": None, "execution": "server", "arguments": {"paths": ["f"]}}
    found = {"type": "tool_search_output", "call_id": None, "execution": "server", "tools": [WEATHER]}
    turns = [{"role": "user", "content": "hi"}, call, found]
    assert functions(tools=[hosted, deferred], input=turns).keys() == {"weather"}
    request = asked(tools=[hosted, deferred], input=turns)
    assert json.loads(as_chat(request))["messages"] == turns[:1]
    assert request.unsaid == []


def test_what_runs_at_openai_is_named_where_it_stands() -> None:
    """In a namespace too; the others stay."""
    request = asked(tools=[SPACE | {"tools": [{"type": "mcp"}, WEATHER]}])
    assert [each["function"]["name"] for each in json.loads(as_chat(request))["tools"]] == [
        "mcp__wx__weather"
    ]
    assert [each.param for each in request.unsaid] == ["tools[0].tools[0].type"]


@pytest.mark.parametrize(
    "odd", [{"type": "namespace"}, {"type": "namespace", "name": 1, "tools": []}, SPACE | {"tools": 5}]
)
def test_a_namespace_of_another_shape_is_named(odd: Json) -> None:
    """OpenAI may know better."""
    request = asked(tools=[odd])
    as_chat(request)
    assert [each.param for each in request.unsaid] == ["tools[0].type"]


def test_a_tool_in_it_needs_a_name() -> None:
    """As any other."""
    with pytest.raises(InvalidRequest, match=r"tools\[0\]\.tools\[0\] has no name"):
        as_chat(asked(tools=[SPACE | {"tools": [{"type": "function"}]}]))


def test_a_choice_of_one() -> None:
    """By its name in its namespace."""
    for choice, wanted in (
        ({"type": "function", "name": "weather", "namespace": "mcp__wx"}, "mcp__wx__weather"),
        ({"type": "custom", "name": "patch", "namespace": "mcp__wx"}, "mcp__wx__patch"),
    ):
        chat = json.loads(as_chat(asked(tools=[SPACE], tool_choice=choice)))
        assert chat["tool_choice"] == {"type": "function", "function": {"name": wanted}}


def test_a_grammar_is_told() -> None:
    """A model that nobody holds to it can keep it all the same."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    tool = PATCH | {"description": "Changes files.", "format": grammar}
    told = functions(tools=[tool])["patch"]["description"]
    assert told == "Changes files.\n\nIts input is in this grammar (lark):\nstart: /a/"


def test_calls_in_an_output() -> None:
    """By the names that they have in chat."""
    output = [
        {"type": "function_call", "name": "weather", "namespace": "mcp__wx"},
        {"type": "function_call", "name": "f", "namespace": "functions"},
        {"type": "message"},
    ]
    assert called_in(output) == {
        "mcp__wx__weather": Called(name="weather", namespace="mcp__wx"),
        "f": Called(name="f"),
    }
