"""Responses that wait for their client's answer, and what builds on them, in front of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.release import Policy
from airboss.governance.policies import policy_of
from tests.gateway.test_responses_native import ANSWER, native
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.spoken import say, streamed


@pytest.fixture
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as running:
        yield running


CALL = {"type": "custom_tool_call", "id": "ctc_1", "status": "completed", "call_id": "c1", "name": "patch"}
WAITING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a tool of text": (
        CALL | {"input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
    ),
    "an approval": (
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "t", "server_label": "s", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    ),
    "a screen": (
        {"type": "computer_call", "id": "cu_1", "call_id": "c1", "action": {"type": "screenshot"}},
        {"type": "computer_call_output", "call_id": "c1", "output": {"type": "computer_screenshot"}},
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", WAITING)
def test_what_the_client_answers_is_there(
    tmp_path: Path, upstream: SaidUpstream, name: str, stream: bool
) -> None:
    """A conversation goes on from calls that chat has no words for, turn after turn: the provider finds each
    with what was answered. A server of chat hears nothing of that."""
    asked, answered = WAITING[name]

    def say_so(id_: str, *output: dict[str, Any]) -> None:
        made = json.loads(ANSWER) | {"id": id_, "output": list(output)}
        upstream.body, upstream.done = made, False
        upstream.events = (
            [json.dumps({"type": "response.completed", "sequence_number": 0, "response": made})]
            if stream
            else []
        )

    plans = native(upstream.url, aliases=("gpt-4o",)), deployment(upstream.url, name="chat", aliases=())
    with Gateway(tmp_path / "g", *plans) as gateway:
        first: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "do"}]}]
        say_so("resp_1", asked)
        assert say(gateway, "responses", first, stream=stream).status_code == 200
        say_so("resp_2", {"type": "message", "role": "assistant", "content": []}, asked)
        say(gateway, "responses", [answered], previous_response_id="resp_1", stream=stream)
        say_so("resp_3")
        say(gateway, "responses", [answered], previous_response_id="resp_2", stream=stream)
        # By the id of a custom tool's call OpenAI would look for what it does not keep.
        left_out = ("id", "status") if "input" in asked else ()
        call = {member: value for member, value in asked.items() if member not in left_out}
        empty = {"type": "message", "role": "assistant", "content": ""}
        assert json.loads(upstream.seen[-1])["input"] == [*first, call, answered, empty, call, answered]
        upstream.stream([{"content": "Yes."}])
        upstream.done = True
        say(gateway, "responses", "and?", model="chat", previous_response_id="resp_3", stream=True)
        assert b"responses_items" not in upstream.seen[-1]


@pytest.mark.parametrize("type_", ["an approval", "a screen"])
def test_items_that_a_client_gave_no_id(tmp_path: Path, upstream: SaidUpstream, type_: str) -> None:
    """They are listed with ids of ours, page by page, and go on as they came, without content too."""
    asked = {name: value for name, value in WAITING[type_][0].items() if name != "id"}
    said = [{"type": "message", "role": "assistant"}, {"role": "user", "id": None, "content": "do"}, asked]
    upstream.body = json.loads(ANSWER) | {"id": "resp_1", "output": [asked]}
    with Gateway(tmp_path / "g", native(upstream.url, aliases=("gpt-4o",))) as gateway:
        assert say(gateway, "responses", said).status_code == 200
        upstream.body = json.loads(ANSWER) | {"id": "resp_2"}
        again = say(gateway, "responses", "go on", previous_response_id="resp_1")
        assert again.status_code == 200
        user = {"role": "user", "content": "do"}
        assert json.loads(upstream.seen[-1])["input"][:4] == [said[0], user, asked, asked]
        with gateway.client() as client:
            path = "/v1/responses/resp_2/input_items"
            listed = client.get(path, params={"order": "asc"})
            assert listed.status_code == 200
            found = listed.json()["data"]
            assert [item.get("role") for item in found] == ["assistant", "user", None, None, "user"]
            assert len({item["id"] for item in found}) == 5
            rest = client.get(path, params={"order": "asc", "after": found[0]["id"]}).json()["data"]
            assert rest == found[1:]


@pytest.mark.parametrize(
    "policy", [policy_of("observe", None), policy_of("mask", None)], ids=["looks", "masks"]
)
@pytest.mark.parametrize("indexes", [(1, 2), (0, 0)], ids=["from one", "all nought"])
def test_results_find_calls_without_ids(
    tmp_path: Path, upstream: SaidUpstream, policy: Policy, indexes: tuple[int, int]
) -> None:
    """Calls that a stream told by ids of ours are asked for by the same, with the names that it told."""
    pieces = [(indexes[0], "f", '{"a":'), (indexes[0], "f", "1}"), (indexes[1], "g", "")]
    said = [
        {"index": index, "function": {"name": name, "arguments": arguments}}
        for index, name, arguments in pieces
    ]
    upstream.stream([{"tool_calls": [each]} for each in said], "tool_calls")
    plan = deployment(upstream.url, policy=policy)
    with Gateway(tmp_path / "g", plan) as gateway:
        told = streamed(say(gateway, "responses", "hi", stream=True))[-1][1]["response"]
        with gateway.client() as client:
            assert client.get(f"/v1/responses/{told['id']}").json() == told
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": item["name"]}
            for item in told["output"]
        ]
        upstream.stream([{"content": "Yes."}])
        say(gateway, "responses", results, previous_response_id=told["id"], stream=True)
    _, called, *answers = json.loads(upstream.seen[-1])["messages"]
    calls = called["tool_calls"]
    assert [list(call["function"].values()) for call in calls] == [["f", '{"a":1}'], ["g", "{}"]]
    assert [(each["tool_call_id"], each["content"]) for each in answers] == [
        (call["id"], call["function"]["name"]) for call in calls
    ]
    assert len({call["id"] for call in calls}) == 2
