"""Custom tools of Responses, whose input is a text: at models that know functions alone, and from one
provider to another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.plan import DeploymentPlan
from airboss.domain.release import ProviderKind
from tests.gateway.test_responses_native import ANSWER, native
from tests.support.gateway import Gateway, deployment
from tests.support.said_gateway import said_gateway
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say, streamed

PATCH = '*** Begin\n"ü"'
TOOLS = [{"type": "custom", "name": "patch", "description": "Changes files."}]
CALL = {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": PATCH}
RESULT = {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"}
AS_FUNCTION = {"name": "patch", "arguments": json.dumps({"input": PATCH}, ensure_ascii=False)}
KINDS: tuple[ProviderKind, ...] = ("openai-compatible", "anthropic", "gemini", "bedrock")


def plans(url: str, secret: str) -> list[DeploymentPlan]:
    """OpenAI's Responses, and every kind that does not have them."""
    keyed: dict[str, Any] = {"aliases": (), "api_key_ref": secret, "region": "eu-west-1"}
    kinds = [deployment(url, name=kind, kind=kind, **keyed) for kind in KINDS]
    drops = deployment(url, name="drops", aliases=(), drop_unsupported=True)
    return [*kinds, native(url, aliases=("gpt-4o",)), drops]


worker, gateway = said_gateway(plans)


def heard(kind: str, sent: dict[str, Any]) -> tuple[Any, Any, Any]:
    """What a request says of the tool, of its call and of its result."""
    if kind == "openai-compatible":
        call, result = sent["messages"][-2:]
        assert "responses_custom" not in json.dumps(sent)
        arguments = json.loads(call["tool_calls"][0]["function"]["arguments"])
        return sent["tools"][0]["function"]["parameters"], arguments, result["content"]
    if kind == "anthropic":
        call, result = sent["messages"][-2:]
        answered = result["content"][0]["content"][0]["text"]
        return sent["tools"][0]["input_schema"], call["content"][-1]["input"], answered
    if kind == "gemini":
        call, result = sent["contents"][-2:]
        offered = sent["tools"][0]["functionDeclarations"][0]
        answered = result["parts"][0]["functionResponse"]["response"]
        schema = offered.get("parametersJsonSchema") or offered["parameters"]
        return schema, call["parts"][-1]["functionCall"]["args"], next(iter(answered.values()))
    call, result = sent["messages"][-2:]
    schema = sent["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]
    return (
        schema,
        call["content"][-1]["toolUse"]["input"],
        result["content"][0]["toolResult"]["content"][0]["text"],
    )


@pytest.mark.parametrize("chained", [False, True], ids=["sent whole", "by previous_response_id"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_and_its_result_go_to_every_kind(
    gateway: Gateway, upstream: SaidUpstream, kind: str, chained: bool
) -> None:
    """The tool is a function of one text, the call one of it, and the result a tool's: in a conversation that
    the client sends whole, and in one that OpenAI's model began."""
    user = {"role": "user", "content": "do"}
    if chained:
        upstream.body = json.loads(ANSWER) | {"id": "resp_1", "output": [CALL | {"id": "ctc_1"}]}
        assert say(gateway, "responses", [user], tools=TOOLS).status_code == 200
        upstream.body = {}
        say(gateway, "responses", [RESULT], model=kind, tools=TOOLS, previous_response_id="resp_1")
    else:
        say(gateway, "responses", [user, CALL, RESULT], model=kind, tools=TOOLS)
    schema, arguments, result = heard(kind, json.loads(upstream.seen[-1]))
    assert schema["properties"] == {"input": {"type": "string"}}
    assert (arguments, result) == ({"input": PATCH}, "ok")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_function_called_is_the_custom_tool(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """A model that knows functions alone calls the tool, beside a function: the client gets an item of each
    type, and OpenAI's model goes on from them in its own words."""
    calls = [
        {"index": 0, "id": "c1", "type": "function", "function": AS_FUNCTION},
        {"index": 1, "id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.body = {"id": "c", "object": "chat.completion", "model": "up", "choices": [choice]}
    if stream:
        first, rest = AS_FUNCTION["arguments"][:9], AS_FUNCTION["arguments"][9:]
        begun = calls[0] | {"function": {"name": "patch", "arguments": first}}
        went_on = {"index": 0, "function": {"arguments": rest}}
        upstream.stream([{"tool_calls": [each]} for each in (begun, went_on, calls[1])], "tool_calls")
    tools = [*TOOLS, {"type": "function", "name": "f", "parameters": {"type": "object"}}]
    response = say(gateway, "responses", "do", model="openai-compatible", tools=tools, stream=stream)
    assert response.status_code == 200, response.text
    if stream:
        told = streamed(response)
        final = told[-1][1]["response"]
        named = {name: data for name, data in told if name.startswith("response.custom_tool_call_input")}
        assert named["response.custom_tool_call_input.delta"]["delta"] == PATCH
        done = named["response.custom_tool_call_input.done"]
        assert (done["input"], done["output_index"], done["item_id"]) == (PATCH, 0, final["output"][0]["id"])
        arguments = [data for name, data in told if name == "response.function_call_arguments.delta"]
        assert [data["output_index"] for data in arguments] == [1]
    else:
        final = response.json()
    custom, function = final["output"]
    assert {name: custom[name] for name in CALL} == CALL
    assert (custom["status"], custom["id"][:4]) == ("completed", "ctc_")
    assert function["type"] == "function_call"
    other = {"type": "function_call_output", "call_id": "c2", "output": "2"}
    upstream.events, upstream.body = [], json.loads(ANSWER) | {"id": "resp_2"}
    say(gateway, "responses", [RESULT, other], tools=tools, previous_response_id=final["id"])
    sent = json.loads(upstream.seen[-1])["input"]
    assert sent[1] == CALL
    assert sent[2]["type"] == "function_call"
    assert sent[3:] == [RESULT, other]
    with gateway.client() as client:
        listed = client.get("/v1/responses/resp_2/input_items").json()["data"]
    assert [each["id"].partition("_")[0] for each in listed] == ["fco", "ctco", "fc", "ctc", "msg"]


def test_what_is_no_json_is_the_input_as_it_is(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A model that heeds no schema is not lost."""
    call = {"id": "c1", "type": "function", "function": {"name": "patch", "arguments": PATCH}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.body = {"id": "c", "object": "chat.completion", "model": "up", "choices": [choice]}
    response = say(gateway, "responses", "do", model="openai-compatible", tools=TOOLS)
    assert response.json()["output"][0]["input"] == PATCH


def test_a_grammar(gateway: Gateway, upstream: SaidUpstream) -> None:
    """No other model heeds one: it is refused by name, or left out and named."""
    tool = TOOLS[0] | {"format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}}
    refused = say(gateway, "responses", "do", model="openai-compatible", tools=[tool])
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "tools[0].format"
    assert upstream.seen == []
    choice = {"index": 0, "message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}
    upstream.body = {"id": "c", "object": "chat.completion", "model": "up", "choices": [choice]}
    dropped = say(gateway, "responses", "do", model="drops", tools=[tool])
    assert dropped.status_code == 200
    assert dropped.headers["x-airboss-dropped"] == "tools[0].format"
    assert json.loads(upstream.seen[-1])["tools"][0]["function"]["name"] == "patch"


def test_a_choice_of_one(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A custom tool that must be called is a function that must be."""
    chosen = {"type": "custom", "name": "patch"}
    say(gateway, "responses", "do", model="openai-compatible", tools=TOOLS, tool_choice=chosen)
    sent = json.loads(upstream.seen[-1])
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
